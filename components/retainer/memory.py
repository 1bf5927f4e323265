"""What to do when memory runs out, said in the place of torch's own words."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import UserError

# Of CPUs, of Apple's GPUs and of CUDA's libraries: torch has an own class for CUDA's
# memory alone.
WORDS = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")
LONGEST = 200  # characters of torch's words


@contextmanager
def explaining_memory(purpose: str, advice: str) -> Iterator[None]:
    """Raise UserError in the place of what is raised when memory runs out.

    purpose: "to read texts". advice: what to lower, with its value.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"Enough memory was expected {purpose}, but it has run out: "
            f"{reason[:LONGEST].rstrip('. ')}. {advice}"
        ) from error


def is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error) for words in WORDS)
