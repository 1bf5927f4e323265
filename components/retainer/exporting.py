"""A torch module as an ONNX graph, its weights in float32 or in int8."""

import copy
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .errors import UserError
from .exported import QUANTISED, ExportedNetwork
from .smoothing import smooth

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OPSET = 17
LARGEST = 2**31 - 1  # bytes that one protobuf can hold
INPUTS = ("input_ids", "attention_mask")
SHAPES = ((1, 3), (2, 9), (3, 17))  # windows, pieces: to compare by
TOLERANCE = 1e-2  # of logits
# The linear layers, and the table of pieces.
INT8_OPERATORS = ["MatMul", "Gather"]


class _Logits(nn.Module):
    """The module with places in the place of names, as the exporter wants it."""

    def __init__(self, module: "PreTrainedModel"):
        super().__init__()
        self.module = module

    def forward(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.module(input_ids=input_ids, attention_mask=mask).logits


def export(module: "PreTrainedModel", *, int8: bool) -> ExportedNetwork:
    """The same function for ONNX Runtime. The module is used up.

    int8: the linear layers and the embeddings are quantised, but for the head and
        layers that would lose too much (see `smoothing`).
    """
    onnx = _require_onnx()
    module = module.float().cpu().eval()
    kept = smooth(module) if int8 else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        _trace(module, path)
        graph = onnx.load(path)
        _compare(module, path)
        if int8:
            quantised = Path(folder) / "int8.onnx"
            _quantise(graph, _nodes_of(kept, graph), quantised)
            graph = onnx.load(quantised)
            onnx.helper.set_model_props(graph, {QUANTISED: "1"})
    if graph.ByteSize() > LARGEST:
        raise UserError(
            f"An ONNX file of at most 2 GiB was expected, but it would have "
            f"{graph.ByteSize() / 2**30:.1f}. Add --int8, or --trim with your texts."
        )
    config = copy.deepcopy(module.config)
    config.architectures = [type(module).__name__]
    return ExportedNetwork(config, graph.SerializeToString())


def _require_onnx() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            "The packages onnx and onnxruntime were expected, but "
            f"{error.name} is not there. Install them: pip install onnx onnxruntime"
        ) from error
    return onnx


def _trace(module: "PreTrainedModel", path: Path) -> None:
    ids, mask = _make_input(module, 2, 9)
    axes = {0: "windows", 1: "pieces"}
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                _Logits(module).eval(),
                (ids, mask),
                str(path),
                input_names=list(INPUTS),
                output_names=["logits"],
                dynamic_axes=dict.fromkeys([*INPUTS, "logits"], axes),
                opset_version=OPSET,
                dynamo=False,  # the other exporter needs a further package
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise UserError(
            "A checkpoint that torch can export was expected, but it cannot export "
            f"{type(module).__name__}: {str(error).splitlines()[0]}. Leave out --onnx "
            "and --int8."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns of constants: whether they harm is seen by comparing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _make_input(
    module: "PreTrainedModel", n_windows: int, n_pieces: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Piece ids that are no padding, (windows, pieces), and a mask that ends the last
    window at its middle."""
    n_ids = module.config.vocab_size
    ids = torch.arange(n_windows * n_pieces).reshape(n_windows, n_pieces) % n_ids
    ids[ids == module.config.pad_token_id] = n_ids - 1
    mask = torch.ones_like(ids)
    mask[-1, n_pieces // 2 + 1 :] = 0
    return ids, mask


def _compare(module: "PreTrainedModel", path: Path) -> None:
    """Raise UserError if the graph is another function than the module."""
    network = ExportedNetwork(module.config, str(path))
    for shape in SHAPES:
        ids, mask = _make_input(module, *shape)
        with torch.inference_mode():
            wanted = module(input_ids=ids, attention_mask=mask).logits
        got = network(ids, mask).logits
        apart = (got - wanted)[mask.bool()].abs().max().item()
        if not apart <= TOLERANCE:
            raise UserError(
                "The same logits were expected of torch and of its export, but of "
                f"{type(module).__name__} they are up to {apart:.3g} apart. Leave out "
                "--onnx and --int8."
            )


def _nodes_of(layers: list[str], graph: Any) -> list[str]:
    """The exporter names the nodes by the layers."""
    starts = tuple(f".module.{name}." for name in layers)
    nodes = (node.name for node in graph.graph.node)
    return [name for name in nodes if name.replace("/", ".").startswith(starts)]


def _quantise(graph: Any, kept: list[str], path: Path) -> None:
    """Dynamic quantisation: a scale for each column of weights, which is known, and
    one for what meets it, which is found when reading."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(graph)  # or it logs advice about pictures
    quantize_dynamic(
        graph,
        path,
        op_types_to_quantize=INT8_OPERATORS,
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept,
        extra_options={"MatMulConstBOnly": True},
    )
