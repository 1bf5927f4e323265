"""The subjects `load` and `scale`: what a fresh process needs, and a long stream."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..inspection.tables import Table
from .figures import Spread, ratios
from .processes import Bench, Contender, Measured
from .samples import Sample
from .use import BATCH_SIZE
from .workers import Workers

OURS, PARSER = "retainer", "spacy-transformers and ner"
TEXT = "Angela Merkel was in Lisbon."
LOAD_NOTES = [
    "Fresh processes, from the start of Python to their end, on one short text. x: how "
    f"many times as much as {OURS} it takes, in the same round. Both have the same "
    "encoder, but the parser on the other is untrained.",
]
SCALE_NOTES = ["Words are tokens of the files, which are repeated; no Doc is kept."]


def save_pipelines(
    bench: Bench,
    workers: Workers,
    checkpoint: Path,
    loadable: Path,
    types: Sequence[str],
) -> list[Contender]:
    """Pipelines with the same encoder on the disk. RETURNS: what loads them."""
    job = {"text": TEXT, "types": types, "batch_size": BATCH_SIZE}
    job |= {"precision": "auto"}
    ours = {"checkpoint": str(checkpoint), "pipeline": str(bench.folder / "ours")}
    theirs = {"checkpoint": str(loadable), "pipeline": str(bench.folder / "theirs")}
    file, module = "transformer.py", "spacy_transformers"
    bench.run(workers.ours(OURS, job | ours | {"action": "save"}))
    loaders = [workers.ours(OURS, job | ours | {"action": "load"})]
    if module not in bench.missing:
        failed = bench.run(
            workers.peer(PARSER, file, job | theirs | {"action": "save"})
        )
        if isinstance(failed, str):
            raise UserError(
                f"A pipeline of {PARSER} was expected to be made of '{checkpoint}', "
                f"but: {failed}"
            )
    loader = workers.peer(PARSER, file, job | theirs | {"action": "load"}, module)
    return [*loaders, loader]


def load_tables(measured: Measured) -> list[Table]:
    """Ratios are theirs over ours: how many times as much they take."""
    rows, ours = [], measured.runs[OURS]
    for name, runs in measured.runs.items():
        process, peaks = [run.seconds for run in runs], [run.peak for run in runs]
        rows.append(
            [
                name,
                Spread.of([run.result["load"] for run in runs]).show(2),
                Spread.of([run.result["seconds"] for run in runs]).show(2),
                Spread.of(process).show(2),
                Spread.of(peaks).show(0),
                ratios([run.seconds for run in ours], process).show(2),
                ratios([run.peak for run in ours], peaks).show(2),
            ]
        )
    header = ["contender", "s to load", "s to a first text", "s, process", "peak MB"]
    return [Table("Loading", [*header, "x time", "x peak"], rows)]


def scale_contenders(
    workers: Workers,
    checkpoint: Path,
    samples: Sequence[Sample],
    sizes: Sequence[int],
    precision: str,
) -> list[Contender]:
    """sizes: in words. The texts are read again and again, until there are as many."""
    job = {
        "action": "scale",
        "checkpoint": str(checkpoint),
        "texts": [[sample.text, len(sample.tokens)] for sample in samples],
        "batch_size": BATCH_SIZE,
        "precision": precision,
    }
    return [workers.ours(f"{n:,} words", job | {"n_words": n}) for n in sizes]


def scale_tables(measured: Measured) -> list[Table]:
    rows = []
    least = next(iter(measured.runs.values()))
    for name, runs in measured.runs.items():
        peaks = [run.peak for run in runs]
        more = ratios([run.peak for run in least], peaks)
        speeds = [run.result["n_words"] / run.result["seconds"] for run in runs]
        rows.append(
            [name, Spread.of(speeds).show(0), Spread.of(peaks).show(0), more.show(2)]
        )
    header = ["stream", "words/s", "peak MB", "x peak of the first"]
    return [Table("nlp.pipe", header, rows)]
