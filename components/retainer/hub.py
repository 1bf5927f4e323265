"""Datasets of the HuggingFace library `datasets`: from the hub, or from a folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from .conll import Sentence
from .errors import UserError
from .faults import FileLog
from .labels import OUTSIDE
from .layout import ReadOptions
from .schemes import MISSING, PLAIN, PREFIXED, TagReader, find_scheme

if TYPE_CHECKING:
    from datasets import Dataset

SCHEMA = "hf:"
KEYS = ("name", "split", "revision")
TOKENS = ("tokens", "words")
TAGS = ("ner_tags", "tags", "labels", "ner")


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
    names = _tag_names(rows, columns[1], path)

    def paths() -> Iterator[list[str]]:
        for row in rows:
            yield [_name(value, names) for value in row[columns[1]] or []]

    known = names or {tag for tags in paths() for tag in tags}
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
    if isinstance(value, int):
        return names[value] if 0 <= value < len(names) else MISSING
    return value or MISSING


def _load(path: Path) -> "Dataset":
    try:
        from datasets import Dataset, load_dataset, load_from_disk
    except ImportError as error:
        raise UserError(
            f"The package `datasets` was expected, to read '{path}', but it is not "
            "installed. Install it with `pip install datasets`."
        ) from error
    name, _, query = str(path).removeprefix(SCHEMA).partition("?")
    wanted = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(wanted) - set(KEYS))
    if unknown:
        raise UserError(
            f"Settings among {', '.join(KEYS)} were expected in '{path}', but "
            f"{', '.join(unknown)} came. Write it as {SCHEMA}NAME?split=train."
        )
    try:
        if Path(name).is_file():
            return Dataset.from_parquet(name)
        if (Path(name) / "state.json").is_file():
            return load_from_disk(name)
        if (Path(name) / "dataset_dict.json").is_file():
            loaded = load_from_disk(name)
        else:
            loaded = load_dataset(
                name, wanted.get("name"), revision=wanted.get("revision")
            )
    except Exception as error:  # each loader of that library has its own errors
        raise UserError(
            f"A dataset was expected at '{path}', but it cannot be loaded: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. "
            "Correct its name, or download it and name the folder."
        ) from error
    split = wanted.get("split", "")
    if not split and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split not in loaded:
        raise UserError(
            f"A split among {', '.join(loaded)} was expected in '{path}', but it is "
            f"'{split}'. Write it as {SCHEMA}{name}?split={next(iter(loaded))}."
        )
    return loaded[split]


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


def _tag_names(rows: "Dataset", column: str, path: Path) -> list[str]:
    """The tags by their numbers; none if the column holds the tags themselves."""
    item = getattr(rows.features[column], "feature", None)
    names = getattr(item, "names", None)
    if names:
        return list(names)
    if getattr(item, "dtype", None) not in ("string", "large_string"):
        raise UserError(
            f"Tags, or numbers with their names (ClassLabel), were expected in the "
            f"column '{column}' of '{path}', but it holds {rows.features[column]}. "
            "Give the column its names with Dataset.cast_column."
        )
    return []
