"""What of a stored checkpoint may be read: files that are whole, and no pickle."""

import json
import logging
import shlex
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

CHECKSUMS = "checksums.json"
# Whose content is not compared, for people set their own values there.
EDITED = ("config.json", "tokenizer_config.json")
PICKLES = "pytorch_model*.bin"
CONVERT = (
    "import sys; from transformers import AutoModelForTokenClassification as M, "
    "AutoTokenizer as T; "
    "[X.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2]) for X in (M, T)]"
)


def write_checksums(folder: Path) -> None:
    """Put `checksums.json` beside the files: CRC-32 by name, null for any content.

    It finds what a disk or a copy did, not what a person meant: who can change a file
    can change its checksum. So it need not be slower than this.
    """
    names = sorted(file.name for file in folder.iterdir() if file.name != CHECKSUMS)
    sums = {n: None if n in EDITED else f"{crc32(folder / n):08x}" for n in names}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", "utf-8")


def require_checksums(folder: Path) -> None:
    if not (folder / CHECKSUMS).is_file():
        raise _faulty(folder / CHECKSUMS, "it is missing")


def check_files(folder: Path) -> None:
    """Raise UserError unless the files are those that were saved.

    A folder without `checksums.json` passes, as checkpoints of other makers do.
    """
    file = folder / CHECKSUMS
    if not file.is_file():
        return
    try:
        sums = dict(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise _faulty(file, "it cannot be read") from error
    for name, saved in sums.items():
        file = folder / Path(name).name
        if not file.is_file():
            raise _faulty(file, "it is missing")
        if saved is not None and f"{crc32(file):08x}" != saved:
            raise _faulty(file, "its content is another")


def crc32(file: Path) -> int:
    buffer = memoryview(bytearray(1 << 20))
    value = 0
    with file.open("rb", buffering=0) as handle:
        while n_bytes := handle.readinto(buffer):
            value = zlib.crc32(buffer[:n_bytes], value)
    return value


def _faulty(file: Path, fault: str) -> UserError:
    return UserError(
        f"The file '{file}' was expected as it was saved, but {fault}: it was not "
        "written or copied whole, or the disk is at fault. Take another copy; of a "
        "training that was killed, the other one of model-best and model-last. If you "
        f"changed it on purpose, put null in its line of {CHECKSUMS}."
    )


def is_pickled(name: str, error: Exception) -> bool:
    """Whether weights could not be loaded for being in a pickle, or in no file.

    name: a folder, or a hub id, of whose files nothing but the error is known.
    """
    folder = Path(name)
    is_there = any(folder.glob(PICKLES)) if folder.is_dir() else True
    return is_there and "named model.safetensors" in str(error)


def pickled(name: str) -> UserError:
    made = f"{name.rstrip('/').rpartition('/')[2]}-safetensors"
    made = str(Path(name).parent / made) if Path(name).is_dir() else made
    command = shlex.join(["python", "-c", CONVERT, name, made])
    return UserError(
        f"Weights in model.safetensors were expected in '{name}', but it has none. A "
        "pytorch_model.bin is a pickle, which can run code: it is not read. If you "
        f"trust who made it, convert it, and give the folder '{made}':\n{command}"
    )


def pin(name: str, revision: str | None, config: "PretrainedConfig") -> str | None:
    """The commit of the hub that a revision now is."""
    commit = getattr(config, "_commit_hash", None)
    if commit is None:
        return revision
    if revision is None or not commit.startswith(revision):
        _say_commit(name, commit)
    return commit


@cache
def _say_commit(name: str, commit: str) -> None:
    logging.getLogger(__name__).warning(
        "Taking the commit %s of '%s'. To take the same one always, set it as the "
        "`revision`.",
        commit,
        name,
    )
