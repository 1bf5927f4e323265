"""`nlp.rehearse` brings a pipeline back to what it said at `nlp.resume_training`."""

import numpy as np
import pytest
import spacy
import torch
from conftest import SENTENCES, TAGS, add_ner
from spacy.language import Language
from spacy.training import Example
from test_ner import BACKGROUND, DISTILLATION, make_examples, make_teacher, weights
from thinc.api import Adam

from retainer.corpus import blank_pipeline
from retainer.errors import UserError

LOSSES = [{"@misc": "retainer.CrossEntropy.v1"}, DISTILLATION, BACKGROUND]


def make_nlp(checkpoint, loss=LOSSES[0], **settings) -> Language:
    nlp = blank_pipeline("xx")
    add_ner(nlp, checkpoint, loss=loss, **settings)
    nlp.initialize()
    return nlp


def adam(rate: float = 1e-3) -> Adam:
    return Adam(rate, grad_clip=1.0, use_averages=False)


def texts_of(nlp, texts=SENTENCES) -> list[Example]:
    return [Example.from_dict(nlp.make_doc(text), {}) for text in texts]


def rows_of(nlp) -> np.ndarray:
    model = nlp.get_pipe("transformer_ner").model
    return np.concatenate(model.predict([nlp.make_doc(text) for text in SENTENCES]))


def shake(nlp) -> None:
    """Weights as after an update that went wrong."""
    draw = torch.Generator().manual_seed(1)
    module = nlp.get_pipe("transformer_ner").model.shims[0].module
    with torch.no_grad():
        for p in module.parameters():
            p += 0.02 * torch.randn(p.shape, generator=draw)


