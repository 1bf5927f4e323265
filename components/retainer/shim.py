"""The torch side of a Thinc model: device, precision, optimizer step, bytes."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import copy, deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import srsly
import torch
from spacy.util import logger
from thinc.api import Adam, Optimizer, PyTorchShim
from thinc.types import Ints1d

from . import checkpoint
from .attention import FusedAttention
from .errors import UserError
from .exported import load_exported
from .freezing import freeze
from .half import copy_in_half, state_of
from .memory import explaining_memory
from .pieces import pad
from .trunk import Trunk

TRAINED = (
    "Each trained weight needs four times its size: raise `freeze` of the model, or "
    "take a smaller checkpoint."
)
Loaded = TypeVar("Loaded")
NOT_LOADED = (
    "The checkpoint was expected to be loaded, but it is not: call nlp.initialize() "
    "first, or load a saved pipeline."
)
LOADERS = {"torch": checkpoint.load_checkpoint, "onnxruntime": load_exported}


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA, else MPS, else CPU; so is a device that this machine lacks."""
    best = "mps" if torch.backends.mps.is_available() else "cpu"
    best = "cuda" if torch.cuda.is_available() else best
    if name == "auto":
        return torch.device(best)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(
            "`device` was expected to be auto, or a torch device such as cpu, cuda:1 "
            f"or mps, but '{name}' is not one."
        ) from error
    is_there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device.type in is_there and not is_there[device.type]():
        logger.warning("%s was asked for, but is not there: using %s", name, best)
        return torch.device(best)
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware itself multiplies bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


