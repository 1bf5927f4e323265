"""The objective is convex: where its gradient is zero, there is its one minimum."""

import pytest
import torch
from torch.nn import functional as F

from retainer.probe import DECAY, fit_rows


def draw(n_tokens: int, n_old: int, n_new: int) -> tuple:
    """Features of 6 numbers, old logits, and targets that no plane separates."""
    generator = torch.Generator().manual_seed(n_tokens + n_old)
    return (
        torch.randn(n_tokens, 6, generator=generator),
        torch.randn(n_tokens, n_old, generator=generator) * 2,
        torch.randint(n_new + 1, (n_tokens,), generator=generator),
    )


def objective(weight, bias, features, old_logits, targets) -> torch.Tensor:
    """Written out in probabilities, in float64; weights as of features of size 1."""
    features, old_logits = features.double(), old_logits.double()
    size = features.square().mean().sqrt()
    logits = torch.cat([old_logits, features @ weight.T + bias], dim=1)
    p = torch.softmax(logits, dim=1)
    n_old = old_logits.shape[1]
    p = torch.cat([p[:, :n_old].sum(dim=1, keepdim=True), p[:, n_old:]], dim=1)
    nats = -p[torch.arange(len(targets)), targets].log().mean()
    return nats + DECAY * (size * weight).square().sum()


@pytest.mark.parametrize(
    ("n_tokens", "n_old", "n_new"), [(200, 7, 4), (200, 1, 2), (40, 3, 1), (1, 3, 2)]
)
def test_the_gradient_is_zero_at_the_solution(
    n_tokens: int, n_old: int, n_new: int
) -> None:
    data = draw(n_tokens, n_old, n_new)
    weight, bias = fit_rows(*data, n_new)
    assert (weight.shape, bias.shape) == ((n_new, 6), (n_new,))
    weight, bias = (rows.double().requires_grad_() for rows in (weight, bias))
    value = objective(weight, bias, *data)
    value.backward()
    assert weight.grad.abs().max() < 2e-4
    assert bias.grad.abs().max() < 2e-4
    start = objective(0 * weight, 0 * bias, *data)
    assert value < start


@pytest.mark.parametrize("scale", [0.01, 10.0, 1000.0])
def test_the_size_of_features_goes_into_the_weights(scale: float) -> None:
    """The logits are the same, so decay is as hard on large features as on small."""
    features, old_logits, targets = draw(200, 7, 4)
    weight, bias = fit_rows(features, old_logits, targets, 4)
    scaled, scaled_bias = fit_rows(scale * features, old_logits, targets, 4)
    torch.testing.assert_close(scaled * scale, weight, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(scaled_bias, bias, atol=2e-3, rtol=1e-3)
    logits = scale * features @ scaled.T + scaled_bias
    expected = features @ weight.T + bias
    torch.testing.assert_close(logits, expected, atol=5e-3, rtol=1e-3)


def test_features_that_are_all_zero() -> None:
    """Then there are biases alone: how often each tag comes."""
    _, old_logits, targets = draw(200, 1, 2)
    zeros = torch.zeros(200, 6)
    weight, bias = fit_rows(zeros, 0 * old_logits, targets, 2)
    assert not weight.any()
    counts = torch.bincount(targets)
    torch.testing.assert_close(bias, (counts[1:] / counts[0]).log(), atol=1e-2, rtol=0)


def make_separable() -> tuple:
    """Three clusters; the old tags know nothing of them."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(300) % 3
    centres = torch.tensor([[4.0, 0.0], [-4.0, 4.0], [-4.0, -4.0]])
    features = centres[targets] + torch.randn(300, 2, generator=generator).clamp(-2, 2)
    return features, torch.randn(300, 5, generator=generator), targets


def test_what_is_separable_is_separated() -> None:
    features, old_logits, targets = make_separable()
    weight, bias = fit_rows(features, old_logits, targets, 2)
    new = features @ weight.T + bias
    best = torch.cat([old_logits, new], dim=1).argmax(dim=1)
    assert torch.equal((best - 4).clamp(min=0), targets)


def test_arguments_are_left_as_they_are() -> None:
    given = make_separable()
    weight, bias = fit_rows(*given, 2)
    for tensor, before in zip(given, make_separable(), strict=True):
        assert torch.equal(tensor, before)
        assert tensor.grad is None
    assert not weight.requires_grad
    assert not bias.requires_grad


def test_old_tags_count_together() -> None:
    """As one tag with the sum of their probabilities."""
    features, old_logits, targets = draw(100, 4, 2)
    known = torch.logsumexp(old_logits, dim=1, keepdim=True)
    expected = fit_rows(features, known, targets, 2)
    ours = fit_rows(features, old_logits, targets, 2)
    torch.testing.assert_close(ours, expected, atol=2e-3, rtol=1e-3)


def test_a_constant_on_old_logits_goes_into_the_biases() -> None:
    features, old_logits, targets = draw(100, 4, 2)
    weight, bias = fit_rows(features, old_logits, targets, 2)
    moved, moved_bias = fit_rows(features, old_logits + 30.0, targets, 2)
    torch.testing.assert_close(moved, weight, atol=5e-3, rtol=1e-2)
    torch.testing.assert_close(moved_bias, bias + 30.0, atol=5e-3, rtol=1e-3)


def test_a_tag_that_never_comes_never_wins() -> None:
    features, old_logits, targets = make_separable()
    weight, bias = fit_rows(features, old_logits, targets.clamp(max=1), 2)
    new = features @ weight.T + bias
    assert torch.isfinite(new).all()
    assert (new[:, 1] < old_logits.max(dim=1).values).all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_rows_are_float32_whatever_the_features(mode) -> None:
    features, old_logits, targets = make_separable()
    exact = fit_rows(features, old_logits, targets, 2)
    with mode():
        ours = fit_rows(features.bfloat16(), old_logits.bfloat16(), targets, 2)
    assert {rows.dtype for rows in ours} == {torch.float32}
    for rows, expected in zip(ours, exact, strict=True):
        assert F.cosine_similarity(rows.flatten(), expected.flatten(), dim=0) > 0.99
