import numpy as np
import pytest
from conftest import SENTENCES, TAGS, make_checkpoint
from test_ner import make_teacher
from test_network import make_docs, plain_rows
from thinc.api import Model

from retainer import teacher as module
from retainer.errors import UserError
from retainer.teacher import check_teacher


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
