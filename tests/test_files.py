import errno
import gzip
import io
from pathlib import Path

import pytest

from retainer import files
from retainer.errors import UserError
from retainer.files import (
    STDIN,
    data_suffix,
    find_files,
    looks_like_json,
    open_binary,
    read_lines,
    replacing,
)


def test_folders_are_expanded(tmp_path: Path) -> None:
    for name in ("b.conll", "a.TXT", "c.spacy", "d.tsv", "e.iob", "f.bio"):
        (tmp_path / name).touch()
    for name in ("g.json", ".h.conll", "i"):
        (tmp_path / name).touch()
    (tmp_path / "j.conll").mkdir()
    found = find_files([tmp_path / "g.json", tmp_path, tmp_path / "b.conll"])
    names = ["g.json", "a.TXT", "b.conll", "c.spacy", "d.tsv", "e.iob", "f.bio"]
    assert [path.name for path in found] == names


def test_inputs_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected at '.*none', but nothing is there"):
        find_files([tmp_path / "none"])
    with pytest.raises(UserError, match=r"in the folder '.*', but it holds none"):
        find_files([tmp_path])


def test_a_saved_dataset_and_the_hub_stand_for_themselves(tmp_path: Path) -> None:
    (tmp_path / "state.json").touch()
    paths = [tmp_path, Path("hf:a/b?split=train"), STDIN]
    assert find_files(paths) == paths


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.CoNLL", ".conll"),
        ("a.b.jsonl.gz", ".jsonl"),
        ("a.gz", ""),
        ("a", ""),
        ("-", ""),
        ("a.tsv.xz.gz", ".tsv"),
    ],
)
def test_the_suffix_of_the_data(name: str, suffix: str) -> None:
    assert data_suffix(Path(name)) == suffix


@pytest.mark.parametrize(
    ("data", "encoding", "expected"),
    [
        (b"a\r\nb\n\nc", "utf-8", ["a", "b", "", "c"]),
        (b"a\rb\n", "utf-8", ["a\rb"]),
        (b"a\rb", "utf-8", ["a", "b"]),
        (b"", "utf-8", []),
        ("\ufeffa\u2028b\n".encode(), "UTF8", ["a\u2028b"]),
        ("北\nä".encode("utf-16"), "utf-16", ["北", "ä"]),
        ("北京\n".encode("gb18030"), "gb18030", ["北京"]),
        (gzip.compress(b"a\nb"), "utf-8", ["a", "b"]),
    ],
)
def test_lines(tmp_path: Path, data: bytes, encoding: str, expected: list) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    assert list(read_lines(path, encoding)) == expected


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (b"a\n\xff", "utf-8", r"UTF-8 text was expected, but .*a:2 .* byte 0xff"),
        (b"a\n\n\xff\xff", "gb18030", r"GB18030 text .*a:3 .* byte 0xff"),
        (b"a", "klingon", r"such as utf-8 or gb18030, .* 'klingon' is none"),
        (gzip.compress(b"a\nb" * 99)[:-5], "utf-8", r"at '.*a', but it cannot be read"),
        (None, "utf-8", r"at '.*a', but it cannot be read: No such file"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, data, encoding, message) -> None:
    path = tmp_path / "a"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=message):
        list(read_lines(path, encoding))


def test_the_standard_input_is_read_twice(monkeypatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(b'{"text": "a"}\n'))
    monkeypatch.setattr("sys.stdin", stream)
    files._keep_stdin.cache_clear()
    assert looks_like_json(STDIN)
    for _ in range(2):
        with open_binary(STDIN) as handle:
            assert handle.read() == b'{"text": "a"}\n'
    files._keep_stdin().close()
    files._keep_stdin.cache_clear()


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        (' {"a": 1}', True),
        ("\n[\n{}\n]", True),
        ('[{"a": 1}]', True),
        ("[ O\n", False),
        ("{ O\n", False),
        ("", False),
    ],
)
def test_json_is_told_from_conll(tmp_path: Path, text: str, is_json: bool) -> None:
    path = tmp_path / "a"
    path.write_text(text)
    assert looks_like_json(path) is is_json


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as unfinished:
        unfinished.write_text("old")
    with pytest.raises(ValueError, match="broken"), replacing(path) as unfinished:
        unfinished.write_text("half")
        raise ValueError("broken")
    assert [file.read_text() for file in path.parent.iterdir()] == ["old"]


def test_an_output_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with (
        pytest.raises(UserError, match=r"expected at '.*a/b', but it cannot: "),
        replacing(tmp_path / "a" / "b") as unfinished,
    ):
        unfinished.write_text("new")
    assert (tmp_path / "a").read_text() == "old"
    with (
        pytest.raises(UserError, match=r"but it cannot: No space left"),
        replacing(tmp_path / "c"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
