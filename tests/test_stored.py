import json
import logging
import re
import shlex
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
import spacy
import torch
from conftest import SENTENCES, add_ner, make_checkpoint
from huggingface_hub import constants
from transformers import AutoModelForTokenClassification

from retainer import checkpoint as ck
from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.stored import CHECKSUMS, _say_commit, crc32

COMMITS = ["a" * 40, "b" * 40]


@pytest.fixture(scope="module")
def saved(checkpoint: Path, tmp_path_factory) -> Path:
    """A pipeline, as `to_disk` writes it."""
    nlp = blank_pipeline("xx")
    add_ner(nlp, checkpoint)
    nlp.initialize()
    path = tmp_path_factory.mktemp("saved") / "pipeline"
    nlp.to_disk(path)
    return path


def inside(pipeline: Path) -> Path:
    return pipeline / "transformer_ner" / "checkpoint"


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def flip_bit(file: Path) -> None:
    """The lowest bit of a byte two thirds on: of a weight, or of a piece's name."""
    data = bytearray(file.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    file.write_bytes(data)


FAULTS = [
    (name, fault)
    for name in ("model.safetensors", "tokenizer.json")
    for fault in (truncate, flip_bit, Path.unlink)
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_faulty_file_is_refused(saved, tmp_path, name, fault) -> None:
    pipeline = shutil.copytree(saved, tmp_path / "pipeline")
    fault(inside(pipeline) / name)
    message = (
        rf"The file '.*{name}' was expected as it was saved, but it(s content)? is"
    )
    with pytest.raises(UserError, match=message):
        spacy.load(pipeline)
    with pytest.raises(UserError, match=message):  # as the base of the next round
        ck.load_checkpoint(str(inside(pipeline)))


@pytest.mark.parametrize("fault", [Path.unlink, truncate])
def test_faulty_checksums_are_refused(saved, tmp_path, fault) -> None:
    """A copy that ended early may lack any file, this one too."""
    pipeline = shutil.copytree(saved, tmp_path / "pipeline")
    fault(inside(pipeline) / CHECKSUMS)
    with pytest.raises(UserError, match="checksums.json' was expected as it was saved"):
        spacy.load(pipeline)


def test_pipeline_of_before_there_were_checksums(saved, tmp_path) -> None:
    pipeline = shutil.copytree(saved, tmp_path / "pipeline")
    (inside(pipeline) / CHECKSUMS).unlink()
    cfg = pipeline / "transformer_ner" / "cfg"
    cfg.write_text(json.dumps({"old_types": ["PER", "ORG", "LOC"], "added": []}))
    assert spacy.load(pipeline)(SENTENCES[0]).ents


def test_a_truncated_file_of_another_maker_is_refused(checkpoint, tmp_path) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    assert not (copy / CHECKSUMS).exists()
    truncate(copy / "model.safetensors")
    with pytest.raises(UserError, match="expected at '.*copy', but it cannot be read"):
        ck.load_checkpoint(str(copy))


def test_settings_may_be_edited(saved, tmp_path) -> None:
    pipeline = shutil.copytree(saved, tmp_path / "pipeline")
    for name in ("config.json", "tokenizer_config.json"):
        file = inside(pipeline) / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {"mine": 1}))
    assert spacy.load(pipeline)(SENTENCES[0]).ents


def test_a_change_on_purpose_can_be_told(saved, tmp_path) -> None:
    copy = shutil.copytree(inside(saved), tmp_path / "copy")
    flip_bit(copy / "model.safetensors")
    sums = json.loads((copy / CHECKSUMS).read_text())
    assert sums["model.safetensors"] is not None
    (copy / CHECKSUMS).write_text(json.dumps(sums | {"model.safetensors": None}))
    ck.load_checkpoint(str(copy))


def test_every_file_has_its_checksum(saved) -> None:
    sums = json.loads((inside(saved) / CHECKSUMS).read_text())
    assert {*sums, CHECKSUMS} == {file.name for file in inside(saved).iterdir()}


def test_crc32_is_that_of_the_standard(tmp_path) -> None:
    """Its check value, and a file of several buffers."""
    file = tmp_path / "file"
    file.write_bytes(b"123456789")
    assert crc32(file) == 0xCBF43926
    data = bytes(range(251)) * (5 << 12)
    file.write_bytes(data)
    assert crc32(file) == zlib.crc32(data)


@pytest.fixture
def pickled(checkpoint: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(checkpoint, tmp_path / "it's mine")
    (folder / "model.safetensors").unlink()
    module = AutoModelForTokenClassification.from_pretrained(checkpoint)
    torch.save(module.state_dict(), folder / "pytorch_model.bin")
    return folder


def test_a_pickle_is_not_read(pickled, monkeypatch) -> None:
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(UserError, match=r"but it has none\. A pytorch_model\.bin is a"):
        ck.load_checkpoint(str(pickled))


def test_a_pickle_beside_weights_is_not_read(checkpoint, pickled, monkeypatch) -> None:
    shutil.copy(checkpoint / "model.safetensors", pickled)
    monkeypatch.setattr(torch, "load", None)
    ck.load_checkpoint(str(pickled))


def test_the_command_that_converts_does(checkpoint, pickled) -> None:
    with pytest.raises(UserError) as raised:
        ck.load_checkpoint(str(pickled))
    *_, folder, command = re.split(r"give the folder '(.*)':\n", raised.value.desc)
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    made, _ = ck.load_checkpoint(folder)
    expected, _ = ck.load_checkpoint(str(checkpoint))
    for (name, weight), other in zip(
        expected.named_parameters(), made.parameters(), strict=True
    ):
        assert torch.equal(weight, other), name


@pytest.fixture
def hub(tmp_path, monkeypatch) -> str:
    """An id of the hub with two commits, the second newer, in the cache of this
    machine. They have other tags."""
    folder = tmp_path / "models--some--model"
    for commit, last in zip(COMMITS, ("LOC", "GPE"), strict=True):
        made = make_checkpoint("xlm-roberta", folder / "snapshots" / commit)
        text = (made / "config.json").read_text()
        (made / "config.json").write_text(text.replace("-LOC", f"-{last}"))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMITS[1])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True)
    return "some/model"


@pytest.mark.parametrize(
    ("revision", "last", "n_said"),
    [(COMMITS[0], "I-LOC", 0), (COMMITS[1], "I-GPE", 0), (None, "I-GPE", 1)],
)
def test_a_revision_is_taken(hub, caplog, revision, last, n_said) -> None:
    """Without one the newest is, and it is said which that is."""
    _say_commit.cache_clear()
    with caplog.at_level(logging.WARNING, "retainer"):
        module, _ = ck.load_checkpoint(hub, revision)
        ck.load_checkpoint(hub, revision)  # as the teacher
    assert ck.tags_of(module.config)[-1] == last
    said = [r.getMessage() for r in caplog.records if r.name.startswith("retainer")]
    assert len(said) == n_said
    assert all(f"commit {COMMITS[1]} of 'some/model'" in text for text in said)


def test_a_hub_id_with_a_pickle_alone(hub, tmp_path) -> None:
    for file in tmp_path.rglob("model.safetensors"):
        file.rename(file.with_name("pytorch_model.bin"))
    with pytest.raises(UserError, match="expected in 'some/model', but it has none"):
        ck.load_checkpoint(hub, "main")
