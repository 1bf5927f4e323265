"""Contenders in turns: each run is a process of its own, as the kernel accounts it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ablation import measured
from ..errors import UserError

# Nothing but the CPU, and no network: a checkpoint is a folder.
CPU_ALONE = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
QUIET = {"PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "true"}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Contender:
    """command: gets the files of job and result as its last arguments, if it has a job.

    is_ours: sees retainer; and if it fails, so does the benchmark. needs: a module.
    """

    name: str
    command: Sequence[str]
    job: Mapping[str, Any] | None = None
    is_ours: bool = False
    needs: str = ""


@dataclass
class Run:
    """seconds, cpu_seconds: of the whole process. peak: MB. result: what it wrote."""

    seconds: float
    cpu_seconds: float
    peak: float
    result: dict[str, Any] = field(default_factory=dict)


@dataclass
class Measured:
    """The runs of each contender by name; why those without a run have none.

    After a whole round there are as many of each.
    """

    runs: dict[str, list[Run]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def is_even(self) -> bool:
        return len({len(runs) for runs in self.runs.values()}) == 1

    def fail(self, name: str, reason: str) -> None:
        self.failures[name] = reason
        del self.runs[name]


@dataclass(frozen=True)
class Bench:
    """folder: for what the processes read and write. threads: of each. missing: modules
    that the peers' interpreter does not have."""

    folder: Path
    threads: int
    missing: Collection[str] = ()

    def take_turns(
        self, contenders: Sequence[Contender], n_rounds: int
    ) -> Iterator[tuple[str, Measured]]:
        """A round is a run of each; every second round goes backwards, so that a
        machine that slows down is unfair to none. What fails is out.

        RETURNS: after each run, its contender's name and all there is so far.
        """
        done = Measured({one.name: [] for one in contenders})
        for contender in contenders:
            if contender.needs in self.missing:
                done.fail(contender.name, f"{contender.needs} is missing: give --peers")
        for round_i in range(n_rounds):
            for contender in contenders[:: -1 if round_i % 2 else 1]:
                if contender.name in done.failures:
                    continue
                run = self.run(contender)
                if isinstance(run, Run):
                    done.runs[contender.name].append(run)
                else:
                    done.fail(contender.name, run)
                yield contender.name, done

    def run(self, contender: Contender) -> Run | str:
        """RETURNS: what it took; of a peer that fails, the last line that it wrote."""
        paths = {name: self.folder / f"{name}.json" for name in ("job", "result")}
        command, usage = list(contender.command), self.folder / "usage.json"
        log = self.folder / "log.txt"
        if contender.job is not None:
            paths["job"].write_text(json.dumps(contender.job), "utf-8")
            paths["result"].write_text("{}", "utf-8")
            command += map(str, paths.values())
        measure = [sys.executable, "-I", measured.__file__, str(usage)]
        status = wait([*measure, *command], log, self._environment(contender))
        if status:
            last = last_line(log) or f"exit status {status}"
            if not contender.is_ours:
                return last
            raise UserError(
                f"A run without an error was expected, but `{' '.join(command)}` ended "
                f"with {status}: {last}"
            )
        taken = json.loads(usage.read_text("utf-8"))
        is_told = contender.job is not None
        result = json.loads(paths["result"].read_text("utf-8")) if is_told else {}
        return Run(taken["seconds"], taken["cpu_seconds"], taken["peak_mb"], result)

    def _environment(self, contender: Contender) -> dict[str, str]:
        environment = os.environ | CPU_ALONE | QUIET
        environment |= dict.fromkeys(THREADS, str(self.threads))
        if not contender.is_ours:
            environment.pop("PYTHONPATH", None)
        return environment


def wait(command: Sequence[str], log: Path, environment: dict[str, str]) -> int:
    """A process with all that it starts. RETURNS: its exit status."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        return process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise


def last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
