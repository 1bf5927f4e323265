"""All runs of a plan that are asked for: trained side by side, scored one by one."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from spacy.language import Language
from spacy.tokens import Doc

from ..docbin import write_docs
from ..errors import UserError
from ..pipelines import load_student, load_teacher
from ..report import Counts
from .corpora import Corpora, OldCorpora, entity_types, read_old, read_task, write_train
from .plan import Run
from .scores import Scores, arrays, count_each, figures
from .settings import configure_plan, resolve_decoder
from .store import Result, Store
from .training import threads_of_each, train_all


@dataclass
class Outcome:
    """result: None of a run that failed, which has a reason instead."""

    run: Run
    result: Result | None
    reason: str = ""


def train_runs(
    store: Store, runs: Sequence[Run], jobs: int = 1, keep: bool = False
) -> Iterator[Outcome]:
    """Train and score, and tell of each run when it is done. Close what it returns.

    keep: the trained pipelines.
    """
    if not runs:
        return
    torch.set_num_threads(threads_of_each(jobs))  # more would only wait for cores
    bench = make_bench(store, runs)
    try:
        with closing(train_all(runs, store.prepare, jobs)) as trained:
            for run, status in trained:
                try:
                    if status:
                        raise UserError(f"the training ended with {status}")
                    student = load_student(str(store.best(run)))
                except UserError as error:
                    yield Outcome(run, None, store.fail(run, error.desc or ""))
                    continue
                both = bench.score(run.task, student)
                del student  # before another one is loaded
                found = figures(*both, store.plan.old.min_entities)
                yield Outcome(run, store.write(run, found, arrays(*both), keep))
    finally:
        for run in runs:
            store.discard(run)


@dataclass
class Bench:
    """What runs are scored on, with the teacher's scores by task."""

    tasks: dict[str, Corpora]
    old: OldCorpora
    old_types: list[str]
    before: dict[str, Scores]

    def score(
        self, task: str, student: Language
    ) -> tuple[Scores, Scores, list[str], list[str]]:
        """Before and after, the old types and the new."""
        kinds = entity_types(self.tasks[task].train)
        new_types = [kind for kind in kinds if kind not in self.old_types]
        after = Scores(
            count_files(student, self.old.scored),
            count_files(student, self.tasks[task].test),
        )
        return self.before[task], after, self.old_types, new_types


def make_bench(store: Store, runs: Sequence[Run]) -> Bench:
    """Reads and writes the corpora of the runs, and asks the teacher once.

    It decodes as the plan's config says, whatever an arm's settings are.
    """
    plan = store.plan
    names = dict.fromkeys(run.task for run in runs)
    tasks = {name: read_task(name, plan.tasks[name], store.data) for name in names}
    old = read_old(plan.old, store.data)
    write_corpora(store, runs, tasks, old)
    config = configure_plan(plan)
    revision = config["paths"].get("revision")
    teacher = load_teacher(store.teacher, revision, resolve_decoder(config))
    scored = count_files(teacher, old.scored)
    before = {
        name: Scores(scored, count_files(teacher, task.test))
        for name, task in tasks.items()
    }
    return Bench(tasks, old, list(teacher.get_pipe("transformer_ner").labels), before)


def count_files(nlp: Language, files: dict[str, list[Doc]]) -> dict[str, list[Counts]]:
    return {name: count_each(nlp, docs) for name, docs in files.items()}


def write_corpora(
    store: Store, runs: Sequence[Run], tasks: dict[str, Corpora], old: OldCorpora
) -> None:
    joints = dict.fromkeys((run.task, store.plan.arms[run.arm].joint) for run in runs)
    for name, joint in joints:
        write_train(tasks[name], old, joint, store.corpus(name, "train", joint))
    for name, task in tasks.items():
        write_docs(task.dev, store.corpus(name, "dev"))