class CheckpointShim(PyTorchShim):
    """Holds the module and its tokenizer, both None until loaded.

    backend: onnxruntime holds an `exported.ExportedNetwork` in the module's place, on
    the CPU whatever the device.

    In place of PyTorchShim's: autocast on any device, weights that are steered by a
    Thinc optimizer but stepped by torch's fused AdamW, and safetensors, no pickle.
    """

    def __init__(
        self,
        *,
        device: str,
        precision: str,
        freeze: float | list[str],
        head_rate: float,
        backend: str = "torch",
    ):
        self._place = pick_device(device if backend == "torch" else "cpu")
        super().__init__(None, device=self._place)
        self._tokenizer: Any = None
        self._freeze, self._head_rate = freeze, head_rate
        self._load = LOADERS[backend]
        is_half = precision == "auto" and has_bfloat16(self._place)
        self._autocast = {
            "device_type": self._place.type,
            "dtype": torch.bfloat16,
            "enabled": is_half or precision == "bfloat16",
        }
        self._steered_by: Optimizer | None = None
        self._half: tuple[list[int], Any] | None = None

    @property
    def device(self) -> torch.device:
        return self._place

    @property
    def is_loaded(self) -> bool:
        return self._model is not None

    @property
    def module(self) -> Any:
        self._require_loaded()
        return self._model

    @property
    def tokenizer(self) -> Any:
        self._require_loaded()
        return self._tokenizer

    @cached_property
    def trunk(self) -> Trunk | None:
        """The frozen lower part, sought at the first update."""
        return Trunk.find(self.module)

    def _require_loaded(self) -> None:
        if not self.is_loaded:
            raise ValueError(NOT_LOADED)

    @property
    def reads_singly(self) -> bool:
        """Whether what is said of a window would depend on others beside it."""
        return getattr(self.module, "reads_singly", False)

    def load(self, name: str, revision: str | None = None) -> tuple[Any, Any]:
        """What is to be `put`: the module and the tokenizer of a checkpoint."""
        return self._load(name, revision)

    def put(self, module: Any, tokenizer: Any) -> None:
        """Hold a module, with what is to be frozen frozen, wherever it came from."""
        if isinstance(module, torch.nn.Module):
            freeze(module, self._freeze)
            module = module.to(self._place)
        self._model, self._tokenizer = module, tokenizer
        self.__dict__.pop("trunk", None)
        self.forget_parameters()

    def forget_parameters(self) -> None:
        """To be called when the module's parameters are others than before."""
        self._optimizer = self._steered_by = self._half = None

    def set_training(self, is_train: bool) -> None:
        """Whether there is dropout, in what is not frozen from the embeddings on."""
        self.module.train(is_train)
        if is_train:
            self._half = None
            if self.trunk is not None:
                self.trunk.eval()

    def run(
        self,
        windows: Sequence[Ints1d],
        *,
        with_features: bool,
        remember: bool = False,
    ) -> list[torch.Tensor]:
        """Piece ids of windows -> logits (windows, pieces, tags), in the compute
        precision; and features (windows, pieces, D), what the encoder's last layer
        gives.

        remember: what the frozen lower part says, for texts that will come again.
        """
        arrays = pad(windows, self.tokenizer.pad_token_id)
        ids, mask = (torch.from_numpy(array).to(self._place) for array in arrays)
        module, is_train = self.module, self.module.training
        with ExitStack() as stack:
            half = None if is_train or remember else self._get_half()
            if half is None:
                stack.enter_context(self.autocast())
            if remember and self.trunk is not None:
                states = self.trunk.states(windows, ids, mask)
                stack.enter_context(self.trunk.skipped(states))
            if is_train:
                stack.enter_context(FusedAttention())
            output = (half or module)(
                input_ids=ids, attention_mask=mask, output_hidden_states=with_features
            )
        return [output.logits, *(output.hidden_states or ())[-1:]]

    def _get_half(self) -> Any | None:
        """The module to use in bfloat16, made again after the weights changed."""
        is_torch = isinstance(self.module, torch.nn.Module)
        if not is_torch or not self._autocast["enabled"]:
            return None
        state = state_of(self.module)
        if self._half is None or self._half[0] != state:
            self._half = state, copy_in_half(self.module)
        return self._half[1]

    def autocast(self) -> torch.autocast:
        """Around several runs that are trained together: weights are cast once."""
        return torch.autocast(**self._autocast)

    def finish_update(self, optimizer: Optimizer) -> None:
        """One AdamW step (Loshchilov and Hutter 2019) with the optimizer's settings:
        learn_rate, b1, b2, eps, L2 as weight decay, grad_clip of the global norm.

        Biases and normalisation, all one-dimensional, do not decay. The head learns at
        learn_rate times head_rate.

        optimizer: or what nlp.rehearse gives in its place, which has learn_rate, b1 and
            b2 alone: the rest is that of the last step or, at the first, Thinc's own.
        """
        rates = optimizer
        if not isinstance(optimizer, Optimizer):
            default = Adam(rates.learn_rate, use_averages=False)
            optimizer = self._steered_by or default
        trained = [p for p in self.module.parameters() if p.requires_grad]
        if self._steered_by is not optimizer:
            if optimizer.use_radam or optimizer.averages is not None:
                raise UserError(
                    "Plain Adam was expected in [training.optimizer], but use_radam or "
                    "use_averages is on. Set both to false."
                )
            head = {id(p) for p in checkpoint.get_head(self.module).parameters()}
            groups = [
                {
                    "params": [
                        p
                        for p in trained
                        if (id(p) in head, p.dim() > 1) == (is_head, decays)
                    ],
                    "decays": decays,
                    "rate": self._head_rate if is_head else 1.0,
                }
                for is_head in (False, True)
                for decays in (True, False)
            ]
            self._optimizer = torch.optim.AdamW(groups, fused=True)
            self._steered_by = optimizer
        if optimizer.grad_clip:
            torch.nn.utils.clip_grad_norm_(trained, optimizer.grad_clip)
        for group in self._optimizer.param_groups:
            group["lr"] = float(rates.learn_rate) * group["rate"]
            group["betas"] = (rates.b1, rates.b2)
            group["eps"] = optimizer.eps
            group["weight_decay"] = optimizer.L2 if group["decays"] else 0.0
        with explaining_memory("to train these weights", TRAINED):
            self._optimizer.step()
        self._optimizer.zero_grad()

    def __deepcopy__(self, memo: dict) -> "CheckpointShim":
        """With weights of its own, and without what training keeps beside them."""
        other = copy(self)
        if isinstance(self._model, torch.nn.Module):
            other._model = deepcopy(self._model, memo)
        other.__dict__.pop("trunk", None)
        other.forget_parameters()
        return other

    def to_device(self, device_type: str, device_id: int) -> None:
        self._place = torch.device("cpu" if device_type == "cpu" else "cuda", device_id)
        self._autocast["device_type"] = self._place.type
        if isinstance(self._model, torch.nn.Module):
            self._model.to(self._place)
            self.__dict__.pop("trunk", None)

    def to_bytes(self) -> bytes:
        """The files of the checkpoint by name."""
        parts = self.module, self.tokenizer
        return pack(lambda path: checkpoint.save_checkpoint(*parts, path))

    def from_bytes(self, bytes_data: bytes) -> "CheckpointShim":
        self.put(*unpack(bytes_data, lambda path: self.load(str(path))))
        return self


def pack(save: Callable[[Path], None]) -> bytes:
    """The files, by name, that are saved to a folder."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        files = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
    return srsly.msgpack_dumps(files)


def unpack(bytes_data: bytes, load: Callable[[Path], Loaded]) -> Loaded:
    """RETURNS: what is loaded of the folder that was packed."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in srsly.msgpack_loads(bytes_data).items():
            (Path(folder) / Path(name).name).write_bytes(content)
        return load(Path(folder))
