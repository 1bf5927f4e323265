"""The head by itself: taken of a checkpoint, stepped, saved and read again."""

import numpy as np
import pytest
import torch
from conftest import TAGS
from safetensors.torch import load_file, save_file
from thinc.api import Adam

from retainer import head
from retainer.checkpoint import extend_head, load_checkpoint, tags_of
from retainer.errors import UserError
from retainer.head import HEAD_FILE, HeadShim, load_head, save_head, take_head
from retainer.stored import CHECKSUMS

MORE = [*TAGS, "B-PHONE", "I-PHONE"]


@pytest.fixture
def shim(checkpoint) -> HeadShim:
    shim = HeadShim(head_rate=5.0)
    shim.put(take_head(str(checkpoint), None))
    return shim


def test_head_is_the_checkpoints(any_checkpoint):
    taken = take_head(str(any_checkpoint), None)
    module, _ = load_checkpoint(str(any_checkpoint))
    assert tags_of(taken.config) == TAGS
    names = dict(taken.named_parameters())
    assert set(names) == {"classifier.weight", "classifier.bias"}
    for name, parameter in names.items():
        torch.testing.assert_close(parameter, module.get_parameter(name))


def test_more_than_one_layer(checkpoint, monkeypatch):
    """As ModernBERT has them."""
    module, tokenizer = load_checkpoint(str(checkpoint))
    module.dropout = torch.nn.Tanh()
    monkeypatch.setattr(head, "load_checkpoint", lambda *args: (module, tokenizer))
    with pytest.raises(UserError, match="One linear layer directly behind the encoder"):
        take_head(str(checkpoint), None)


def test_step_is_adams_at_the_heads_rate(shim):
    """The first step of Adam goes by the gradient's sign."""
    module = shim.module
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    module(torch.randn(5, 32)).square().sum().backward()
    signs = {name: p.grad.sign() for name, p in module.named_parameters()}
    shim.finish_update(Adam(0.01, L2=0.0, grad_clip=0.0, use_averages=False))
    for name, parameter in module.named_parameters():
        moved = before[name] - 5.0 * 0.01 * signs[name]
        torch.testing.assert_close(parameter.detach(), moved, atol=1e-5, rtol=0)
        assert parameter.grad is None


def test_step_without_gradient(shim):
    before = shim.module.classifier.weight.detach().clone()
    shim.finish_update(Adam(0.01, L2=0.1, use_averages=False))
    assert torch.equal(shim.module.classifier.weight, before)


def test_optimizer_forgets_a_head_that_was_extended(shim):
    """As if it were new: what it remembers is of fewer rows."""
    optimizer = Adam(0.01, L2=0.0, grad_clip=0.0, use_averages=False)
    for n_tags in (len(TAGS), len(MORE)):
        module = shim.module
        before = module.classifier.weight.detach().clone()
        module(torch.randn(5, 32)).square().sum().backward()
        shim.finish_update(optimizer)
        moved = (module.classifier.weight.detach() - before).abs()
        assert moved.shape == (n_tags, 32)
        np.testing.assert_allclose(moved, 5.0 * 0.01, atol=1e-4)
        extend_head(module, MORE, "mean")
        shim.forget_parameters()


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_round_trip(shim, tmp_path, way):
    extend_head(shim.module, MORE, "random")
    if way == "disk":
        save_head(shim.module, tmp_path)
        files = {p.name for p in tmp_path.iterdir()}
        assert files == {"config.json", HEAD_FILE, CHECKSUMS}
        again = load_head(tmp_path)
    else:
        again = HeadShim(head_rate=1.0).from_bytes(shim.to_bytes()).module
    assert tags_of(again.config) == MORE
    X = torch.randn(5, 32)
    assert torch.equal(again(X), shim.module(X))


def test_head_without_bias(shim, tmp_path):
    shim.module.classifier.bias = None
    save_head(shim.module, tmp_path)
    assert load_head(tmp_path).classifier.bias is None


def test_use_before_loading():
    shim = HeadShim(head_rate=1.0)
    assert not shim.is_loaded
    with pytest.raises(ValueError, match=r"call nlp\.initialize\(\) first"):
        shim.to_bytes()


def test_file_that_is_another(shim, tmp_path):
    save_head(shim.module, tmp_path)
    file = tmp_path / HEAD_FILE
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"head\.safetensors.*its content is another"):
        load_head(tmp_path)


@pytest.mark.parametrize("fault", ["missing", "cut", "strange"])
def test_file_that_cannot_be_read(shim, tmp_path, fault):
    """Of a folder without checksums."""
    save_head(shim.module, tmp_path)
    (tmp_path / CHECKSUMS).unlink()
    file = tmp_path / HEAD_FILE
    if fault == "missing":
        file.unlink()
    elif fault == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        save_file({"rows": torch.zeros(7, 32)}, file)
    with pytest.raises(UserError, match=r"expected in '.*head\.safetensors', but it c"):
        load_head(tmp_path)


def test_rows_of_another_number(shim, tmp_path):
    save_head(shim.module, tmp_path)
    (tmp_path / CHECKSUMS).unlink()
    weights = {
        name: x[:5].clone() for name, x in load_file(tmp_path / HEAD_FILE).items()
    }
    save_file(weights, tmp_path / HEAD_FILE)
    with pytest.raises(UserError, match="A head of 7 rows.* but it has 5"):
        load_head(tmp_path)
