from pathlib import Path

import numpy as np
import pytest
import spacy
from conftest import SENTENCES, TAGS, add_ner, make_checkpoint
from spacy.training import Example
from test_ner import make_teacher
from test_network import make_docs, plain_rows
from thinc.api import Model

from retainer import teacher as module
from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.optimise import Options, optimise
from retainer.teacher import check_teacher, configure_pipeline_teacher

LONG = " ".join(SENTENCES)  # more than a window of the pipelines here


def make_pipeline(checkpoint: Path, path: Path, name: str = "transformer_ner") -> Path:
    """In windows of 20 pieces, and with a type that the checkpoint lacks."""
    nlp = blank_pipeline("xx")
    nlp.add_pipe("entity_ruler")
    ner = add_ner(nlp, checkpoint, window=20, overlap=4)
    ner.add_label("PHONE")
    nlp.initialize()
    if name != "transformer_ner":
        nlp.rename_pipe("transformer_ner", name)
    nlp.to_disk(path)
    return path


def make_pipeline_teacher(
    path: Path, component: str = "transformer_ner", cache: Path | None = None
):
    return configure_pipeline_teacher(path, component, cache, 4096, "float32", "cpu")


def test_logits_are_the_checkpoints(nlp_blank, checkpoint):
    teacher = make_teacher(checkpoint)
    assert teacher.tags == TAGS
    rows = teacher.logits(make_docs(nlp_blank))
    for text, doc_rows in zip(SENTENCES, rows, strict=True):
        expected = plain_rows(checkpoint, text.split())
        np.testing.assert_allclose(doc_rows, expected, atol=0.02)  # kept in float16
        assert doc_rows.dtype == np.float32


