"""The subject `train`: same sentences, same epochs; and what was learnt."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from spacy.tokens import DocBin

from ..conll import format_sentence
from ..corpus import blank_pipeline, read_docs
from ..errors import UserError
from ..inspection.tables import Table
from ..labels import entity_types, extend_tags
from .figures import Spread, f1, of_types, ratios
from .processes import Bench, Contender, Measured
from .samples import Sample, n_words_of
from .use import found_in, show_f1, use_job
from .workers import Workers

OURS = "retainer, nothing replayed"
N_DEV = 16  # sentences, which spaCy must have to score: nobody else has to
NEVER = 1_000_000  # epochs
NOTES = [
    "Words are those of the sentences, in each epoch anew. Steps: without starting, "
    "reading, scoring and saving; retainer's have the teacher's answers and the probe "
    f"in them. x: how many times as long as {OURS} it takes, in the same round. F1: "
    "exact bounds, after the last epoch; peers are given the words, retainer the text.",
]


@dataclass(frozen=True)
class Lesson:
    """What is trained on, and what is read afterwards. tags: of the checkpoint, then
    the new ones. folder: of the corpus, and of the trained models."""

    train: Sequence[Sample]
    test: Sequence[Sample]
    tags: Sequence[str]
    n_old_tags: int
    folder: Path

    @classmethod
    def of(
        cls,
        train: Sequence[Sample],
        test: Sequence[Sample],
        old_tags: Sequence[str],
        folder: Path,
    ) -> "Lesson":
        types = entity_types(tag for sample in train for tag in sample.tags)
        tags = extend_tags(old_tags, types)
        if len(tags) == len(old_tags):
            raise UserError(
                "New entity types were expected in the sentences to train on, but they "
                f"have {', '.join(types) or 'none'}, which the checkpoint knows. Give "
                "other files, or more --sentences."
            )
        return cls(train, test, tags, len(old_tags), folder)

    @property
    def types(self) -> tuple[list[str], list[str]]:
        """The checkpoint's, and the new ones."""
        old = entity_types(self.tags[: self.n_old_tags])
        return old, [kind for kind in entity_types(self.tags) if kind not in old]

    def write(self) -> None:
        """The corpus as `spacy train` wants it."""
        for name, samples in (("train", self.train), ("dev", self.train[:N_DEV])):
            path = self.folder / f"{name}.conll"
            text = "".join(format_sentence(one.tokens, one.tags) for one in samples)
            path.write_text(text, "utf-8")
            docs = read_docs(path, blank_pipeline("xx"))
            DocBin(docs=docs).to_disk(path.with_suffix(".spacy"))


def training_contenders(
    workers: Workers,
    lesson: Lesson,
    checkpoint: Path,
    config: Path,
    replay: Path | None,
    settings: dict[str, Any],
    n_layers: int,
) -> list[Contender]:
    """settings: epochs, and the peers' batch_size, rate and seed. n_layers: of all."""
    output = str(lesson.folder / "model")
    overrides = override(lesson, checkpoint, settings)
    ours = {"action": "train", "config": str(config), "output": output}
    job = settings | {
        "checkpoint": str(checkpoint),
        "sentences": [[sample.tokens, sample.tags] for sample in lesson.train],
        "tags": lesson.tags,
        "output": output,
        "frozen": 2,
        "alpha": 0.5,
        "temperature": 2.0,
    }
    half = n_layers // 2
    found = [workers.ours(OURS, ours | {"overrides": overrides})]
    if replay is not None:
        replayed = overrides | {"paths.replay": str(replay)}
        with_replay = ours | {"overrides": replayed}
        found.append(workers.ours("retainer, texts replayed", with_replay))
    loop = "loop in bfloat16, no teacher"
    return [
        *found,
        workers.peer("Trainer, classic recipe", "trainer.py", job, "accelerate"),
        workers.peer(f"{loop}, 2 layers frozen", "loop.py", job),
        workers.peer(f"{loop}, {half} frozen", "loop.py", job | {"frozen": half}),
    ]


def override(
    lesson: Lesson, checkpoint: Path, settings: dict[str, Any]
) -> dict[str, Any]:
    """What is other than in the config: nothing of how it trains but the epochs."""
    return {
        "paths.base": str(checkpoint),
        "paths.train": str(lesson.folder / "train.spacy"),
        "paths.dev": str(lesson.folder / "dev.spacy"),
        "system.device": "cpu",
        "system.seed": settings["seed"],
        "training.max_epochs": settings["epochs"],
        "training.eval_frequency.epochs": NEVER,
        "training.patience.epochs": NEVER,
    }


def train_in_turns(
    bench: Bench,
    workers: Workers,
    lesson: Lesson,
    contenders: Sequence[Contender],
    n_rounds: int,
) -> Iterator[tuple[str, Measured]]:
    """As `take_turns`; after each run the trained model reads the test's texts."""
    model = lesson.folder / "model"
    job = use_job(lesson.test, [sample.words for sample in lesson.test], 0)
    ours = {one.name for one in contenders if one.is_ours}
    for name, done in bench.take_turns(contenders, n_rounds):
        if name in done.runs:
            if name in ours:
                reader = workers.ours(name, job | {"pipeline": str(model)})
            else:
                given = {"checkpoint": str(model), "precision": "float32"}
                reader = workers.peer(
                    name, "bare.py", job | given | {"batch_sizes": [16]}
                )
            run = bench.run(reader)
            if isinstance(run, str):
                done.fail(name, run)
            else:
                done.runs[name][-1].result["spans"] = run.result["spans"]
        shutil.rmtree(model, ignore_errors=True)
        yield name, done


def training_tables(measured: Measured, lesson: Lesson, epochs: int) -> list[Table]:
    n_words, rows = epochs * n_words_of(lesson.train), []
    ours = measured.runs[OURS]
    for name, runs in measured.runs.items():
        loops = [run.result["seconds"] for run in runs]
        own = [run.result["seconds"] for run in ours]
        rows.append(
            [
                name,
                Spread.of([n_words / run.seconds for run in runs]).show(0),
                Spread.of([n_words / taken for taken in loops]).show(0),
                ratios([a.seconds for a in ours], [b.seconds for b in runs]).show(2),
                ratios(own, loops).show(2),
                f"{median(run.peak for run in runs):,.0f}",
                *learnt(runs, lesson),
            ]
        )
    header = ["contender", "words/s, process", "words/s, steps", "x, process"]
    header += ["x, steps", "peak MB", "new F1", "old F1"]
    return [Table("Training", header, rows)]


def learnt(runs: Sequence[Any], lesson: Lesson) -> list[str]:
    """F1 of the new types and of the checkpoint's: the median of the runs."""
    shown = []
    for types in reversed(lesson.types):
        gold = [of_types(sample.spans, types) for sample in lesson.test]
        values = [
            f1(gold, [of_types(spans, types) for spans in found_in(lesson.test, run)])
            for run in runs
        ]
        known = [value for value in values if value is not None]
        shown.append(show_f1(median(known) if known else None))
    return shown
