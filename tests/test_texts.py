"""What each kind of file gives, by hand; what stops the reading, and where."""

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from retainer.errors import UserError
from retainer.texts import Text, TextFile

# name, bytes, column, texts, blank lines
FILES = {
    "lines": ("a.txt", b"Anna\nsent it", "text", [Text("Anna"), Text("sent it")], 0),
    "line ends": (
        "a.txt",
        b" a\r\n\r\nb\rc\n \t\n",
        "-",
        [Text(" a"), Text("b\rc")],
        2,
    ),
    "only LF ends a line": (
        "a.txt",
        "\ufeffone\u2028more\x0b\x85\n".encode(),
        "text",
        [Text("one\u2028more\x0b\x85")],
        0,
    ),
    "records": (
        "a.jsonl",
        b'{"text": "a", "id": 7, "meta": {"b": [null]}}\r\n\n{"text": " "}\n',
        "text",
        [Text("a", {"id": 7, "meta": {"b": [None]}}), Text(" ")],
        1,
    ),
    "another key": (
        "a.NDJSON",
        b'\xef\xbb\xbf{"text": 1, "body": "\\ud83d\\ude00", "x": NaN}',
        "body",
        [Text("😀", {"text": 1, "x": "NaN"})],
        0,
    ),
    "table": (
        "a.csv",
        b'id,text,note\r\n1,"a ""b"",\nc",\n\n2,,d\n',
        "text",
        [
            Text('a "b",\nc', {"id": "1", "note": ""}),
            Text("", {"id": "2", "note": "d"}),
        ],
        1,
    ),
    "TABs": (
        "a.tsv",
        b'\xef\xbb\xbftext\n"a\tb"\nc,d',
        "text",
        [Text("a\tb"), Text("c,d")],
        0,
    ),
}
# name, bytes, message
FAULTS = {
    "byte": ("a.txt", b"a\n\xe4\n", r"a\.txt:2 holds the byte 0xe4 .* as UTF-8\."),
    "byte in quotes": ("a.csv", b'text\n"a\n\xff"', r"a\.csv:3 holds the byte 0xff"),
    "UTF-16": ("a.txt", "a\n".encode("utf-16"), r"a\.txt:1 holds the byte 0xff"),
    "JSON": (
        "a.jsonl",
        b'{"text": "a"}\n{"text"\n',
        r"a\.jsonl:2 is '\{\"text\"\\n': ",
    ),
    "list": ("a.jsonl", b'["a"]', r"A JSON object was expected, but .*a\.jsonl:1 is"),
    "key": (
        "a.jsonl",
        b'{"body": "a"}',
        r"column 'text' .*jsonl:1 has \"'body'\"\. Name",
    ),
    "no key": ("a.jsonl", b"{}", r"a\.jsonl:1 has 'none'\. Name the column with --col"),
    "number": ("a.jsonl", b'{"text": 1}', r"A text was expected .*a\.jsonl:1 has 1\."),
    "null": ("a.jsonl", b'{"text": null}', r"a\.jsonl:1 has None\. Correct or remove"),
    "half": (
        "a.jsonl",
        b'{"text": "a\\ud83d"}',
        r"jsonl:1 has the half .*'\\ud83d' at 1",
    ),
    "column": ("a.csv", b"id,body\n1,a\n", r"a\.csv:1 has \"'id', 'body'\"\. Name the"),
    "no header": ("a.csv", b"", r"a\.csv:1 has 'none'\. Name the column"),
    "column twice": ("a.csv", b"text,a,a\n", r"each name once, .*a\.csv:1 has"),
    "many fields": (
        "a.csv",
        b"text\n\na,b\n",
        r"1 fields, .*a\.csv:3 has 2: \['a', 'b'\]",
    ),
    "few fields": ("a.tsv", b"id\ttext\na\n", r"2 fields, .*a\.tsv:2 has 1: \['a'\]"),
    "open quote": (
        "a.csv",
        b'text\n"a\nb\n',
        r"a\.csv:3 cannot be read: unexpected end",
    ),
    "quote": ("a.tsv", b'text\n"a" b\n', r"'\\t', in double .*a\.tsv:2 cannot be read"),
    "no Parquet": ("a.parquet", b"text", r"Parquet file .* behind row 0: .* Fetch the"),
    "kind": ("a.docx", b"", r"\.parquet was expected at '.*', but its name ends other"),
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("case", FILES)
def test_texts_of_a_file(case: str, tmp_path: Path) -> None:
    name, data, column, texts, n_blank_lines = FILES[case]
    file = TextFile(write(tmp_path / name, data), column)
    for _ in range(2):
        assert list(file) == texts
        assert file.n_blank_lines == n_blank_lines


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed(suffix: str, tmp_path: Path) -> None:
    name, data, column, texts, _ = FILES["table"]
    path = write(tmp_path / (name + suffix), COMPRESS[suffix](data))
    assert list(TextFile(path, column)) == texts


@pytest.mark.parametrize("case", FAULTS)
def test_fault(case: str, tmp_path: Path) -> None:
    name, data, message = FAULTS[case]
    with pytest.raises(UserError, match=message):
        list(TextFile(write(tmp_path / name, data), "text"))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"expected at '.*a\.txt', but nothing is there"
    ):
        TextFile(tmp_path / "a.txt", "text")


