"""A pipeline against what was made of it: F1, entities, size and speed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter

from spacy.language import Language
from spacy.tokens import Doc

from .corpus import read_docs
from .errors import UserError
from .forgotten import char_spans
from .inspection.tables import Cell, Table
from .pipelines import Track, predict
from .report import Counts, count, difference, file_names, merge, points

MOST_TEXTS = 200  # that are read for the time
N_ROUNDS = 3  # that each pipeline reads them, in turns

Pair = tuple[float, float]  # before, after


@dataclass
class Comparison:
    """f1: in points, of all files together, None without entities. worst: the file
    that lost most, and its F1. same: of all entities that either finds, the share that
    both find. piped, single: words a second, texts all at once or each by itself."""

    f1: tuple[float | None, float | None]
    worst: tuple[str, Pair] | None
    same: float
    megabytes: Pair
    piped: Pair
    single: Pair

    @property
    def lost(self) -> float | None:
        gained = difference(*self.f1)
        return None if gained is None else -gained


def compare(
    before: Language, after: Language, files: Sequence[Path], track: Track
) -> Comparison:
    """Both must have been loaded from folders. files: annotated."""
    counts: list[dict[str, Counts]] = [{}, {}]
    n_same = n_any = 0
    texts: list[str] = []
    for name, file in zip(file_names(files), files, strict=True):
        references = list(read_docs(file, before))
        texts += (ref.text for ref in references)
        said = []
        for nlp, part in zip((before, after), counts, strict=True):
            docs = predict(nlp, references, track)
            part[name] = count(docs, references)
            said.append([set(char_spans(doc)) for doc in docs])
        for first, second in zip(*said, strict=True):
            n_same += len(first & second)
            n_any += len(first | second)
    texts = texts[:: max(1, len(texts) // MOST_TEXTS)]
    return Comparison(
        f1=tuple(points(merged := merge(part.values()), merged) for part in counts),
        worst=_worst(*counts),
        same=n_same / n_any if n_any else 1.0,
        megabytes=(_megabytes(before.path), _megabytes(after.path)),
        piped=time_pair(before, after, texts, lambda nlp: list(nlp.pipe(texts))),
        single=time_pair(before, after, texts, lambda nlp: list(map(nlp, texts))),
    )


def _worst(before: dict[str, Counts], after: dict[str, Counts]) -> tuple | None:
    pairs = {
        name: (points(before[name], before[name]), points(after[name], after[name]))
        for name in before
    }
    known = {name: pair for name, pair in pairs.items() if None not in pair}
    if not known:
        return None
    return max(known.items(), key=lambda item: item[1][0] - item[1][1])


def time_pair(
    before: Language,
    after: Language,
    texts: Sequence[str],
    read: Callable[[Language], Iterable[Doc]],
) -> Pair:
    """Words a second of the median round. They read in turns, so that what else the
    machine does slows both alike."""
    n_words = sum(len(before.make_doc(text)) for text in texts)
    seconds: list[list[float]] = []
    for _ in range(N_ROUNDS):
        row = []
        for nlp in (before, after):
            started = perf_counter()
            read(nlp)
            row.append(perf_counter() - started)
        seconds.append(row)
    ratio = median(first / second for first, second in seconds)
    usual = n_words / median(first for first, _ in seconds)
    return usual, usual * ratio


def _megabytes(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def to_table(found: Comparison) -> Table:
    def row(name: str, pair: tuple, last: str, digits: int = 0) -> list[Cell]:
        shown = ["-" if value is None else f"{value:,.{digits}f}" for value in pair]
        return [name, *shown, last]

    def times(pair: Pair) -> str:
        return f"x {pair[1] / pair[0]:.2f}"

    def change(pair: tuple) -> str:
        gained = difference(*pair)
        return "-" if gained is None else f"{gained:+.2f}"

    rows = [row("F1, points", found.f1, change(found.f1), 2)]
    if found.worst is not None:
        name, pair = found.worst
        rows.append(row(f"F1 of the worst file, {name}", pair, change(pair), 2))
    rows += [
        ["same entities", None, None, f"{100 * found.same:.2f}%"],
        row("size, MB", found.megabytes, times(found.megabytes), 1),
        row("words a second, many texts", found.piped, times(found.piped)),
        row("words a second, text by text", found.single, times(found.single)),
    ]
    return Table("", ["", "before", "after", "change"], rows)


def check_limit(max_loss: float | None, check: Sequence[Path]) -> None:
    """Raise UserError unless the limit can be kept to, and measured."""
    if max_loss is None:
        return
    if not 0 <= max_loss < inf:  # NaN is not either
        raise UserError(
            f"A finite number from 0 up was expected for --max-loss, but {max_loss} "
            "came. Correct it."
        )
    if not check:
        raise UserError(
            "Annotated files were expected, to measure by what is lost, but there is "
            "--max-loss without --check. Give both."
        )


def demand(found: Comparison, max_loss: float) -> None:
    """Raise UserError if more was lost."""
    if found.lost is None:
        raise UserError(
            "Entities were expected in the files of --check, or found in them, but "
            "there are none to measure a loss by. Give annotated files."
        )
    if found.lost > max_loss:
        raise UserError(
            f"At most {max_loss:g} points of F1 were to be lost (--max-loss), but "
            f"{found.lost:.2f} were, so nothing was written. Leave out --int8, give "
            "more texts to --trim, or allow more."
        )