def apart(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Means of the distances of probabilities and of their logarithms."""
    p, q = (torch.log_softmax(torch.from_numpy(rows), dim=1) for rows in (a, b))
    return (p.exp() - q.exp()).abs().mean().item(), (p - q).abs().mean().item()


@pytest.mark.parametrize("loss", LOSSES)
def test_it_goes_back_to_what_it_said(checkpoint, loss):
    nlp = make_nlp(checkpoint, loss)
    nlp.resume_training(sgd=adam())
    said = rows_of(nlp)
    shake(nlp)
    shaken, before = apart(rows_of(nlp), said), weights(nlp.get_pipe("transformer_ner"))
    values = [nlp.rehearse(texts_of(nlp))["transformer_ner"] for _ in range(40)]
    assert values[-1] < values[0] / 3
    found = apart(rows_of(nlp), said)
    assert (found[0] < shaken[0] / 3, found[1] < shaken[1]) == (True, True)
    after = weights(nlp.get_pipe("transformer_ner"))
    assert all(not np.array_equal(after[name], before[name]) for name in before)


def test_nothing_is_taught_of_what_has_not_changed(checkpoint):
    nlp = make_nlp(checkpoint)
    nlp.resume_training(sgd=adam())
    assert nlp.rehearse(texts_of(nlp))["transformer_ner"] == pytest.approx(0, abs=1e-5)


def test_labels_are_not_looked_at(checkpoint):
    """Not even those of types that the pipeline does not know."""
    values = []
    for has_gold in (False, True):
        nlp = make_nlp(checkpoint)
        nlp.resume_training(sgd=adam())
        shake(nlp)
        examples = make_examples(nlp)
        if not has_gold:
            examples = texts_of(nlp, [eg.text for eg in examples])
        values.append(nlp.rehearse(examples)["transformer_ner"])
    assert values[0] == values[1] > 0.01


def test_a_step_is_made_with_sgd_alone(checkpoint):
    nlp = make_nlp(checkpoint)
    ner = nlp.get_pipe("transformer_ner")
    nlp.resume_training()
    shake(nlp)
    before = weights(ner)
    losses = {"other": 1.0}
    for sgd in (None, False):
        assert ner.rehearse(texts_of(nlp), sgd=sgd, losses=losses) is losses
    assert losses["transformer_ner"] > 0.01
    assert losses["other"] == 1.0
    assert all(np.array_equal(p, before[name]) for name, p in weights(ner).items())
    ner.rehearse(texts_of(nlp), sgd=adam())
    assert not np.array_equal(
        weights(ner)["classifier.weight"], before["classifier.weight"]
    )


def test_a_new_type_is_learnt_between(checkpoint):
    """New tags count as O of what was said, and updates go on with their optimizer."""
    nlp = make_nlp(checkpoint, head_rate=1.0)
    ner = nlp.get_pipe("transformer_ner")
    optimizer = nlp.resume_training(sgd=adam(3e-3))
    said, shim = rows_of(nlp), ner.model.shims[0]
    ner.add_label("COURIER")
    ner.add_label("PHONE")
    examples = make_examples(nlp)
    steppers = set()
    for _ in range(100):
        nlp.update(examples, sgd=optimizer)
        steppers.add(id(shim._optimizer))
        nlp.rehearse(texts_of(nlp))
        steppers.add(id(shim._optimizer))
    assert len(steppers) == 1
    for eg in examples:
        doc = nlp(eg.text)
        assert {ent.text for ent in eg.reference.ents} == {e.text for e in doc.ents}
    assert ner.tags[: len(TAGS)] == TAGS
    tokens = [token.text for text in SENTENCES for token in nlp.make_doc(text)]
    taught = {token.text for eg in examples for token in eg.reference}
    old = [text not in taught for text in tokens]
    best = rows_of(nlp)[old, : len(TAGS)].argmax(axis=1)
    assert (best == said[old].argmax(axis=1)).mean() > 0.75


@pytest.mark.parametrize("first", ["update", "rehearse"])
def test_the_rate_is_what_nlp_rehearse_is_given(checkpoint, first):
    nlp = make_nlp(checkpoint)
    nlp.resume_training(sgd=adam())
    shake(nlp)
    if first == "update":
        nlp.update(texts_of(nlp), sgd=adam(0.5))
    ner = nlp.get_pipe("transformer_ner")
    before = weights(ner)
    nlp.rehearse(texts_of(nlp), sgd=adam(0.0))
    assert all(np.array_equal(p, before[name]) for name, p in weights(ner).items())


def test_the_last_teacher_stands_in(checkpoint):
    """Without nlp.resume_training, in the process of a training."""
    nlp = blank_pipeline("xx")
    ner = add_ner(nlp, checkpoint, loss=BACKGROUND)
    examples = texts_of(nlp)
    ner.initialize(lambda: examples, nlp=nlp, teacher=make_teacher(checkpoint))
    assert nlp.rehearse(examples, sgd=adam())["transformer_ner"] < 1e-3
    shake(nlp)
    values = [nlp.rehearse(examples)["transformer_ner"] for _ in range(20)]
    assert values[-1] < values[0] / 2


def test_a_copy_comes_before_the_last_teacher(checkpoint):
    nlp = blank_pipeline("xx")
    ner = add_ner(nlp, checkpoint, loss=BACKGROUND)
    examples = texts_of(nlp)
    ner.initialize(lambda: examples, nlp=nlp, teacher=make_teacher(checkpoint))
    shake(nlp)
    nlp.resume_training(sgd=adam())
    assert nlp.rehearse(examples)["transformer_ner"] == pytest.approx(0, abs=1e-3)


def test_texts_without_pieces(checkpoint):
    nlp = make_nlp(checkpoint)
    nlp.resume_training(sgd=adam())
    shake(nlp)
    texts = texts_of(nlp, ["", "  ", "\u200b"])
    assert nlp.rehearse(texts) == {"transformer_ner": 0.0}


def test_nothing_to_go_back_to(checkpoint, tmp_path):
    nlp = make_nlp(checkpoint)
    with pytest.raises(UserError, match=r"Call nlp\.resume_training\(\) before"):
        nlp.rehearse(texts_of(nlp))
    nlp.resume_training()
    nlp.to_disk(tmp_path)  # without the copy
    again = spacy.load(tmp_path)
    with pytest.raises(UserError, match=r"Call nlp\.resume_training\(\) before"):
        again.rehearse(texts_of(again))
