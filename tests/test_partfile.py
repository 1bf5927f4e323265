"""What is on the disk after each kind of end, and what is gone on with."""

import errno
import json
import os
from pathlib import Path

import pytest

from retainer.errors import UserError
from retainer.partfile import PartFile

SETTINGS = {"style": "doccano", "pipeline": "1f"}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "o.jsonl"


def names(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.iterdir())


def begin(output: Path, *chunks: bytes) -> PartFile:
    """A run that ends after some chunks."""
    part = PartFile(output, SETTINGS)
    with part.open(restart=False):
        for chunk_i, chunk in enumerate(chunks, start=1):
            part.append(chunk, {"n": chunk_i})
    return part


def test_output_is_there_when_all_is_done(output: Path) -> None:
    output.parent.mkdir()
    output.write_bytes(b"old")
    part = PartFile(output, SETTINGS)
    with part.open(restart=False):
        part.append(b"a\n", {})
        part.append(b"b\n", {})
        assert output.read_bytes() == b"old"
        part.finish()
    assert names(output) == ["o.jsonl"]
    assert output.read_bytes() == b"a\nb\n"
    assert output.stat().st_mode & 0o111 == 0


@pytest.mark.parametrize("chunks", [[b'{"a": 1}\n'], [b'{"a": 1}\n2\n', b'"\\n"\n']])
def test_json_file_is_a_list(tmp_path: Path, chunks: list[bytes]) -> None:
    output = tmp_path / "o.json"
    part = PartFile(output, SETTINGS)
    with part.open(restart=False):
        for chunk in chunks:
            part.append(chunk, {})
        part.finish()
    lines = b"".join(chunks).splitlines()
    assert json.loads(output.read_bytes()) == [json.loads(line) for line in lines]
    assert names(output) == ["o.json"]


def test_go_on(output: Path) -> None:
    part = begin(output, b"a\n", b"b\n")
    assert names(output) == [".o.jsonl.part", ".o.jsonl.part.json"]
    with part.path.open("ab") as file:
        file.write(b"what was being writ")
    part = PartFile(output, SETTINGS)
    with part.open(restart=False):
        assert part.state == {"n": 2}
        assert part.path.read_bytes() == b"a\nb\n"
        part.append(b"c\n", {"n": 3})
        part.finish()
    assert output.read_bytes() == b"a\nb\nc\n"


def test_restart(output: Path) -> None:
    begin(output, b"a\n")
    part = PartFile(output, SETTINGS | {"style": "prodigy"})
    with part.open(restart=True):
        assert part.state == {}
        part.append(b"b\n", {"n": 1})
        part.finish()
    assert output.read_bytes() == b"b\n"


def test_nothing_stays_of_nothing(output: Path) -> None:
    begin(output)
    assert names(output) == []


def test_part_of_no_whole_chunk_is_of_any_run(output: Path) -> None:
    with PartFile(output, SETTINGS).open(restart=False):
        about = output.with_name(".o.jsonl.part.json").read_bytes()
    output.with_name(".o.jsonl.part").write_bytes(b"half a chu")
    output.with_name(".o.jsonl.part.json").write_bytes(about)
    part = PartFile(output, {"style": "prodigy"})
    with part.open(restart=False):
        part.append(b"b\n", {})
        part.finish()
    assert output.read_bytes() == b"b\n"


def test_run_that_was_killed_between_its_last_two_steps(output: Path) -> None:
    part = begin(output, b"a\n")
    os.replace(part.path, output)
    part = begin(output, b"b\n")
    with part.open(restart=False):
        part.finish()
    assert output.read_bytes() == b"b\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"style": "prodigy"},
            r"of another: style 'doccano', not 'prodigy'\. Give what",
        ),
        (
            {"pipeline": "2f", "column": "a"},
            r": pipeline '1f', not '2f'; column None, n",
        ),
    ],
)
def test_part_of_another_run(output: Path, settings: dict, message: str) -> None:
    part = begin(output, b"a\n")
    with (
        pytest.raises(UserError, match=message + r".* Give --restart to throw it away"),
        PartFile(output, SETTINGS | settings).open(restart=False),
    ):
        pass
    assert part.path.read_bytes() == b"a\n"


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (None, r"part\.json beside it, but it is not: .*No such file.* Give --restart"),
        ("{", r"it is not: Expecting property name"),
        ("[]", r"it is not: list indices"),
        ("{}", r"it is not: 'settings'"),
        (json.dumps({"settings": SETTINGS, "n_bytes": 9}), r"is shorter than 9 bytes"),
    ],
)
def test_damaged_part(output: Path, about: str | None, message: str) -> None:
    part = begin(output, b"a\n")
    beside = output.with_name(".o.jsonl.part.json")
    beside.unlink()
    if about is not None:
        beside.write_text(about)
    with pytest.raises(UserError, match=message), part.open(restart=False):
        pass
    assert part.path.read_bytes() == b"a\n"


@pytest.mark.parametrize("restart", [False, True])
def test_two_runs_at_once(output: Path, restart: bool) -> None:
    first, second = PartFile(output, SETTINGS), PartFile(output, SETTINGS)
    message = r"One run at a time .* '.*o\.jsonl', but another one is at it\. Wait"
    with first.open(restart=False):
        first.append(b"a\n", {})
        with pytest.raises(UserError, match=message), second.open(restart):
            pass
        first.append(b"b\n", {})
        first.finish()
    assert output.read_bytes() == b"a\nb\n"


def test_run_that_finishes_while_another_one_opens(output: Path, monkeypatch) -> None:
    """The second has opened the part when the first renames it and lets go of it."""
    part = begin(output, b"a\n")
    monkeypatch.setattr("fcntl.flock", lambda *_: os.replace(part.path, output))
    with pytest.raises(UserError, match="another one is at it"), part.open(False):
        pass
    assert output.read_bytes() == b"a\n"


def test_output_that_is_a_folder(output: Path) -> None:
    output.mkdir(parents=True)
    with (
        pytest.raises(UserError, match=r"o\.jsonl' is a folder\. Name a file in it"),
        PartFile(output, SETTINGS).open(restart=False),
    ):
        pass


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    part = PartFile(tmp_path / "file" / "o.jsonl", SETTINGS)
    with (
        pytest.raises(
            UserError, match=r"to be writable, .*: (File exists|Not a direc)"
        ),
        part.open(restart=False),
    ):
        pass


def test_full_disk(output: Path, monkeypatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    part = PartFile(output, SETTINGS)
    with part.open(restart=False):
        part.append(b"a\n", {"n": 1})
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            message = r"but it is not: No space left on device\. Make room"
            with pytest.raises(UserError, match=message):
                part.append(b"b\n", {"n": 2})
    with part.open(restart=False):
        assert part.state == {"n": 1}
        part.finish()
    assert output.read_bytes() == b"a\n"
