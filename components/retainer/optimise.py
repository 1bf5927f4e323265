"""A trained pipeline made faster or smaller, in place."""

import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spacy.language import Language
from spacy.util import minibatch
from torch import nn

from .errors import UserError
from .exported import UNTRAINABLE
from .exporting import export
from .replay import read_texts
from .shim import CheckpointShim
from .trimming import kept_pieces, trim_embeddings, trim_tokenizer, used_pieces

COMPONENT = "transformer_ner"
logger = logging.getLogger(__name__)  # its words of progress are shown by scripts
TEXTS_AT_ONCE = 256
REQUIREMENT = "onnxruntime>=1.20"
SHARED = (
    "A pipeline of its own encoder was expected, but this one's component "
    "transformer_ner listens to a shared one. Optimise a pipeline that was trained "
    "with retainer.TokenClassifier.v1."
)


@dataclass(frozen=True)
class Options:
    """What is to be done. trim: files or folders of texts, of which no piece is lost.
    column: the key or column with the text in them. int8 is on ONNX Runtime alone."""

    onnx: bool = False
    int8: bool = False
    trim: tuple[Path, ...] = ()
    column: str = "text"

    def __post_init__(self) -> None:
        if not (self.onnx or self.int8 or self.trim):
            raise UserError(
                "At least one of --onnx, --int8 and --trim was expected, but there is "
                "none. Say what is to be done with the pipeline."
            )


def optimise(nlp: Language, options: Options) -> None:
    """Trim, then export. The scores in meta.json, which are of what it was, go."""
    shim = nlp.get_pipe(COMPONENT).model.shims[0]
    if not isinstance(shim, CheckpointShim):
        raise UserError(SHARED)
    if not isinstance(shim.module, nn.Module):
        raise UserError(UNTRAINABLE)
    if options.trim:
        trim(nlp, shim, options)
    if options.onnx or options.int8:
        network = export(shim.module, int8=options.int8)
        shim.put(network, shim.tokenizer)
        nlp.get_pipe_config(COMPONENT)["model"]["backend"] = "onnxruntime"
        known = nlp.meta.get("requirements", [])
        nlp.meta["requirements"] = [*known, REQUIREMENT]  # of a package made of it
    nlp.meta["performance"] = {}


def trim(nlp: Language, shim: CheckpointShim, options: Options) -> None:
    used: set[int] = set()
    nlp.max_length = sys.maxsize  # a limit that is meant for parsers
    n_texts = 0
    with nlp.memory_zone():  # words of the texts are not kept
        for texts in minibatch(_read(nlp, options), TEXTS_AT_ONCE):
            words = [[token.text for token in nlp.make_doc(text)] for text in texts]
            used |= used_pieces(shim.tokenizer, words)
            n_texts += len(texts)
    if not n_texts:
        raise UserError(
            "Texts were expected in the files of --trim, whose pieces are to be kept, "
            "but all are blank. Give texts of every language that is to be read."
        )
    kept = kept_pieces(shim.tokenizer, used)
    n_before = len(shim.tokenizer)
    tokenizer = trim_tokenizer(shim.tokenizer, kept)
    trim_embeddings(shim.module, kept)
    shim.put(shim.module, tokenizer)
    logger.info(
        "%s of %s pieces are kept: %s are in the %s texts, others are single "
        "characters and the like",
        *(f"{n:,}" for n in (len(kept), n_before, len(used), n_texts)),
    )


def _read(nlp: Language, options: Options) -> Iterator[str]:
    texts: Iterable[str] = (
        text for path in options.trim for text in read_texts(path, options.column, nlp)
    )
    return (text for text in texts if text.strip())