def test_what_is_before_a_fault_comes(tmp_path: Path) -> None:
    texts = iter(TextFile(write(tmp_path / "a.txt", b"a\nb\n\xff\n"), "text"))
    assert [next(texts), next(texts)] == [Text("a"), Text("b")]
    with pytest.raises(UserError, match=r"a\.txt:3 "):
        next(texts)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_half_a_compressed_file(suffix: str, tmp_path: Path) -> None:
    data = b"".join(b"%d\n" % (i * i) for i in range(10_000))
    half = COMPRESS[suffix](data)[:-5000]
    path = write(tmp_path / f"a.txt{suffix}", half)
    with pytest.raises(
        UserError, match=r"A whole file .* behind line [\d,]+: .* Fetch"
    ):
        list(TextFile(path, "text"))


def test_field_longer_than_the_limit_of_csv(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"text\n" + b"a" * 200_000)
    assert [len(text.text) for text in TextFile(path, "text")] == [200_000]


def write_parquet(path: Path, **columns: list) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet",
        id=[1, None],
        body=["a", ""],
        when=[datetime(2024, 2, 1, 9), None],
        score=[0.5, float("nan")],
        raw=[b"\xff", b""],
        tags=[["x"], []],
    )
    when = "2024-02-01 09:00:00"
    assert list(TextFile(path, "body")) == [
        Text(
            "a", {"id": 1, "when": when, "score": 0.5, "raw": "b'\\xff'", "tags": ["x"]}
        ),
        Text("", {"id": None, "when": None, "score": "nan", "raw": "b''", "tags": []}),
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"body": ["a"]}, r"a\.parquet has \"'body'\"\. Name the column"),
        ({"text": ["a"] * 70 + [None]}, r"a\.parquet: row 71 has None\. Correct"),
        ({"text": [1]}, r"a\.parquet: row 1 has 1\. Correct or remove"),
    ],
)
def test_fault_in_parquet(columns: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        list(TextFile(write_parquet(tmp_path / "a.parquet", **columns), "text"))


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch) -> None:
    file = TextFile(write_parquet(tmp_path / "a.parquet", text=["a"]), "text")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"package pyarrow was .* pip install pyarrow"):
        list(file)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_estimate_is_by_the_place_in_the_file(name: str, tmp_path: Path) -> None:
    compress = COMPRESS.get(Path(name).suffix, bytes)
    data = b"".join(b"%d\n" % i for i in range(100_000, 200_000))
    file = TextFile(write(tmp_path / name, compress(data)), "text")
    assert file.estimate(0) is None
    estimates = [file.estimate(i) for i, _ in enumerate(file, start=1) if i > 20_000]
    assert estimates[0] == pytest.approx(100_000, rel=0.5)
    assert estimates[-1] == pytest.approx(100_000, rel=0.05)


def test_estimate_where_rows_are_counted_or_nothing_is_known(tmp_path: Path) -> None:
    rows = TextFile(write_parquet(tmp_path / "a.parquet", text=["a"] * 70), "text")
    assert [rows.estimate(i) for i, _ in enumerate(rows)] == [70] * 70
    packed = TextFile(write(tmp_path / "a.txt.bz2", bz2.compress(b"a\nb\n")), "text")
    assert [packed.estimate(i) for i, _ in enumerate(packed)] == [None] * 2


records = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.text(st.characters(exclude_categories=["Cs"])),
            "a": st.text("\"',\n a"),
        }
    )
)


@given(records)
def test_round_trip_of_jsonl(tmp_path_factory, rows: list[dict]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_bytes("".join(lines).encode())
    expected = [Text(row["text"], {"a": row["a"]}) for row in rows]
    assert list(TextFile(path, "text")) == expected


@given(records)
def test_round_trip_of_csv(tmp_path_factory, rows: list[dict]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, ["a", "text"])
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(buffer.getvalue().encode())
    expected = [Text(row["text"], {"a": row["a"]}) for row in rows]
    assert list(TextFile(path, "text")) == expected
