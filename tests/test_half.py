import numpy as np
import pytest
import torch
from conftest import SENTENCES, add_ner
from spacy.tokens import Doc
from thinc.api import Adam

from retainer.checkpoint import get_head, load_checkpoint
from retainer.half import copy_in_half, state_of

IDS = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])
MASK = (IDS != 1).long()


def make_docs(nlp, texts=SENTENCES) -> list[Doc]:
    return [Doc(nlp.vocab, words=text.split()) for text in texts]


def make_model(nlp, checkpoint, precision="bfloat16", **settings):
    model = add_ner(nlp, checkpoint, precision=precision, **settings).model
    model.initialize()
    return model


@torch.inference_mode()
def logits_of(module) -> torch.Tensor:
    return module(input_ids=IDS, attention_mask=MASK).logits[MASK.bool()]


def test_logits_are_nearly_those_of_the_module(any_checkpoint):
    """And nearer to the cast weights' own, in which only rounding is left."""
    module, _ = load_checkpoint(str(any_checkpoint))
    half = copy_in_half(module)
    ours, theirs = logits_of(half), logits_of(module)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.2)
    assert not torch.equal(ours, theirs)


def test_embeddings_and_head_are_shared_and_the_module_stays(checkpoint):
    module, _ = load_checkpoint(str(checkpoint))
    before = {name: p.clone() for name, p in module.named_parameters()}
    half = copy_in_half(module)
    assert get_head(module) is half.classifier.inner
    assert half.base_model.embeddings.inner is module.base_model.embeddings
    layers = [p for n, p in half.named_parameters() if ".layer." in n]
    assert {p.dtype for p in layers} == {torch.bfloat16}
    for name, p in module.named_parameters():
        assert torch.equal(p, before[name]) and p.requires_grad, name


def test_a_module_whose_embeddings_cannot_be_told(checkpoint):
    module, _ = load_checkpoint(str(checkpoint))
    module.base_model.config.num_hidden_layers = 99
    assert copy_in_half(module) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.mul_(2.0),
        lambda p: p.copy_(p + 1),
        lambda p: p.__setitem__(0, 1.0),
    ],
)
def test_a_change_in_place_is_seen(checkpoint, change):
    module, _ = load_checkpoint(str(checkpoint))
    before = state_of(module)
    assert before == state_of(module)
    with torch.no_grad():
        change(module.base_model.encoder.layer[1].output.dense.weight)
    assert before != state_of(module)


def test_rows_are_nearly_those_of_float32(nlp_blank, any_checkpoint):
    docs = make_docs(nlp_blank, [*SENTENCES, "", "Anna"])
    half = make_model(nlp_blank, any_checkpoint).predict(docs)
    nlp_blank.remove_pipe("transformer_ner")
    full = make_model(nlp_blank, any_checkpoint, "float32").predict(docs)
    for ours, theirs in zip(half, full, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.05, atol=0.2)


def test_the_copy_is_made_once_and_anew_after_a_step(nlp_blank, checkpoint):
    model, docs = make_model(nlp_blank, checkpoint), make_docs(nlp_blank)
    shim = model.shims[0]
    first = model.predict(docs)
    copy = shim._half[1]
    model.predict(docs[:1])
    assert shim._half[1] is copy
    rows, backprop = model.begin_update(docs)
    assert shim._half is None, "its memory is free while the module learns"
    backprop([np.ones_like(doc_rows) for doc_rows in rows])
    model.finish_update(Adam(0.1, use_averages=False))
    after = model.predict(docs)
    assert shim._half[1] is not copy
    assert np.abs(np.concatenate(after) - np.concatenate(first)).max() > 0.5


def test_new_rows_and_loaded_weights_are_seen(nlp_blank, checkpoint, tmp_path):
    model, docs = make_model(nlp_blank, checkpoint), make_docs(nlp_blank)
    model.attrs["save"](model, tmp_path / "saved")
    before = model.predict(docs)
    tags = model.attrs["get_tags"](model)
    model.attrs["extend_tags"](model, [*tags, "B-NEW", "I-NEW"])
    assert {rows.shape[1] for rows in model.predict(docs)} == {len(tags) + 2}
    model.attrs["load"](model, tmp_path / "saved")
    for ours, theirs in zip(model.predict(docs), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with torch.no_grad():
        model.shims[0].module.base_model.encoder.layer[0].output.dense.weight.zero_()
    assert not np.allclose(np.concatenate(model.predict(docs)), np.concatenate(before))


def test_float32_makes_no_copy(nlp_blank, checkpoint):
    model = make_model(nlp_blank, checkpoint, "float32")
    model.predict(make_docs(nlp_blank))
    assert model.shims[0]._half is None
