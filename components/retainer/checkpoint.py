"""A HuggingFace token-classification checkpoint: load, extend its head, save.

Nothing here knows of spaCy or Thinc.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import nn

from .errors import UserError
from .labels import check_tags
from .locate import locate
from .probe import fit_rows
from .stored import check_files, is_pickled, pickled, pin, write_checksums

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

# Their BPE writes a word's leading space into its pieces: pre-split words need one.
SPACE_PREFIXED = {"roberta", "longformer", "bart", "gpt2", "deberta", "bloom"}
ONNX_FILE = "model.onnx"  # in the place of weights (see `exported`)
# The suffixes of files that tell one checkpoint from another.
CONTENTS = (".json", ".safetensors", ".bin", ".model", ".onnx")
# What transformers raises over files that are missing, cut short or of another shape.
UNREADABLE = (OSError, ValueError, RuntimeError, SafetensorError)
# A new row's logit is the mean of the old logits, less this: it never is the greatest.
MARGIN = 1.0


def tags_of(config: "PretrainedConfig") -> list[str]:
    return [config.id2label[i] for i in range(len(config.id2label))]


def load_config(name: str, revision: str | None) -> "PretrainedConfig":
    """The checkpoint's configuration alone, its tags checked."""
    from transformers import AutoConfig

    name, where = locate(name)
    try:
        config = AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=False, **where
        )
    except UNREADABLE as error:
        raise _unreadable(name, error) from error
    if not any("TokenClassification" in a for a in config.architectures or []):
        raise UserError(
            "A checkpoint with a token-classification head was expected, but "
            f"'{name}' is {config.architectures or 'of no stated architecture'}. "
            "Fine-tune it for NER first, or give a checkpoint that is."
        )
    check_tags(tags_of(config), f"the checkpoint '{name}'")
    return config


def load_checkpoint(
    name: str, revision: str | None = None
) -> tuple["PreTrainedModel", "PreTrainedTokenizerFast"]:
    """Weights in float32, and the fast tokenizer. A folder needs no network."""
    from transformers import AutoModelForTokenClassification

    name, where = locate(name)
    config = load_config(name, revision)
    if Path(name).is_dir():
        check_files(Path(name))
    else:
        # One commit for all files, even if a newer one comes meanwhile.
        revision = pin(name, revision, config)
    try:
        module, info = AutoModelForTokenClassification.from_pretrained(
            name,
            config=config,
            output_loading_info=True,
            revision=revision,
            trust_remote_code=False,
            use_safetensors=True,
            **where,
        )
    except UNREADABLE as error:
        raise _unreadable(name, error) from error
    if info["missing_keys"]:
        raise UserError(
            f"Weights of a token classifier were expected in '{name}', but "
            f"{', '.join(sorted(info['missing_keys']))} is missing. Give the "
            "checkpoint as it was fine-tuned, not its encoder alone."
        )
    return module.float().eval(), load_tokenizer(name, revision, config)


def load_tokenizer(
    name: str, revision: str | None, config: "PretrainedConfig"
) -> "PreTrainedTokenizerFast":
    from transformers import AutoTokenizer

    name, where = locate(name)
    options = {"revision": revision, "trust_remote_code": False, **where}
    if config.model_type in SPACE_PREFIXED:
        options["add_prefix_space"] = True
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True, **options)
    except UNREADABLE as error:
        raise _unreadable(name, error) from error
    if not tokenizer.is_fast:
        raise UserError(
            f"A fast tokenizer (tokenizer.json) was expected in '{name}', but "
            f"{type(tokenizer).__name__} is not one. Convert it with transformers."
        )
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def fingerprint(name: str, revision: str | None) -> str:
    """Another for each other content of a checkpoint's files."""
    from transformers.utils import cached_file

    name, where = locate(name)
    try:
        config = cached_file(name, "config.json", revision=revision, **where)
        digest = sha256()
        for file in sorted(Path(config).parent.iterdir()):
            if file.suffix in CONTENTS:
                digest.update(file.name.encode())
                with file.open("rb") as handle:
                    digest.update(file_digest(handle, "sha256").digest())
    except OSError as error:
        raise _unreadable(name, error) from error
    return digest.hexdigest()


def _unreadable(name: str, error: Exception) -> UserError:
    if (Path(name) / ONNX_FILE).is_file():
        return UserError(
            f"Weights to train or to run by torch were expected in '{name}', but it "
            f"holds {ONNX_FILE}, made by scripts/optimise.py. Give the checkpoint of "
            "the pipeline that it was made from, or set `backend = onnxruntime`."
        )
    if is_pickled(name, error):
        return pickled(name)
    return UserError(
        f"A HuggingFace checkpoint was expected at '{name}', but it cannot be read: "
        f"{str(error).splitlines()[0]}. Give a folder, or a hub id and a network."
    )


