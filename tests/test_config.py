from pathlib import Path

import pytest
from spacy import registry

from retainer.config import read_labels
from retainer.errors import UserError


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("[]", []),
        ('["PER"]', ["PER"]),
        ('\n[\n  "PER",\n  "COURIER"\n]\n', ["PER", "COURIER"]),
        ('["\u4eba", "GPE-LOC"]', ["\u4eba", "GPE-LOC"]),
    ],
)
def test_labels_are_read(tmp_path: Path, content: str, labels: list[str]) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content, encoding="utf8")
    assert read_labels(path) == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"A JSON list of entity types was expected in '.*labels\.json', but"),
        (b'["PER"', r"A JSON list of entity types was expected in '.*labels\.json'"),
        (b"PER\nLOC\n", r"was expected in '.*labels\.json', but .*Write it with"),
        (b'["\xff"]', r"was expected in '.*labels\.json', but .*Write it with"),
        (b'{"PER": 1}', r"but it holds \{'PER': 1\}\. Write it with `spacy init lab"),
        (b'"PER"', r"but it holds PER\. Write it"),
        (b"null", r"but it holds None\. Write it"),
        (b'["PER", 1]', r"but it holds \['PER', 1\]\. Write it"),
        (b'["PER", null]', r"but it holds \['PER', None\]\. Write it"),
        (b'["PER", "LOC", "PER"]', r"in .*labels\.json, but PER is given more than"),
    ],
)
def test_bad_labels(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_labels(path)


def test_long_content_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text("[" + "1, " * 1000 + "1]")
    with pytest.raises(UserError) as error:
        read_labels(path)
    assert len(str(error.value)) < 300 + len(str(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"in '.*none\.json', but Can't read file"):
        read_labels(tmp_path / "none.json")


def test_no_path_is_no_labels() -> None:
    assert read_labels(None) is None


def test_reader_is_registered() -> None:
    assert registry.readers.get("retainer.Labels.v1") is read_labels
