"""Datasets of the HuggingFace library `datasets`: from the hub, or from a folder."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from .conll import Sentence
from .errors import UserError
from .faults import FileLog
from .files import HUB
from .labels import OUTSIDE
from .layout import ReadOptions
from .schemes import MISSING, PLAIN, PREFIXED, TagReader, find_scheme

if TYPE_CHECKING:
    from datasets import Dataset

KEYS = ("name", "split", "revision")
SAVED = ("state.json", "dataset_dict.json")
TOKENS = ("tokens", "words")
TAGS = ("ner_tags", "tags", "labels", "ner")
STRINGS = ("string", "large_string")


def read_dataset(
    path: Path, options: ReadOptions | None = None, log: FileLog | None = None
) -> Iterator[Sentence]:
    """The sentences of a dataset with a list of tokens and one of tags in each row.

    path: "hf:DATASET?name=CONFIGURATION&split=SPLIT&revision=COMMIT", where DATASET is
        one of the hub or a folder; a folder that the library saved; or a .parquet
        file. The lines of a sentence are the number of its row, from 1.
    """
    options, log = options or ReadOptions(), log or FileLog(str(path))
    rows = _load(path)
    columns = (
        _choose(rows, options.token_column, TOKENS, path),
        _choose(rows, options.tag_column, TAGS, path),
    )
    rows = rows.select_columns(list(columns))
    _check_tokens(rows, columns[0], path)
    names = _tag_names(rows, columns[1], path)

    def paths() -> Iterator[list[str]]:
        for row in rows:
            yield [_name(value, names) for value in row[columns[1]] or []]

    known = Counter(names or chain.from_iterable(paths()))
    scheme = options.scheme or find_scheme(known, paths)
    log.layout = f"dataset, {columns[0]} and {columns[1]}, {scheme}"
    reader = TagReader(scheme, log)
    n_sentences = 0
    for row_i, (row, tags) in enumerate(zip(rows, paths(), strict=True), start=1):
        sentence = _sentence(row[columns[0]] or [], tags, row_i, log)
        if sentence is not None:
            sentence.tags = reader.read(sentence.tags, sentence.lines)
            n_sentences += 1
            yield sentence
    log.check_share(len(rows), "rows")
    if n_sentences == 0:
        raise UserError(
            f"Rows with tokens were expected in '{path}', but there are none. Leave it "
            "out."
        )


def _sentence(
    tokens: Sequence[str], tags: Sequence[str], row_i: int, log: FileLog
) -> Sentence | None:
    if len(tokens) != len(tags):
        detail = f"{len(tokens)} tokens, {len(tags)} tags"
        log.add("broken record", row_i, detail)
        return None
    sentence = Sentence([], [], log.path, [])
    for token, tag in zip(tokens, tags, strict=True):
        if not token:
            log.add("empty token", row_i, f"with the tag {tag!r}")
            continue
        is_tag = tag in (OUTSIDE, MISSING) or PREFIXED.fullmatch(tag)
        if not is_tag and not PLAIN.fullmatch(tag):
            log.add("unreadable tag", row_i, f"{tag!r} of the token {token[:40]!r}")
            tag = MISSING
        sentence.add(token, tag, row_i)
    if not sentence.tokens:
        log.skipped["rows without tokens"] += 1
        return None
    return sentence


def _name(value: Any, names: Sequence[str]) -> str:
    """A tag by its number or by itself; a negative number says that it is unknown."""
    if not isinstance(value, int):
        return value or MISSING
    if value < 0:
        return MISSING
    return names[value] if value < len(names) else str(value)


def _load(path: Path) -> "Dataset":
    try:
        from datasets import Dataset, load_dataset, load_from_disk
    except ImportError as error:
        raise UserError(
            f"The package `datasets` was expected, to read '{path}', but it is not "
            "installed. Install it with `pip install datasets`."
        ) from error
    name, wanted = _parse(path)
    split, folder = wanted.pop("split", ""), Path(name)
    try:
        if folder.is_file():
            loaded = Dataset.from_parquet(name)
        elif any((folder / file).is_file() for file in SAVED):
            loaded = load_from_disk(name)
        else:
            loaded = load_dataset(name, **wanted)
    except Exception as error:  # each loader of that library has its own errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"A dataset was expected at '{path}', but it cannot be loaded: "
            f"{reason.rstrip('.!')}. Correct its name, or download it and name the "
            "folder."
        ) from error
    splits = {"": loaded} if isinstance(loaded, Dataset) else loaded
    return _choose_split(splits, split, path)


def _choose_split(splits: "dict[str, Dataset]", split: str, path: Path) -> "Dataset":
    """splits: by their names; one without a name where there are none."""
    if not split and len(splits) == 1:
        return next(iter(splits.values()))
    if "" in splits:
        raise UserError(
            f"No split was expected in '{path}', as that dataset has none, but it is "
            f"'{split}'. Leave it away."
        )
    if split not in splits:
        name = str(path).removeprefix(HUB).partition("?")[0]
        raise UserError(
            f"A split among {', '.join(splits)} was expected in '{path}', but it is "
            f"'{split}'. Write it as {HUB}{name}?split={next(iter(splits))}."
        )
    return splits[split]


def _parse(path: Path) -> tuple[str, dict[str, str]]:
    """Example: "hf:a/b?split=dev" -> "a/b", {"split": "dev"}"""
    name, _, query = str(path).removeprefix(HUB).partition("?")
    wanted = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(wanted) - set(KEYS))
    if unknown:
        raise UserError(
            f"Settings among {', '.join(KEYS)} were expected in '{path}', but "
            f"{', '.join(unknown)} came. Write it as {HUB}NAME?split=train."
        )
    return name, wanted


def _choose(
    rows: "Dataset", given: str | None, usual: Sequence[str], path: Path
) -> str:
    """The name of a column: as given, or the first of the usual ones."""
    wanted = usual if given is None else (given,)
    found = [name for name in wanted if name in rows.column_names]
    if not found:
        raise UserError(
            f"A column {' or '.join(wanted)} was expected in '{path}', but there are "
            f"{', '.join(rows.column_names)}. Name the columns of tokens and of tags."
        )
    return found[0]


def _check_tokens(rows: "Dataset", column: str, path: Path) -> None:
    item = getattr(rows.features[column], "feature", None)
    if getattr(item, "dtype", None) not in STRINGS:
        raise UserError(
            f"A list of tokens in each row was expected in the column '{column}' of "
            f"'{path}', but it holds {rows.features[column]}. Name the column of "
            "tokens."
        )


def _tag_names(rows: "Dataset", column: str, path: Path) -> list[str]:
    """The tags by their numbers; none if the column holds the tags themselves."""
    item = getattr(rows.features[column], "feature", None)
    names = getattr(item, "names", None)
    if names:
        return list(names)
    if getattr(item, "dtype", None) not in STRINGS:
        raise UserError(
            f"Tags, or numbers with their names (ClassLabel), were expected in the "
            f"column '{column}' of '{path}', but it holds {rows.features[column]}. "
            "Give the column its names with Dataset.cast_column."
        )
    return []
