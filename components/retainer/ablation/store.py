"""The folder of an ablation: what is in it, and what of it still holds."""

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from thinc.types import Ints2d

from ..errors import UserError
from ..files import replacing, write_text
from .corpora import inputs
from .plan import Plan, Run
from .scores import worst_of
from .settings import configure, data_files, fill_in, put
from .training import LOG, PIPELINES, USAGE

RESULT, COUNTS, FAILED = "result.json", "counts.npz", "failed.txt"
N_LOG_LINES = 12
Result = dict[str, Any]


class Store:
    """OUTPUT/corpora/TASK and OUTPUT/runs/TASK/ARM/SEED.

    configs: of all runs of the plan, before {data} and paths are filled in.
    """

    def __init__(self, plan: Plan, teacher: str, data: Path, output: Path):
        self.plan, self.teacher, self.data, self.output = plan, teacher, data, output
        self.runs = plan.runs()
        self._hash = cache(content_hash)
        self.configs = {run: configure(plan, run) for run in self.runs}
        self._digests = {run: self._digest(run) for run in self.runs}

    def folder(self, run: Run) -> Path:
        return self.output / "runs" / run.name

    def best(self, run: Run) -> Path:
        """The trained pipeline."""
        return self.folder(run) / PIPELINES / "model-best"

    def corpus(self, task: str, part: str, joint: int = 0) -> Path:
        name = f"{part}-joint-{joint}" if joint else part
        return self.output / "corpora" / task / f"{name}.spacy"

    def prepare(self, run: Run) -> Path:
        """An empty folder with nothing but the config. RETURNS: the folder."""
        folder = self.folder(run)
        shutil.rmtree(folder, ignore_errors=True)
        config = fill_in(self.configs[run], self.data)
        joint = self.plan.arms[run.arm].joint
        for key, value in (
            ("train", self.corpus(run.task, "train", joint)),
            ("dev", self.corpus(run.task, "dev")),
            ("base", self.teacher),
        ):
            put(config, f"paths.{key}", str(value), "the ablation")
        write_text(config.to_str(interpolate=False) + "\n", folder / "config.cfg")
        return folder

    def write(
        self, run: Run, figures: Result, counts: dict[str, Ints2d], keep: bool
    ) -> Result:
        """RETURNS: what `results` will give. keep: the trained pipelines too."""
        folder = self.folder(run)
        if not keep:
            shutil.rmtree(folder / PIPELINES)
        with replacing(folder / COUNTS) as path, path.open("wb") as file:
            np.savez_compressed(file, **counts)
        result = {
            **run.model_dump(),
            "digest": self._digests[run],
            **srsly.read_json(folder / USAGE),
            **figures,
        }
        write_text(json.dumps(result, indent=2) + "\n", folder / RESULT)
        return result

    def fail(self, run: Run, reason: str) -> str:
        """RETURNS: the reason with the end of the log."""
        log = (self.folder(run) / LOG).read_text("utf-8", "replace").splitlines()
        lines = [line.rstrip() for line in log if line.strip()]
        text = "\n".join([reason, *lines[-N_LOG_LINES:]])
        shutil.rmtree(self.folder(run) / PIPELINES, ignore_errors=True)
        write_text(text + "\n", self.folder(run) / FAILED)
        return text

    def discard(self, run: Run) -> None:
        """What is left of a run that has not come to an end."""
        folder = self.folder(run)
        if not (folder / RESULT).is_file() and not (folder / FAILED).is_file():
            shutil.rmtree(folder, ignore_errors=True)

    def failures(self) -> list[Run]:
        """Runs that were tried and came to nothing."""
        return [run for run in self.runs if (self.folder(run) / FAILED).is_file()]

    def results(self) -> dict[Run, Result]:
        """Of the runs that are done as the plan and the files now are."""
        found = {}
        for run in self.runs:
            path = self.folder(run) / RESULT
            result = srsly.read_json(path) if path.is_file() else {}
            if result.get("digest") == self._digests[run]:
                by_file = result["old"]["by_file"]
                result["old"] |= worst_of(by_file, self.plan.old.min_entities)
                found[run] = result
        return found

    def counts(self, run: Run) -> dict[str, Ints2d]:
        """See `retainer.ablation.scores.arrays`."""
        with np.load(self.folder(run) / COUNTS) as archive:
            return dict(archive)

    def _digest(self, run: Run) -> str:
        """Of all that makes a run what it is, but for the code."""
        plan, task, arm = self.plan, self.plan.tasks[run.task], self.plan.arms[run.arm]
        tests = [name for files in task.test.values() for name in files]
        names = [*task.train, *(task.dev or ()), *tests, *plan.old.files]
        settings = {"plan": plan.settings, "arm": arm.settings}
        teacher = Path(self.teacher)
        files = [*inputs(self.data, names), *data_files(settings, self.data)]
        parts = {
            "config": self.configs[run].to_str(interpolate=False),
            "task": task.model_dump(),
            "old": plan.old.model_dump(exclude={"min_entities"}),
            "joint": arm.joint,
            "files": [[file.name, self._hash(file)] for file in files],
            "teacher": self._hash(teacher) if teacher.is_dir() else self.teacher,
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def content_hash(path: Path) -> str:
    """Of a file, or of a folder with all that is in it."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        parts = [[str(file.relative_to(path)), content_hash(file)] for file in files]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"A file was expected at '{path}', which the plan names, but it cannot be "
            f"read: {error.strerror}. Correct the plan, or --data."
        ) from error
