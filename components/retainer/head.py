"""The head of a token-classification checkpoint by itself: taken, stepped, saved.

Its rows are extended as a whole checkpoint's are (see `checkpoint.extend_head`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from thinc.api import (
    Optimizer,
    PyTorchShim,
    get_torch_default_device,
    torch2xp,
    xp2torch,
)
from torch import nn

from .checkpoint import UNREADABLE, get_head, load_checkpoint, load_config
from .errors import UserError
from .shim import NOT_LOADED, pack, unpack
from .stored import check_files, write_checksums

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

HEAD_FILE = "head.safetensors"


class Head(nn.Module):
    """One linear layer from hidden vectors to the tags of `config`."""

    base_model = None  # the encoder, which is elsewhere

    def __init__(self, config: "PretrainedConfig", classifier: nn.Linear):
        super().__init__()
        self.config, self.classifier = config, classifier

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.classifier(X)


def take_head(name: str, revision: str | None) -> Head:
    """Of a folder or a hub id. Raise UserError unless it reads the encoder directly."""
    module, _ = load_checkpoint(name, revision)
    head = Head(module.config, get_head(module))
    if not _is_whole(module, head):
        raise UserError(
            "One linear layer directly behind the encoder was expected in "
            f"'{name}', for a shared encoder gives what its last layer says, but "
            f"{type(module).__name__} has more. Take retainer.TokenClassifier.v1."
        )
    return head


@torch.inference_mode()
def _is_whole(module: "PreTrainedModel", head: Head) -> bool:
    """Whether the encoder and the head, one after the other, are the module."""
    ids = torch.arange(4, device=module.device).reshape(2, 2)
    how = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    parts = head(module.base_model(**how).last_hidden_state)
    return torch.allclose(module(**how).logits, parts, rtol=1e-4, atol=1e-4)


def save_head(head: Head, path: Path) -> None:
    """Write config.json, HEAD_FILE and their checksums into a folder."""
    head.config.save_pretrained(path)
    save_file(head.classifier.state_dict(), path / HEAD_FILE)
    write_checksums(path)


def load_head(path: Path) -> Head:
    """Read the folder that `save_head` wrote."""
    config = load_config(str(path), None)
    check_files(path)
    try:
        weights = load_file(path / HEAD_FILE)
        n_tags, width = weights["weight"].shape
        classifier = nn.Linear(width, n_tags, bias="bias" in weights)
        classifier.load_state_dict(weights)
    except (*UNREADABLE, KeyError) as error:
        raise UserError(
            f"The head of a token classifier was expected in '{path / HEAD_FILE}', "
            f"but it cannot be read: {str(error).splitlines()[0]}. Give the pipeline "
            "as it was saved, with retainer.ListenerTagger.v1 in its config.cfg."
        ) from error
    if n_tags != config.num_labels:
        raise UserError(
            f"A head of {config.num_labels} rows, as its config.json has tags, was "
            f"expected in '{path}', but it has {n_tags}. Give the pipeline as it was "
            "saved."
        )
    return Head(config, classifier)


class HeadShim(PyTorchShim):
    """Holds the head, None until loaded, on the device of Thinc's torch layers.

    In place of PyTorchShim's: a learning rate of its own, and safetensors, no pickle.

    head_rate: the learning rate, over that of the optimizer.
    """

    def __init__(self, *, head_rate: float):
        super().__init__(None)
        self._head_rate = head_rate
        self._n_put = 0

    @property
    def is_loaded(self) -> bool:
        return self._model is not None

    @property
    def module(self) -> Head:
        if not self.is_loaded:
            raise ValueError(NOT_LOADED)
        return self._model

    def put(self, head: Head) -> None:
        self._model = head.to(get_torch_default_device())
        self.forget_parameters()

    def forget_parameters(self) -> None:
        """To be called when the head's parameters are others than before: what an
        optimizer remembers is of those."""
        self._n_put += 1

    def finish_update(self, optimizer: Optimizer) -> None:
        """A step of Thinc's optimizer, as it steps the shared encoder."""
        for name, parameter in self.module.named_parameters():
            if parameter.grad is None:
                continue
            values, _ = optimizer(
                (self.id, f"{name} {self._n_put}"),
                torch2xp(parameter.data),
                torch2xp(parameter.grad),
                lr_scale=self._head_rate,
            )
            parameter.data = xp2torch(values, device=parameter.device)
            parameter.grad = None

    def to_bytes(self) -> bytes:
        return pack(lambda path: save_head(self.module, path))

    def from_bytes(self, bytes_data: bytes) -> "HeadShim":
        self.put(unpack(bytes_data, load_head))
        return self
