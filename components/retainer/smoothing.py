"""Linear layers made ready for int8: a few columns of what they read are far larger.

One scale for all that a layer reads would round the others away. So each column is
divided by s_j = max|x_j|^a / max|w_j|^(1-a), and its weights are multiplied by it: the
same function, read more evenly (SmoothQuant, Xiao et al. 2023, eq. 4). The largest
columns are the network's, whatever it reads, so random pieces find them.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

from .checkpoint import get_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ALPHA = 0.7  # measured: 0.5 and 0.9 change more tags
WINDOWS, PIECES = 32, 40
ROUGH = 0.0175  # of a layer's output: if rounding moves it more, it stays as it is
SMALLEST = 1e-4


def smooth(module: "PreTrainedModel") -> list[str]:
    """Change the layers' weights and what they read, in place.

    RETURNS: the names of those that are to stay in float32, of which the head is one.
    """
    found = _try_out(module)
    layers = dict(module.named_modules())
    for name, (scale, _) in found.items():
        layer = layers[name]
        with torch.no_grad():
            layer.weight *= scale
        layer.register_forward_pre_hook(_Divide(scale))
    head = get_head(module)
    kept = [name for name, (_, error) in found.items() if error > ROUGH]
    return [*kept, *(name for name, layer in layers.items() if layer is head)]


def rounding_error(x: torch.Tensor, weight: torch.Tensor) -> float:
    """How far int8 moves x @ weight.T, over its size, if x has one scale."""
    step = (x.max().clamp(min=0) - x.min().clamp(max=0)) / 255
    moved = ((x / step).round() * step - x) @ weight.T
    return (moved.norm() / (x @ weight.T).norm()).item()


class _Divide:
    def __init__(self, scale: torch.Tensor):
        self.scale = scale

    def __call__(self, layer: nn.Module, args: tuple) -> tuple[torch.Tensor]:
        return (args[0] / self.scale,)


def _try_out(module: "PreTrainedModel") -> dict[str, tuple[torch.Tensor, float]]:
    """By layer: the scale of each column, (nI,), and the rounding error with it."""
    found: dict[str, tuple[torch.Tensor, float]] = {}
    head = get_head(module)

    def look(name: str, layer: nn.Linear, x: torch.Tensor) -> None:
        x = x.flatten(0, -2)
        most = x.abs().amax(dim=0).clamp(min=SMALLEST)
        weights = layer.weight.abs().amax(dim=0).clamp(min=SMALLEST)
        scale = most**ALPHA / weights ** (1 - ALPHA)
        found[name] = scale, rounding_error(x / scale, layer.weight * scale)

    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, args, name=name: look(name, layer, args[0])
        )
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and layer is not head
    ]
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(module.config.vocab_size, (WINDOWS, PIECES), generator=draw)
    with torch.no_grad():
        module(input_ids=ids, attention_mask=torch.ones_like(ids))
    for hook in hooks:
        hook.remove()
    return found
