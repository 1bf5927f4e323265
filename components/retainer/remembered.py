"""What a teacher said of texts, in memory and, if wanted, in a file."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from spacy.util import logger
from thinc.types import Floats2d

from .files import replacing

Words = tuple[str, ...]
HASH_BYTES = 16


class Remembered:
    """Rows by text, in float16: logits (n_tokens, n_tags) and, of some texts, features
    (n_tokens, D).

    path: a safetensors file that is read when there is one, and that `save` writes.
        Texts are in it as hashes, no words.
    speaker: who said it. A file of another's words is not read.
    """

    def __init__(self, path: Path | None = None, speaker: str = ""):
        self._path, self._speaker = path, speaker
        self.logits: dict[bytes, Floats2d] = {}
        self.features: dict[bytes, Floats2d] = {}
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            with safe_open(path, "numpy") as file:
                if (file.metadata() or {}).get("speaker") != self._speaker:
                    return
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            for name, rows_of in (("logits", self.logits), ("features", self.features)):
                keys, ends = tensors[f"{name}.keys"], tensors[f"{name}.ends"]
                rows = np.split(tensors[name], ends[:-1])
                rows_of.update(zip(map(bytes, keys), rows[: len(keys)], strict=True))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            self.logits, self.features = {}, {}
            logger.warning("Asking the teacher anew, %s is unreadable: %s", path, error)

    def save(self) -> None:
        """The whole of it or nothing; nothing without a path."""
        if self._path is None:
            return
        tensors = {}
        for name, rows_of in (("logits", self.logits), ("features", self.features)):
            tensors |= _pack(name, rows_of)
        with replacing(self._path) as unfinished:
            save_file(tensors, unfinished, {"speaker": self._speaker})


def key_of(words: Iterable[str]) -> bytes:
    return sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()[
        :HASH_BYTES
    ]


def _pack(name: str, rows_of: dict[bytes, Floats2d]) -> dict[str, np.ndarray]:
    """Example: two texts of 3 and 2 tokens -> 5 rows, and their ends [3, 5]."""
    rows: Sequence[Floats2d] = [*rows_of.values()]
    keys = np.frombuffer(b"".join(rows_of), dtype=np.uint8)
    return {
        name: np.concatenate(rows) if rows else np.zeros((0, 0), np.float16),
        f"{name}.keys": keys.reshape(len(rows), HASH_BYTES),
        f"{name}.ends": np.cumsum([len(r) for r in rows], dtype=np.int64),
    }