def longest_window(
    config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerFast"
) -> int:
    """How many pieces the checkpoint can read at once, special pieces included."""
    positions = getattr(config, "max_position_embeddings", None) or 512
    if "roberta" in config.model_type or config.model_type == "camembert":
        positions -= config.pad_token_id + 1  # positions start behind the padding's
    return min(positions, tokenizer.model_max_length)


def find_head(module: "PreTrainedModel") -> tuple[nn.Module, str]:
    """The linear layer from hidden vectors to tags: its parent and its name."""
    for name, child in module.named_children():
        if child is module.base_model:
            continue
        for inner, layer in [("", child), *child.named_modules()]:
            if not isinstance(layer, nn.Linear):
                continue
            if layer.out_features == module.config.num_labels:
                path = ".".join(part for part in (name, inner) if part)
                parent, _, leaf = path.rpartition(".")
                return module.get_submodule(parent), leaf
    raise UserError(
        f"One linear layer to {module.config.num_labels} tags was expected behind the "
        f"encoder of {type(module).__name__}, but there is none."
    )


def get_head(module: "PreTrainedModel") -> nn.Linear:
    parent, leaf = find_head(module)
    return getattr(parent, leaf)


@contextmanager
def without_head(module: "PreTrainedModel") -> Iterator[None]:
    """The module's logits are what its head reads, for so long."""
    parent, leaf = find_head(module)
    head = getattr(parent, leaf)
    setattr(parent, leaf, nn.Identity())
    try:
        yield
    finally:
        setattr(parent, leaf, head)


def put_rows(
    head: nn.Linear, n_old: int, features: torch.Tensor, targets: torch.Tensor
) -> None:
    """Fit the rows behind the first n_old; see `probe.fit_rows` for the arguments."""
    with torch.no_grad():
        features = features.float()
        known = head(features)[:, :n_old]
        weight, bias = fit_rows(features, known, targets, head.out_features - n_old)
        head.weight[n_old:], head.bias[n_old:] = weight, bias


def extend_head(module: "PreTrainedModel", tags: Sequence[str], rows: str) -> None:
    """Give the head a row for each further tag. Old rows are copied bit for bit.

    tags: the old ones in their order, then the new. rows: how new rows start,
        mean: w = mean of the old w, b = mean of the old b - 1. A mean of logits is
            never above their maximum, so no prediction changes, whatever the text.
        probe: as mean, until they are fitted (`put_rows`).
        random: w ~ N(0, initializer_range), b = 0, as HuggingFace makes a new head.
    """
    parent, leaf = find_head(module)
    old = getattr(parent, leaf)
    head = nn.Linear(old.in_features, len(tags), bias=True).to(old.weight.device)
    with torch.no_grad():
        if rows == "random":
            _start_fresh(head, module)
        else:
            head.weight[:] = old.weight.mean(dim=0)
            head.bias[:] = (0.0 if old.bias is None else old.bias.mean()) - MARGIN
        n_old = old.out_features
        head.weight[:n_old] = old.weight
        head.bias[:n_old] = 0.0 if old.bias is None else old.bias
    _put_head(module, head, tags)


def replace_head(module: "PreTrainedModel", tags: Sequence[str]) -> None:
    """Throw the head away for a random one, as the usual fine-tuning recipe does."""
    parent, leaf = find_head(module)
    old = getattr(parent, leaf)
    head = nn.Linear(old.in_features, len(tags)).to(old.weight.device)
    with torch.no_grad():
        _start_fresh(head, module)
    _put_head(module, head, tags)


def _start_fresh(head: nn.Linear, module: "PreTrainedModel") -> None:
    head.weight.normal_(0.0, getattr(module.config, "initializer_range", 0.02))
    head.bias.zero_()


def _put_head(module: "PreTrainedModel", head: nn.Linear, tags: Sequence[str]) -> None:
    parent, leaf = find_head(module)
    setattr(parent, leaf, head)
    module.config.id2label = dict(enumerate(tags))
    module.config.label2id = {tag: i for i, tag in enumerate(tags)}
    module.config.num_labels = module.num_labels = len(tags)


def save_checkpoint(
    module: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", path: Path
) -> None:
    """Write a HuggingFace folder: config.json, model.safetensors, tokenizer files; and
    their checksums.

    path: a folder that is not there yet, or is empty.
    """
    module.save_pretrained(path, safe_serialization=True)
    tokenizer.save_pretrained(path)
    write_checksums(Path(path))
