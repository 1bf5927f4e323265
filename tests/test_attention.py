import numpy as np
import pytest
import torch
from conftest import SENTENCES, add_ner
from spacy.tokens import Doc
from torch.nn.functional import scaled_dot_product_attention

from retainer.attention import FusedAttention

SHAPE = (2, 3, 5, 4)  # texts, heads, pieces, D


def make_inputs(dtype=torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(SHAPE, generator=generator, dtype=torch.float32)
        .to(dtype)
        .requires_grad_()
        for _ in "qkv"
    ]


def make_mask(dtype) -> torch.Tensor:
    """Of the second text the last two pieces are padding; a bool says what is seen."""
    seen = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    seen[1, :, :, 3:] = False
    if dtype is torch.bool:
        return seen
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, -1e4)


def plain(q, k, v, seen) -> torch.Tensor:
    """Vaswani et al. 2017, equation 1, in float64."""
    scores = (q.double() @ k.double().transpose(-1, -2)) / q.shape[-1] ** 0.5
    return scores.masked_fill(~seen, -np.inf).softmax(-1) @ v.double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask_dtype", [torch.bool, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_values_and_gradients(dtype, mask_dtype, dropout):
    inputs, mask = make_inputs(dtype), make_mask(mask_dtype)
    with FusedAttention():
        Y = scaled_dot_product_attention(*inputs, attn_mask=mask, dropout_p=dropout)
    assert Y.dtype == dtype
    expected = plain(*inputs, make_mask(torch.bool))
    rough = {"rtol": 0.02, "atol": 0.02} if dtype is torch.bfloat16 else {}
    torch.testing.assert_close(Y, expected.to(dtype), **rough)
    dY = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).to(dtype)
    ours = torch.autograd.grad(Y, inputs, dY)
    theirs = torch.autograd.grad(expected, inputs, dY.double())
    for our_dX, their_dX in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our_dX, their_dX, **rough)


def test_autocast_does_not_cast_it():
    """To bfloat16 it would, and float32 is nearer to the truth."""
    inputs = make_inputs()
    with torch.autocast("cpu", torch.bfloat16), FusedAttention():
        Y = scaled_dot_product_attention(*inputs)
        assert (inputs[0] @ inputs[1].transpose(-1, -2)).dtype == torch.bfloat16
    everything = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    torch.testing.assert_close(Y, plain(*inputs, everything).float())


def test_outside_of_it_dropout_is_torchs():
    inputs = make_inputs()
    dropped = scaled_dot_product_attention(*inputs, dropout_p=0.9)
    with FusedAttention():
        kept = scaled_dot_product_attention(*inputs, dropout_p=0.9)
    torch.testing.assert_close(kept, scaled_dot_product_attention(*inputs))
    assert not torch.allclose(kept, dropped)


def test_training_drops_no_attention(nlp_blank, checkpoint):
    """With the other dropouts off, training sees what use sees."""
    model = add_ner(nlp_blank, checkpoint, precision="float32", freeze=0.0).model
    model.initialize()
    for part in model.shims[0].module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    docs = [Doc(nlp_blank.vocab, words=text.split()) for text in SENTENCES]
    rows, _ = model.begin_update(docs)
    for ours, used in zip(rows, model.predict(docs), strict=True):
        np.testing.assert_allclose(ours, used, atol=1e-5)
