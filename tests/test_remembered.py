from pathlib import Path

import numpy as np
import pytest
from conftest import SENTENCES, make_checkpoint
from test_ner import make_teacher
from test_network import make_docs
from thinc.api import Model

from retainer.checkpoint import fingerprint
from retainer.errors import UserError
from retainer.remembered import HASH_BYTES, Remembered, key_of


def rows(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(np.float16)


def remember(path: Path, logits: dict, features: dict, speaker: str = "a") -> None:
    known = Remembered(path, speaker)
    known.logits.update(logits)
    known.features.update(features)
    known.save()


def assert_equal(ours: dict, theirs: dict) -> None:
    assert [*ours] == [*theirs]
    for key, values in ours.items():
        np.testing.assert_array_equal(values, theirs[key])
        assert values.dtype == np.float16


@pytest.mark.parametrize(
    ("logits", "features"),
    [
        ({}, {}),
        ({"a": rows(3, 7)}, {}),
        ({"a": rows(3, 7), "b": rows(1, 7)}, {"b": rows(1, 4)}),
        ({"a": rows(0, 7), "b": rows(2, 7), "c": rows(0, 7)}, {"c": rows(0, 4)}),
    ],
)
def test_a_file_holds_what_is_remembered(tmp_path, logits, features):
    path = tmp_path / "new folder" / "said.safetensors"
    logits, features = (
        {key_of([name]): value for name, value in given.items()}
        for given in (logits, features)
    )
    remember(path, logits, features)
    again = Remembered(path, "a")
    assert_equal(again.logits, logits)
    assert_equal(again.features, features)


def test_words_of_another_are_not_read(tmp_path):
    path = tmp_path / "said.safetensors"
    remember(path, {key_of("a"): rows(1, 7)}, {})
    assert Remembered(path, "b").logits == {}
    assert len(Remembered(path, "a").logits) == 1


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "of another kind"])
def test_a_damaged_file_is_told_of_and_written_anew(tmp_path, damage, caplog):
    path = tmp_path / "said.safetensors"
    remember(path, {key_of("a"): rows(1, 7)}, {})
    whole = path.read_bytes()
    if damage == "of another kind":
        from safetensors.numpy import save_file

        save_file({"weight": rows(2, 2)}, path, {"speaker": "a"})
    else:
        path.write_bytes({"cut": whole[:-3], "text": b"hello", "empty": b""}[damage])
    again = Remembered(path, "a")
    assert again.logits == again.features == {}
    assert "Asking the teacher anew" in caplog.text
    remember(path, {key_of("a"): rows(1, 7)}, {})
    assert path.read_bytes() == whole


def test_keys_tell_texts_apart():
    texts = [[], [""], ["a"], ["a", ""], ["", "a"], ["a b"], ["a", "b"], ["ab"]]
    keys = {key_of(words) for words in texts[1:]}
    assert len(keys) == len(texts) - 1
    assert {len(key) for key in keys} == {HASH_BYTES}
    assert len(key_of(["\ud800"])) == HASH_BYTES


def test_the_next_training_does_not_ask(nlp_blank, checkpoint, tmp_path, monkeypatch):
    cache = tmp_path / "said.safetensors"
    docs, asked = make_docs(nlp_blank), []
    teacher = make_teacher(checkpoint, cache)
    teacher.remember(docs[1:], docs[:1])
    first = teacher.logits(docs)
    predict = Model.predict

    def count(model, docs):
        asked.append(len(docs))
        return predict(model, docs)

    monkeypatch.setattr(Model, "predict", count)
    again = make_teacher(checkpoint, cache)
    again.remember(docs[1:], docs[:1])
    assert again._network is None and asked == []
    for ours, theirs in zip(again.logits(docs), first, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(again.features(docs[0]), teacher.features(docs[0]))
    again.remember(make_docs(nlp_blank, [*SENTENCES, "Anna"]))
    assert asked == [1]


def test_another_teacher_is_asked(nlp_blank, tmp_path):
    cache, docs = tmp_path / "said.safetensors", make_docs(nlp_blank)
    base = make_checkpoint("xlm-roberta", tmp_path / "base")
    make_teacher(base, cache).remember(docs)
    before = fingerprint(str(base), None)
    assert before == fingerprint(str(base), None)
    config = base / "config.json"
    config.write_text(config.read_text().replace("gelu", "relu"))
    assert fingerprint(str(base), None) != before
    assert make_teacher(base, cache)._known.logits == {}


def test_without_a_path_nothing_is_written(nlp_blank, checkpoint, tmp_path):
    make_teacher(checkpoint).remember(make_docs(nlp_blank))
    assert [*tmp_path.iterdir()] == []


def test_a_path_that_cannot_be_written(nlp_blank, checkpoint, tmp_path):
    (tmp_path / "file").write_text("")
    teacher = make_teacher(checkpoint, tmp_path / "file" / "said.safetensors")
    with pytest.raises(UserError, match="An output that can be written was expected"):
        teacher.remember(make_docs(nlp_blank))


def test_a_folder_without_a_config(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        fingerprint(str(tmp_path), None)
