"""Files of data: finding them, opening compressed ones, reading their lines."""

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, BinaryIO

from .errors import UserError

STDIN = Path("-")
HUB = "hf:"  # before the name of a dataset
COMPRESSED = (".gz", ".bz2", ".xz", ".zip")
CONLL_SUFFIXES = (".conll", ".conllu", ".iob", ".iob2", ".bio", ".bioes", ".bmes")
TEXT_SUFFIXES = (*CONLL_SUFFIXES, ".txt", ".tsv")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
FOLDER_SUFFIXES = (*TEXT_SUFFIXES, ".spacy", ".jsonl", ".ndjson", ".parquet")
MAGIC: dict[bytes, Callable[..., BinaryIO]] = {
    rb"\x1f\x8b": gzip.open,
    rb"BZh[1-9]1AY&SY": bz2.open,
    rb"\xfd7zXZ\x00": lzma.open,
}
ZIP_MAGIC = rb"PK\x03\x04"
# What at the start of a file is no text: behind a byte order mark it is.
NO_TEXT = re.compile(b"|".join((rb"\xef\xbb\xbf", ZIP_MAGIC, *MAGIC)))
# RuntimeError: what zipfile raises of encrypted and of newer files
READ_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
)


def data_suffix(path: Path) -> str:
    """The suffix of what is inside. Example: "a.CoNLL.gz" -> ".conll" """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Each file once; a folder stands for the data files in it, sorted by name.

    A folder that the library `datasets` saved stands for itself, as do "-", which is
    the standard input, and "hf:..." (see `retainer.hub`).
    """
    files: list[Path] = []
    for path in paths:
        if path.is_file() or path == STDIN or is_dataset(path):
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
                f"Data files ({', '.join(FOLDER_SUFFIXES)}) were expected in the "
                f"folder '{path}', but it holds none. Put some there, or name files "
                "directly."
            )
        files.extend(found)
    return list(dict.fromkeys(files))


def is_dataset(path: Path) -> bool:
    """Whether `retainer.hub` reads it: "hf:..." or a folder saved by `datasets`."""
    is_saved = (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()
    return str(path).startswith(HUB) or is_saved


def _is_data_file(path: Path) -> bool:
    is_hidden = path.name.startswith(".")
    return path.is_file() and not is_hidden and data_suffix(path) in FOLDER_SUFFIXES


def open_binary(path: Path) -> BinaryIO:
    """The data itself: gzip, bzip2, xz and a zip of one file are unpacked.

    "-" is the standard input, which is kept until the process ends so that it can be
    opened again.
    """
    try:
        if path == STDIN:
            path = Path(_keep_stdin().name)
        with path.open("rb") as handle:
            head = handle.read(10)
        if re.match(ZIP_MAGIC, head):
            return _open_zip(path)
        openers = (opener for magic, opener in MAGIC.items() if re.match(magic, head))
        return next(openers, open)(path, "rb")
    except (*READ_ERRORS, ValueError) as error:  # ValueError: a zip's broken names
        raise _unreadable(path, error) from error


def _open_zip(path: Path) -> BinaryIO:
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if len(names) != 1:
            raise UserError(
                f"A zip file with one file in it was expected at '{path}', but it has "
                f"{len(names)}. Unpack it, and name the folder."
            )
        return io.BytesIO(archive.read(names[0]))


@cache
def _keep_stdin() -> IO[bytes]:
    copy = tempfile.NamedTemporaryFile(prefix="retainer-")  # noqa: SIM115
    shutil.copyfileobj(sys.stdin.buffer, copy)
    copy.flush()
    return copy


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UserError(
        f"A file of data was expected at '{path}', but it cannot be read: {reason}. "
        "Correct the path or its permissions, or fetch the file again."
    )


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a text file without their ends.

    They end at LF or CRLF and nowhere else, or at CR in a file that has no LF. A byte
    order mark is no text.
    """
    encoding = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    try:
        with open_binary(path) as handle:
            end = _line_end(handle, encoding)
        with io.TextIOWrapper(open_binary(path), encoding, newline=end) as lines:
            for line in lines:
                yield line.removesuffix(end).removesuffix("\r")
    except UnicodeError as error:
        raise _undecodable(path, encoding) from error
    except LookupError as error:
        raise UserError(
            f"An encoding that Python knows, such as utf-8 or gb18030, was expected, "
            f"but '{encoding}' is none. Correct it."
        ) from error
    except READ_ERRORS as error:
        raise _unreadable(path, error) from error


def looks_like_json(path: Path) -> bool:
    """Whether the first line begins a record, or a list of them."""
    lines = (line.strip() for line in read_lines(path))
    first = next(filter(None, lines), "")
    return first.startswith('{"') or first in ("[", "[{") or first.startswith('[{"')


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` if nothing fails, and else nothing."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(
            f"An output that can be written was expected at '{path}', but it cannot: "
            f"{error.strerror or error}. Correct the path, its permissions or the "
            "space on the disk."
        ) from error
    finally:
        with suppress(NotADirectoryError):
            unfinished.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a file: the whole of it or nothing."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, "utf-8")


def _line_end(handle: BinaryIO, encoding: str) -> str:
    """By the first megabyte, so that a long first line does not deceive."""
    text = handle.read(1 << 20).decode(encoding, "ignore")
    return "\r" if "\r" in text and "\n" not in text else "\n"


def _undecodable(path: Path, encoding: str) -> UserError:
    with open_binary(path) as handle:
        data = handle.read()
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "ignore")
        what, line_i = f"the byte 0x{data[error.start]:02x}", before.count("\n") + 1
    except UnicodeError as error:
        what, line_i = f"bytes that are none ({error})", 1
    name = encoding.upper().removesuffix("-SIG")
    return UserError(
        f"{name} text was expected, but {path}:{line_i} holds {what} where {name} has "
        "none. Name the encoding of the file, or save it as UTF-8."
    )
