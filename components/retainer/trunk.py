"""The frozen lower part of an encoder: in training, each text goes through it once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from thinc.types import Ints1d
from torch import nn

from .freezing import find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_BYTES = 2**30  # of states that are remembered: later texts are run each time


class Given(nn.Module):
    """Stands where the embeddings are, and gives what it was given."""

    def __init__(self, states: torch.Tensor):
        super().__init__()
        self.states = states

    def forward(self, *args, **kwargs) -> torch.Tensor:
        return self.states


class Trunk:
    """Embeddings and lowest layers, all frozen, of a module that goes on above them.

    They drop nothing in training, so that what they say of a text never changes, and
    is remembered: in bfloat16 if they compute in it, else as it is.
    """

    def __init__(self, module: "PreTrainedModel", path: str, n_layers: int):
        self._encoder = module.base_model
        parent, self._name = path.rpartition(".")[::2]
        self._parent = self._encoder.get_submodule(parent)
        self._layers = getattr(self._parent, self._name)
        self._lower = nn.ModuleList(list(self._layers)[:n_layers])
        self._upper = nn.ModuleList(list(self._layers)[n_layers:])
        self._known: dict[bytes, torch.Tensor] = {}
        self._n_bytes = 0

    @classmethod
    def find(cls, module: "PreTrainedModel") -> "Trunk | None":
        """None if nothing is frozen from the embeddings on, or if the module is not of
        a kind that can be taken apart."""
        path = find_stack(module.base_model)
        if path is None or not is_frozen(module.base_model.embeddings):
            return None
        n_layers = 0
        for layer in module.base_model.get_submodule(path):
            if not is_frozen(layer):
                break
            n_layers += 1
        trunk = cls(module, path, n_layers)
        return trunk if n_layers and trunk._is_exact(module) else None

    @torch.inference_mode()
    def _is_exact(self, module: "PreTrainedModel") -> bool:
        """Whether the parts, one after the other, give what the whole gives."""
        was_training = module.training
        module.eval()
        ids = torch.arange(4, device=module.device).reshape(2, 2)
        mask = torch.tensor([[1, 1], [1, 0]], device=module.device)
        try:
            whole = module(input_ids=ids, attention_mask=mask).logits
            with self.skipped(self._run(ids, mask)):
                parts = module(input_ids=ids, attention_mask=mask).logits
        except (AttributeError, TypeError, RuntimeError):
            return False
        finally:
            module.train(was_training)
        seen = mask.bool()
        return torch.allclose(whole[seen], parts[seen], rtol=1e-4, atol=1e-4)

    def eval(self) -> None:
        self._encoder.embeddings.eval()
        self._lower.eval()

    def states(
        self, windows: Sequence[Ints1d], input_ids: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """(n, pieces, D), float32: what the trunk says of windows of piece ids; zeros
        on padding.

        input_ids, mask: (n, pieces), the same windows, padded.
        """
        keys = [ids.tobytes() for ids in windows]
        places = {key: i for i, key in enumerate(keys) if key not in self._known}
        new, fresh = [*places.values()], {}
        if new:
            longest = max(len(windows[i]) for i in new)
            with torch.no_grad():
                said = self._run(input_ids[new, :longest], mask[new, :longest])
            fresh = {
                keys[i]: self._remember(keys[i], row[: len(windows[i])])
                for i, row in zip(new, said, strict=True)
            }
        rows = [fresh[key] if key in fresh else self._known[key] for key in keys]
        padded = rows[0].new_zeros(*mask.shape, rows[0].shape[-1], dtype=torch.float32)
        for i, row in enumerate(rows):
            padded[i, : len(row)] = row
        return padded

    def _remember(self, key: bytes, states: torch.Tensor) -> torch.Tensor:
        is_half = torch.is_autocast_enabled(states.device.type)
        states = states.to(torch.bfloat16) if is_half else states.clone()
        if self._n_bytes + states.nbytes <= MOST_BYTES:
            self._known[key] = states
            self._n_bytes += states.nbytes
        return states

    def _run(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        setattr(self._parent, self._name, self._lower)
        try:
            return self._encoder(input_ids, attention_mask=mask).last_hidden_state
        finally:
            setattr(self._parent, self._name, self._layers)

    @contextmanager
    def skipped(self, states: torch.Tensor) -> Iterator[None]:
        """For so long, the module starts from these."""
        embeddings = self._encoder.embeddings
        setattr(self._parent, self._name, self._upper)
        self._encoder.embeddings = Given(states)
        try:
            yield
        finally:
            setattr(self._parent, self._name, self._layers)
            self._encoder.embeddings = embeddings


def is_frozen(module: nn.Module) -> bool:
    return not any(p.requires_grad for p in module.parameters())