def test_remembered_texts_need_no_network(nlp_blank, tmp_path):
    """Not even its files, once all texts are known."""
    path = make_checkpoint("xlm-roberta", tmp_path / "gone")
    teacher = make_teacher(path)
    docs = make_docs(nlp_blank)
    teacher.remember(docs)
    known = teacher.logits(docs)
    for file in path.iterdir():
        file.unlink()
    for a, b in zip(known, teacher.logits(docs[::-1])[::-1], strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(UserError, match=r"no config\.json"):
        teacher.logits(make_docs(nlp_blank, ["a text that is new"]))


def test_each_text_is_asked_about_once(nlp_blank, checkpoint, monkeypatch):
    teacher = make_teacher(checkpoint)
    teacher.logits(make_docs(nlp_blank))
    asked = []
    predict = Model.predict

    def count(model, docs):
        asked.append(len(docs))
        return predict(model, docs)

    monkeypatch.setattr(Model, "predict", count)
    teacher.logits(make_docs(nlp_blank, [*SENTENCES, "Anna", "Anna"]))
    assert asked == [1]


def test_a_bar_for_what_is_new_alone(nlp_blank, checkpoint, monkeypatch):
    teacher, totals = make_teacher(checkpoint), []
    bar = module.tqdm

    def count(total, **kwargs):
        totals.append(total)
        return bar(total=total, **kwargs)

    monkeypatch.setattr(module, "tqdm", count)
    docs = make_docs(nlp_blank)
    for asked in ([], docs[:3], docs[:3], docs, iter(docs)):
        teacher.remember(asked)
    assert totals == [3, 1]


def test_check_teacher():
    check_teacher(["B-PER", "O"], TAGS)
    with pytest.raises(UserError, match="the student lacks B-MISC"):
        check_teacher(["O", "B-MISC"], TAGS)


def test_features_are_the_checkpoints(nlp_blank, any_checkpoint):
    teacher = make_teacher(any_checkpoint)
    docs = make_docs(nlp_blank)
    teacher.remember([], docs)
    for doc in docs:
        words = [token.text for token in doc]
        features = teacher.features(doc)
        assert features.dtype == np.float32
        expected = plain_rows(any_checkpoint, words, features=True)
        np.testing.assert_allclose(features, expected, atol=0.02)


@pytest.mark.parametrize("at_once", [1, 3, 256])
def test_features_are_of_featured_texts_alone(
    nlp_blank, checkpoint, monkeypatch, at_once
):
    """However they are read; logits do not feel it."""
    monkeypatch.setattr(module, "DOCS_AT_ONCE", at_once)
    docs = make_docs(nlp_blank)
    teacher, other = make_teacher(checkpoint), make_teacher(checkpoint)
    teacher.remember(docs, docs[1:3])
    other.remember(docs)
    for doc_i, doc in enumerate(docs):
        features = teacher.features(doc)
        assert features.shape == (len(doc), 32)
        known = np.isfinite(features) if doc_i in (1, 2) else np.isneginf(features)
        assert known.all()
        assert other.features(doc).shape == (len(doc), 0)
    for a, b in zip(teacher.logits(docs), other.logits(docs), strict=True):
        np.testing.assert_allclose(a, b, atol=0.02)


@pytest.mark.parametrize("first", [[], [0, 1], [0, 1, 2, 3]])
def test_featured_texts_are_asked_about_once(nlp_blank, checkpoint, asked, first):
    """Among the docs or not; again, if they were known without features."""
    teacher, docs = make_teacher(checkpoint), make_docs(nlp_blank)
    teacher.remember([docs[i] for i in first])
    asked.clear()
    for _ in range(2):
        teacher.remember([*docs, docs[0]], [docs[1], docs[1]])
    new = [doc.text for i, doc in enumerate(docs) if i not in first]
    assert sorted(asked) == sorted({docs[1].text, *new})


@pytest.mark.parametrize("at_once", [1, 256])
def test_featured_texts_without_pieces(nlp_blank, checkpoint, monkeypatch, at_once):
    monkeypatch.setattr(module, "DOCS_AT_ONCE", at_once)
    teacher = make_teacher(checkpoint)
    blank, doc, empty = docs = make_docs(nlp_blank, ["\u200b", "Anna", ""])
    teacher.remember(docs, docs)
    assert np.isneginf(teacher.features(blank)).all()
    assert np.isfinite(teacher.features(doc)).all()
    assert [teacher.features(d).shape for d in docs] == [(1, 32), (1, 32), (0, 32)]
    assert [rows.shape for rows in teacher.logits([empty])] == [(0, len(TAGS))]


@pytest.mark.parametrize("name", ["transformer_ner", "mine"])
def test_a_pipelines_logits_are_its_own(nlp_blank, checkpoint, tmp_path, name):
    """In its windows, where the bare checkpoint says something else of a long text."""
    path = make_pipeline(checkpoint, tmp_path / "pipeline", name)
    teacher = make_pipeline_teacher(path, name)
    model = spacy.load(path).get_pipe(name).model
    docs = make_docs(nlp_blank, [*SENTENCES, LONG, "", "\u200b"])
    expected = model.predict(docs)
    for ours, theirs in zip(teacher.logits(docs), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.02)  # kept in float16
    bare = make_teacher(path)
    assert bare.tags == teacher.tags == [*TAGS, "B-PHONE", "I-PHONE"]
    assert np.abs(bare.logits(docs)[4] - expected[4]).max() > 0.1


def test_a_pipelines_tags_need_no_weights(nlp_blank, checkpoint, tmp_path):
    path = make_pipeline(checkpoint, tmp_path / "pipeline")
    (path / "transformer_ner" / "checkpoint" / "model.safetensors").unlink()
    teacher = make_pipeline_teacher(path)
    assert teacher.tags[-2:] == ["B-PHONE", "I-PHONE"]
    with pytest.raises(UserError, match=r"model\.safetensors.* it is missing"):
        teacher.logits(make_docs(nlp_blank))


def test_what_a_pipeline_said_is_kept_in_a_file(nlp_blank, checkpoint, tmp_path, asked):
    path, cache = make_pipeline(checkpoint, tmp_path / "p"), tmp_path / "a.safetensors"
    docs = make_docs(nlp_blank)
    make_pipeline_teacher(path, cache=cache).remember(docs)
    asked.clear()
    again = make_pipeline_teacher(path, cache=cache)
    again.remember(docs)
    assert (asked, again._network) == ([], None)
    make_teacher(path, cache).remember(docs)  # other windows: other words
    assert len(asked) == len(docs)


def test_an_optimised_pipeline_teaches_logits_alone(nlp_blank, checkpoint, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    nlp = spacy.load(make_pipeline(checkpoint, tmp_path / "made"))
    optimise(nlp, Options(onnx=True))
    nlp.to_disk(tmp_path / "onnx")
    teacher = make_pipeline_teacher(tmp_path / "onnx")
    other = make_pipeline_teacher(tmp_path / "made")
    docs = make_docs(nlp_blank, [*SENTENCES, LONG])
    for ours, theirs in zip(teacher.logits(docs), other.logits(docs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.02)
    with pytest.raises(UserError, match="gives logits alone.*`feature_weight`"):
        teacher.remember([], docs)


@pytest.mark.parametrize(
    ("path", "component", "message"),
    [
        ("nowhere", "transformer_ner", "A saved pipeline was expected at"),
        ("pipeline/transformer_ner/checkpoint", "transformer_ner", "no folder with a"),
        ("pipeline", "ner", r"has entity_ruler \(entity_ruler\), transformer_ner"),
        ("pipeline", "entity_ruler", "A transformer_ner called 'entity_ruler' was"),
    ],
)
def test_no_such_pipeline(checkpoint, tmp_path, path, component, message):
    make_pipeline(checkpoint, tmp_path / "pipeline")
    with pytest.raises(UserError, match=message):
        make_pipeline_teacher(tmp_path / path, component)


def test_three_rounds(checkpoint, tmp_path):
    """Each round's pipeline is the next one's base and teacher: tags only grow."""
    base, tags, old_types = checkpoint, TAGS, ["PER", "ORG", "LOC"]
    for round_i, kind in enumerate(["COURIER", "PHONE", "FACILITY"]):
        nlp = blank_pipeline("xx")
        loss = {
            "@misc": "retainer.InterpolatedDistillation.v1",
            "alpha": 0.5,
            "temperature": 2.0,
            "reduction": "tokens",
        }
        ner = add_ner(nlp, base, loss=loss)
        doc = nlp.make_doc("Anna waits at Northway")
        examples = [Example.from_dict(doc, {"entities": [(14, 22, kind)]})]
        teacher = make_pipeline_teacher(base) if round_i else make_teacher(base)
        assert teacher.tags == tags
        ner.initialize(lambda e=examples: e, nlp=nlp, teacher=teacher)
        assert ner.cfg["old_types"] == old_types
        assert ner.tags == [*tags, f"B-{kind}", f"I-{kind}"]
        before = ner.model.predict([doc])[0]
        nlp.update(examples, sgd=nlp.create_optimizer())
        assert not np.allclose(ner.model.predict([doc])[0], before, atol=1e-4)
        base, tags, old_types = tmp_path / kind, ner.tags, [*old_types, kind]
        nlp.to_disk(base)
    assert spacy.load(base).get_pipe("transformer_ner").tags == tags
