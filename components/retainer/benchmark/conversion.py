"""The subject `convert`: a file of CoNLL to .spacy, beside spaCy's own converter."""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ..conll import format_sentence, read_conll
from ..files import find_files
from ..inspection.tables import Table
from .figures import Spread, ratios
from .processes import Contender, Measured

OURS, THEIRS = "scripts/convert.py", "spacy convert"


def write_corpus(inputs: Sequence[Path], path: Path, n_wanted: int) -> int:
    """RETURNS: how many tokens the file holds. Each input is there as often."""
    sentences = [s for file in find_files(inputs) for s in read_conll(file)]
    text = "".join(format_sentence(s.tokens, s.tags) for s in sentences)
    n_tokens = sum(len(sentence.tokens) for sentence in sentences)
    n_times = -(-n_wanted // n_tokens)
    path.write_text(text * n_times, encoding="utf-8")
    return n_tokens * n_times


def conversion_contenders(scripts: Path, source: Path) -> list[Contender]:
    script, folder = str(scripts / "convert.py"), source.parent
    ours = [sys.executable, script, str(source), str(folder / "ours.spacy")]
    theirs = [sys.executable, "-m", "spacy", "convert", str(source), str(folder)]
    options = ["--converter", "ner", "--lang", "xx"]
    return [
        Contender(OURS, ours, is_ours=True),
        Contender(THEIRS, [*theirs, *options]),
    ]


def conversion_tables(measured: Measured, n_words: int) -> list[Table]:
    """Ratios are theirs over ours: how many times as much they take."""
    rows, ours = [], measured.runs[OURS]
    for name, runs in measured.runs.items():
        rows.append(
            [
                name,
                Spread.of([run.seconds for run in runs]).show(1),
                Spread.of([n_words / run.seconds for run in runs]).show(0),
                f"{median(run.peak for run in runs):,.0f}",
                *(
                    ratios([get(a) for a in ours], [get(b) for b in runs]).show(2)
                    for get in (
                        lambda run: run.seconds,
                        lambda run: run.cpu_seconds,
                        lambda run: run.peak,
                    )
                ),
            ]
        )
    header = ["command", "s", "tokens/s", "peak MB", "x time", "x processor", "x peak"]
    return [Table("Whole processes", header, rows)]
