"""Attention in training: no weight of it is dropped, and a CPU computes it in float32.

With dropout, torch keeps all weights of all pairs of pieces, several times over, and
draws a random number for each; without, its fused kernel does neither, and on a CPU
that kernel's backward pass is slower in bfloat16 than in float32.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


class FusedAttention(TorchFunctionMode):
    """For so long, modules that call `scaled_dot_product_attention` compute it so."""

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        if func is not scaled_dot_product_attention:
            return func(*args, **kwargs)
        return attend(*args, **kwargs)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    **kwargs: Any,
) -> torch.Tensor:
    """As torch's, of the same arguments, but dropout_p is not looked at."""
    if query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value, attn_mask, **kwargs)
    if attn_mask is not None and attn_mask.is_floating_point():
        attn_mask = attn_mask.float()
    with torch.autocast("cpu", enabled=False):
        given = [X.float() for X in (query, key, value)]
        Y = scaled_dot_product_attention(*given, attn_mask, **kwargs)
    return Y.to(query.dtype)
