"""Raw texts of a file, one after another: plain lines, JSONL, CSV, Parquet.

Nothing but the current lines or rows is held, however large the file is.
"""

import csv
import io
import json
import reprlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import READ_ERRORS, data_suffix, open_binary

DELIMITERS = {".csv": ",", ".tsv": "\t"}
RAW_SUFFIXES = (".txt", ".jsonl", ".ndjson", *DELIMITERS, ".parquet")
N_ROWS = 64  # of a Parquet file at once: they may be long
BUFFER = 1 << 20  # bytes of each column of a Parquet file


@dataclass(frozen=True, slots=True)
class Text:
    """meta: the other fields of its record, as JSON has them; None without any."""

    text: str
    meta: dict[str, Any] | None = None


class TextFile:
    """To be iterated, from the start each time.

    column: the key or column with the text; of no meaning in a .txt file.
    n_blank_lines: lines of white space that were passed over so far. A record with
    such a text is no blank line, and is kept, so that rows line up.
    """

    def __init__(self, path: Path, column: str):
        self.path, self.column = path, column
        self.n_blank_lines = 0
        self._handle: Any = None
        self._n_rows: int | None = None
        self._read = {
            ".txt": self._read_txt,
            ".jsonl": self._read_jsonl,
            ".ndjson": self._read_jsonl,
            ".csv": self._read_csv,
            ".tsv": self._read_csv,
            ".parquet": self._read_parquet,
        }.get(data_suffix(path))
        if self._read is None or not path.is_file():
            what = "its name ends otherwise" if path.is_file() else "nothing is there"
            raise UserError(
                "A file .txt, .jsonl, .ndjson, .csv or .tsv (all of them also as .gz, "
                f".bz2 or .xz) or .parquet was expected at '{path}', but {what}. "
                "Correct the path."
            )

    def __iter__(self) -> Iterator[Text]:
        self.n_blank_lines = 0
        return self._read()

    def estimate(self, n_read: int) -> int | None:
        """How many texts there are, given how many came so far; None if unknown."""
        # What gzip unpacks has a place on the disk too; bzip2 and xz hide theirs.
        raw = getattr(self._handle, "fileobj", self._handle)
        if self._n_rows is not None or not isinstance(raw, io.BufferedReader):
            return self._n_rows
        place = raw.tell()
        return round(n_read * self.path.stat().st_size / place) if place else None

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Numbered from 1, with their ends, which are LF; without a byte order mark.

        Each is decoded alone, so that those before a wrong byte do come.
        """
        line_i, mark = 0, "\ufeff"
        try:
            with open_binary(self.path) as self._handle:
                for line_i, line in enumerate(self._handle, start=1):
                    yield line_i, line.decode("utf-8").removeprefix(mark)
                    mark = ""
        except UnicodeDecodeError as error:
            raise UserError(
                f"UTF-8 text was expected, but {self.path}:{line_i} holds the byte "
                f"0x{error.object[error.start]:02x} where UTF-8 has none. Save the "
                "file as UTF-8."
            ) from error
        except READ_ERRORS as error:
            raise UserError(
                f"A whole file was expected at '{self.path}', but it cannot be read "
                f"behind line {line_i:,}: {error}. Fetch the file again."
            ) from error
        finally:
            self._handle = None

    def _read_txt(self) -> Iterator[Text]:
        for _, line in self._lines():
            if line.strip():
                yield Text(line.removesuffix("\n").removesuffix("\r"))
            else:
                self.n_blank_lines += 1

    def _read_jsonl(self) -> Iterator[Text]:
        for line_i, line in self._lines():
            place = f"{self.path}:{line_i}"
            if not line.strip():
                self.n_blank_lines += 1
                continue
            try:  # NaN and Infinity are no JSON, though Python reads and writes them
                record = json.loads(line, parse_constant=str)
            except ValueError as error:
                raise UserError(
                    f"A JSON object a line was expected, but {place} is "
                    f"{reprlib.repr(line)}: {error}. Correct the line."
                ) from error
            if not isinstance(record, dict):
                raise UserError(
                    f"A JSON object was expected, but {place} is "
                    f"{reprlib.repr(line)}. Write it as {{{self.column!r}: ...}}."
                )
            self._check_columns(record, place)
            yield self._make(record, place)

    def _read_csv(self) -> Iterator[Text]:
        csv.field_size_limit(2**31 - 1)  # it is 131,072 characters otherwise
        delimiter = DELIMITERS[data_suffix(self.path)]
        lines = (line for _, line in self._lines())
        # strict, or a quote that is never closed takes the rest of the file
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            header = next(rows, [])
            self._check_columns(header, f"{self.path}:1")
            for row in rows:
                if row:
                    place = f"{self.path}:{rows.line_num}"
                    yield self._make(_as_record(header, row, place), place)
                else:
                    self.n_blank_lines += 1
        except csv.Error as error:
            raise UserError(
                f"Fields between {delimiter!r}, in double quotes where they hold one "
                f"or a line end, were expected, but {self.path}:{rows.line_num} cannot "
                f"be read: {error}. Correct the quotes; inside a field they are "
                "doubled."
            ) from error

    def _read_parquet(self) -> Iterator[Text]:
        try:
            import pyarrow
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise UserError(
                f"The package pyarrow was expected, to read '{self.path}', but it is "
                "not there. Install it: pip install pyarrow"
            ) from error
        n_rows = 0
        try:
            with ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False) as file:
                self._n_rows = file.metadata.num_rows
                self._check_columns(file.schema_arrow.names, str(self.path))
                for batch in file.iter_batches(N_ROWS):
                    for record in batch.to_pylist():
                        n_rows += 1
                        yield self._make(record, f"{self.path}: row {n_rows}")
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(
                f"A Parquet file was expected at '{self.path}', but it cannot be read "
                f"behind row {n_rows:,}: {error}. Fetch the file again."
            ) from error

    def _check_columns(self, names: Iterable[str], place: str) -> None:
        """names: of a header, or the keys of a record."""
        names = list(names)
        if self.column in names and len(set(names)) == len(names):
            return
        listed = ", ".join(map(repr, names)) or "none"
        raise UserError(
            f"A column '{self.column}' with the text, and each name once, were "
            f"expected, but {place} has {reprlib.repr(listed)}. Name the column with "
            "--column, or correct the names."
        )

    def _make(self, record: dict[str, Any], place: str) -> Text:
        """record: of which the text is taken away."""
        text = record.pop(self.column)
        if not isinstance(text, str):
            raise UserError(
                f"A text was expected in the column '{self.column}', but {place} has "
                f"{reprlib.repr(text)}. Correct or remove the record, or name another "
                "column with --column."
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"Text in Unicode was expected, but {place} has the half character "
                f"{error.object[error.start]!r} at {error.start}. Remove it."
            ) from error
        meta = {name: _as_json(value) for name, value in record.items()}
        return Text(text, meta or None)


def _as_record(header: list[str], row: list[str], place: str) -> dict[str, Any]:
    if len(row) != len(header):
        raise UserError(
            f"{len(header)} fields, as in the header, were expected, but {place} has "
            f"{len(row)}: {reprlib.repr(row)}. Put fields that hold a delimiter in "
            "double quotes."
        )
    return dict(zip(header, row, strict=True))


def _as_json(value: Any) -> Any:
    """The value itself if JSON has its like, else as a string: times, bytes, NaN."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    return value
