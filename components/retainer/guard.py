"""Around `spacy train`: its output folder is held, and a mistake is one message."""

import errno
import os
import sys
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

from spacy.language import Language
from spacy.util import logger

from .cli import show
from .errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"  # in the output folder; it stays there, but is held by nobody


def configure_guard() -> Callable[[Language], Language]:
    """`retainer.guard_training.v1`, for `before_init`: as early as spaCy lets us."""
    return guard


def guard(nlp: Language) -> Language:
    """Hold the folder that `spacy train` writes to as long as the pipeline lives.

    Without it a second training would delete, when it starts, what the first has saved.
    Raises UserError if another process holds it. Nothing happens outside `spacy train`.
    """
    output = find_output()
    if output is not None and fcntl is not None:
        weakref.finalize(nlp, hold(output).close)
    if output is not None and sys.excepthook is sys.__excepthook__:
        sys.excepthook = show_mistake
    return nlp


def find_output() -> Path | None:
    """What the `spacy train` that runs in this thread was told to write to.

    It tells nobody, neither by the config nor by a callback, so its frame is looked at.
    """
    command = sys.modules.get("spacy.cli.train")
    for frame, _ in traceback.walk_stack(None):
        if command is not None and frame.f_code is command.train.__code__:
            return frame.f_locals["output_path"]
    return None


def hold(folder: Path) -> IO[str]:
    """RETURNS: a file that is to be kept open. The kernel lets go of it when the
    process ends, however it does, and lets the same process take it twice."""
    try:
        handle = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"A folder that can be written was expected as the output, but '{folder}' "
            f"cannot: {error.strerror}. Correct the path or its permissions."
        ) from error
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            logger.warning("'%s' cannot be locked: %s", folder, error.strerror)
            return handle
        handle.seek(0)
        holder = handle.read().strip()
        handle.close()
        raise UserError(
            f"One training at a time was expected to write to '{folder}', but the "
            f"process {holder} does already. Wait until it ends, or give another "
            "--output."
        ) from error
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return handle


def show_mistake(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """As an excepthook: spaCy shows a user's mistake without a traceback until the
    training begins, and no longer."""
    if isinstance(error, UserError):
        show(error)
    else:
        sys.__excepthook__(kind, error, trace)
