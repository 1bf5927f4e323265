"""CoNLL text: one token and its tag a line, a blank line between sentences.

Lines end at LF or CRLF and nowhere else, columns at TABs or spaces and nowhere else:
a no-break space, U+3000 and U+2028 belong to the token that holds them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .labels import OUTSIDE, PREFIXES

SUFFIXES = (".conll", ".txt", ".tsv", ".iob", ".bio", ".spacy")
DOCSTART = "-DOCSTART-"
BLANKS = " \t"
PREFIX_CLASS = f"[{''.join(sorted(PREFIXES))}]"
# O, B-PER or PER; but not a lone B, nor the o or b-per of a slip of the hand.
TAG = re.compile(rf"O|{PREFIX_CLASS}-[^\s-]\S*|(?!(?:{PREFIX_CLASS}|o)$)[^\W\d_]\w*")


@dataclass
class Sentence:
    """lines: where in the file each token stands, counted from 1."""

    tokens: list[str]
    tags: list[str]
    path: str
    lines: list[int]


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Each file once; a folder stands for the data files in it, sorted by name."""
    files: list[Path] = []
    for path in paths:
        if path.is_file():
            files.append(path)
            continue
        if not path.is_dir():
            raise UserError(
                f"A data file or a folder was expected at '{path}', but nothing is "
                "there. Correct the path."
            )
        found = [file for file in sorted(path.iterdir()) if _is_data_file(file)]
        if not found:
            raise UserError(
                f"Data files ({', '.join(SUFFIXES)}) were expected in the folder "
                f"'{path}', but it holds none. Put some there, or name files directly."
            )
        files.extend(found)
    return list(dict.fromkeys(files))


def _is_data_file(path: Path) -> bool:
    is_hidden = path.name.startswith(".")
    return path.is_file() and not is_hidden and path.suffix.lower() in SUFFIXES


def read_conll(path: Path) -> Iterator[Sentence]:
    """The sentences of a UTF-8 file. Token: first column; tag: last column.

    The columns are separated by a TAB when any line of the file has one, else by runs
    of spaces; so with TABs a token may hold spaces.
    """
    lines = _data_lines(_read_text(path))
    tab_line = next((line_i for line_i, line in lines if "\t" in line), None)
    sentence = Sentence([], [], str(path), [])
    n_sentences = 0
    for line_i, line in lines:
        if line:
            token, tag = _split_line(line, tab_line, f"{path}:{line_i}")
            sentence.tokens.append(token)
            sentence.tags.append(tag)
            sentence.lines.append(line_i)
        elif sentence.tokens:
            yield sentence
            n_sentences += 1
            sentence = Sentence([], [], str(path), [])
    if n_sentences == 0:
        raise UserError(
            f"Lines 'TOKEN<TAB>TAG' were expected in '{path}', but the file holds no "
            "sentence. Fill it, or leave it out."
        )


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"A CoNLL file was expected at '{path}', but it cannot be read: "
            f"{error.strerror}. Correct the path or its permissions."
        ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_i = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"UTF-8 text was expected, but {path}:{line_i} holds the byte "
            f"0x{data[error.start]:02x} where UTF-8 has none. Save the file as UTF-8."
        ) from error


def _data_lines(text: str) -> list[tuple[int, str]]:
    """Numbered lines without line ends; "" is a break between sentences.

    A break closes the list too, so that every sentence has one behind it.
    Example: "-DOCSTART- O\\r\\na O\\n \\t" -> [(1, ""), (2, "a O"), (3, ""), (4, "")]
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    for line_i, line in enumerate(lines):
        if not line.strip(BLANKS) or line.startswith(DOCSTART):
            lines[line_i] = ""
    return list(enumerate([*lines, ""], start=1))


def _split_line(line: str, tab_line: int | None, place: str) -> tuple[str, str]:
    """tab_line: the first line of the file with a TAB."""
    separator = "\t" if tab_line else " "
    columns = line.split("\t") if tab_line else line.strip(" ").split(" ")
    token, tag = columns[0], columns[-1].strip(BLANKS)
    if len(columns) < 2 or not tag:
        reason = f" (line {tab_line} has one, so all need it)" if tab_line else ""
        raise UserError(
            f"A token, a {_name(separator)} and a tag were expected{reason}, but "
            f"{place} is {line!r}. Add the tag, '{OUTSIDE}' for a token outside any "
            "entity, or leave the line blank to end the sentence."
        )
    if not token:
        raise UserError(
            f"A token was expected before the first {_name(separator)}, but {place} is "
            f"{line!r}. Add the token, or remove the line."
        )
    if not TAG.fullmatch(tag):
        raise UserError(
            f"A tag such as O, B-PER, I-PER or PER was expected in the last column, "
            f"but {place} has {tag!r} for the token {token!r}. Correct the tag, or "
            "convert the file so that the tag is its last column."
        )
    return token, tag


def _name(separator: str) -> str:
    return "TAB" if separator == "\t" else "space"


def format_sentence(tokens: Sequence[str], tags: Sequence[str]) -> str:
    """Example: ["Ann", "left"], ["B-PER", "O"] -> "Ann\\tB-PER\\nleft\\tO\\n\\n" """
    pairs = zip(tokens, tags, strict=True)
    return "".join(f"{token}\t{tag}\n" for token, tag in pairs) + "\n"
