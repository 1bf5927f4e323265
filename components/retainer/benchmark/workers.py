"""Which worker file plays which contender, and by which interpreter it is run."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environment import find_missing, make_environment
from .processes import Contender

MODULES = ("accelerate", "spacy_transformers", "spacy_huggingface_pipelines")
MODULES += ("spacy_wrap",)
# A fast tokenizer by this name has no file that spacy-transformers looks for in vain.
ANY_TOKENIZER = "PreTrainedTokenizerFast"


@dataclass(frozen=True)
class Workers:
    """folder: of the worker files. python: the peers' interpreter."""

    folder: Path
    python: str

    @classmethod
    def find(cls, folder: Path, peers: Path | None) -> "Workers":
        """peers: their environment, which is made if need be; None is this one."""
        if peers is None:
            return cls(folder, sys.executable)
        return cls(folder, make_environment(peers, folder / "requirements.txt"))

    def find_missing(self) -> set[str]:
        return find_missing(self.python, MODULES)

    def ours(self, name: str, job: Mapping[str, Any]) -> Contender:
        command = [sys.executable, str(self.folder / "ours.py")]
        return Contender(name, command, job, is_ours=True)

    def peer(
        self, name: str, file: str, job: Mapping[str, Any], needs: str = ""
    ) -> Contender:
        command = [self.python, str(self.folder / file)]
        return Contender(name, command, job, needs=needs)


def make_loadable(checkpoint: Path, folder: Path) -> Path:
    """A checkpoint that spacy-transformers can load: it raises a TypeError if there is
    a tokenizer.json, but not the file that the tokenizer's class was made from.

    RETURNS: the checkpoint, or links to it beside a tokenizer of no special class.
    """
    settings = checkpoint / "tokenizer_config.json"
    is_whole = any((checkpoint / name).is_file() for name in VOCABULARIES)
    if is_whole or not settings.is_file():
        return checkpoint
    folder.mkdir()
    for file in checkpoint.iterdir():
        if file.is_file() and file.name != settings.name:
            (folder / file.name).symlink_to(file.absolute())
    changed = json.loads(settings.read_text("utf-8"))
    changed["tokenizer_class"] = ANY_TOKENIZER
    (folder / settings.name).write_text(json.dumps(changed), "utf-8")
    return folder


VOCABULARIES = ("sentencepiece.bpe.model", "spiece.model", "vocab.txt", "vocab.json")
