import pytest
from torch import nn
from transformers import BertConfig, BertForTokenClassification

from retainer.checkpoint import load_checkpoint
from retainer.errors import UserError
from retainer.freezing import freeze

N_LAYERS = 3  # of each checkpoint of conftest


def frozen_of(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if not p.requires_grad}


def test_freeze_is_exact():
    """`encoder.layer.1` is layer 1 alone, in a model that has layers 10 and 11 too."""
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=12,
        num_attention_heads=1,
        intermediate_size=8,
    )
    module = BertForTokenClassification(config)
    freeze(module, ["embeddings", "encoder.layer.1"])
    frozen = frozen_of(module)
    prefixes = ("bert.embeddings.", "bert.encoder.layer.1.")
    assert frozen == {n for n, _ in module.named_parameters() if n.startswith(prefixes)}
    assert frozen


@pytest.mark.parametrize(
    "name", ["encoder.layer.99", "roberta.embeddings", "layer", ""]
)
def test_freeze_of_nothing_lists_what_there_is(checkpoint, name):
    module, _ = load_checkpoint(str(checkpoint))
    with pytest.raises(UserError, match=r"embeddings.*encoder\.layer\.0.*layer\.2"):
        freeze(module, [name])


@pytest.mark.parametrize(
    ("share", "n_layers"),
    [(0, 0), (0.0, 0), (0.1, 0), (0.34, 1), (0.5, 2), (0.67, 2), (1, 3), (1.0, 3)],
)
def test_share_of_layers(any_checkpoint, share, n_layers):
    """The lowest, and with any of them the embeddings; the head is never frozen."""
    module, _ = load_checkpoint(str(any_checkpoint))
    names = [name for name, _ in module.named_parameters()]
    freeze(module, share)
    base = module.base_model_prefix
    layers = f"{base}.{'transformer' if base == 'distilbert' else 'encoder'}.layer."
    prefixes = tuple(f"{layers}{i}." for i in range(n_layers))
    if n_layers:
        prefixes = (f"{base}.embeddings.", *prefixes)
    frozen = frozen_of(module)
    assert frozen == {name for name in names if name.startswith(prefixes)}
    assert len({n[: len(layers) + 1] for n in frozen if n.startswith(layers)}) == (
        n_layers
    )
    in_layers = {n[: len(layers) + 1] for n in names if n.startswith(layers)}
    assert len(in_layers) == N_LAYERS
    assert not any(name.startswith("classifier.") for name in frozen)


@pytest.mark.parametrize("share", [-0.1, 1.1, 2, float("nan"), float("inf")])
def test_share_out_of_range(checkpoint, share):
    module, _ = load_checkpoint(str(checkpoint))
    with pytest.raises(UserError, match=rf"from 0 to 1, or a list .* it is {share}\."):
        freeze(module, share)
    assert not frozen_of(module)


@pytest.mark.parametrize("part", ["embeddings", "encoder"])
def test_share_of_what_cannot_be_told(checkpoint, part):
    """An encoder of another make: nothing is frozen, the user names modules."""
    module, _ = load_checkpoint(str(checkpoint))
    delattr(module.base_model, part)
    with pytest.raises(UserError, match=r"Embeddings and 3 layers .* Name the modules"):
        freeze(module, 0.5)
    freeze(module, 0)
    assert not frozen_of(module)


@pytest.mark.parametrize("names", [[], ()])
def test_nothing_is_frozen(checkpoint, names):
    module, _ = load_checkpoint(str(checkpoint))
    freeze(module, names)
    assert not frozen_of(module)
