"""A token classifier as an ONNX file: run by ONNX Runtime on the CPU, not trained."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from .checkpoint import ONNX_FILE, load_config, load_tokenizer
from .errors import UserError
from .locate import locate
from .stored import check_files

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

QUANTISED = "retainer.int8"  # a key of the file's metadata
UNTRAINABLE = (
    "A pipeline of torch weights was expected, for they are to be changed, but this "
    "one runs on ONNX Runtime: it was made by scripts/optimise.py. Take the pipeline "
    "that it was made from, and optimise the result."
)
NO_FEATURES = (
    "A teacher of torch weights was expected, for the features of its encoder are to "
    "be taught, but this one runs on ONNX Runtime, which gives logits alone: it was "
    "made by scripts/optimise.py. Take the pipeline that it was made from, or set "
    "`feature_weight` of the loss to 0."
)


class ExportedNetwork:
    """Stands where a module does, with as much of one as reading texts needs.

    graph: the ONNX file's content, or its path if the network is not to be saved.
    reads_singly: whether each window is to be read alone, since int8 rounds by the
        greatest value of all that is read at once.
    """

    training = False

    def __init__(self, config: "PretrainedConfig", graph: bytes | str):
        self.config = config
        self._graph = graph
        # By process: threads do not outlive a fork, as by nlp.pipe(n_process=2), and a
        # session that waits for its own to end must not be dropped there.
        self._sessions = {os.getpid(): open_session(graph)}
        metadata = self._get_session().get_modelmeta().custom_metadata_map
        self.reads_singly = QUANTISED in metadata

    def __call__(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        output_hidden_states: bool = False,
    ) -> Any:
        """(windows, pieces) -> logits (windows, pieces, tags)."""
        from transformers.modeling_outputs import TokenClassifierOutput

        if output_hidden_states:
            raise UserError(NO_FEATURES)
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        (logits,) = self._get_session().run(
            None, {name: values.cpu().numpy() for name, values in feed.items()}
        )
        return TokenClassifierOutput(logits=torch.from_numpy(logits))

    def _get_session(self) -> Any:
        if os.getpid() not in self._sessions:
            self._sessions[os.getpid()] = open_session(self._graph)
        return self._sessions[os.getpid()]

    def train(self, mode: bool = True) -> "ExportedNetwork":
        if mode:
            raise UserError(UNTRAINABLE)
        return self

    def named_children(self) -> NoReturn:
        """What looks for layers, as `checkpoint.find_head` does, is to change them."""
        raise UserError(UNTRAINABLE)

    def save_pretrained(self, path: Path, **kwargs) -> None:
        """Write config.json and the ONNX file."""
        self.config.save_pretrained(path)
        (Path(path) / ONNX_FILE).write_bytes(self._graph)


def load_exported(
    name: str, revision: str | None = None
) -> tuple[ExportedNetwork, "PreTrainedTokenizerFast"]:
    """The network, and the fast tokenizer, of a folder. revision: of no meaning."""
    name, _ = locate(name)
    file = Path(name) / ONNX_FILE
    if not file.is_file():
        raise UserError(
            f"A folder with a file {ONNX_FILE} was expected for "
            f"`backend = onnxruntime`, but '{name}' has none. Train with "
            "`backend = torch`, then make the file by scripts/optimise.py."
        )
    check_files(Path(name))
    config = load_config(name, None)
    return (
        ExportedNetwork(config, file.read_bytes()),
        load_tokenizer(name, None, config),
    )


def open_session(graph: bytes | str) -> Any:
    """An ONNX Runtime session with as many threads as torch has.

    graph: the file's content, or its path.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as raised
    except ImportError as error:
        raise UserError(
            "The package onnxruntime was expected, for this pipeline runs on it, but "
            "it is not there. Install it: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    unreadable = (raised.InvalidArgument, raised.InvalidGraph, raised.InvalidProtobuf)
    try:
        return onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
    except unreadable as error:
        raise UserError(
            "An ONNX file was expected that ONNX Runtime reads, but it does not: "
            f"{str(error).splitlines()[0]}. Make it again by scripts/optimise.py."
        ) from error
