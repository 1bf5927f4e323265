"""Pipelines as folders: written whole or not at all, and never over what is read."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from .errors import UserError
from .locate import is_pipeline


def check_output(output: Path, inputs: Iterable[Path]) -> None:
    """Raise UserError unless it can be replaced and nothing that is read is lost."""
    place = output.resolve()
    for path in inputs:
        there = path.resolve()
        is_inside = there.is_relative_to(place) or place.is_relative_to(there)
        if path.exists() and is_inside:
            raise UserError(
                "A folder apart from all that is read was expected as the output, "
                f"but '{output}' and '{path}' share files. Give another output folder."
            )
    if output.exists() and not is_pipeline(output):
        raise UserError(
            f"A pipeline to replace, or nothing, was expected at '{output}', but there "
            "is something else. Give another output folder."
        )


class NotWritten(UserError):
    def __init__(self, output: Path, reason: str):
        self.reason = reason
        super().__init__(
            f"A folder that can be written was expected at '{output}', but it cannot: "
            f"{reason}. Correct the path, its permissions or the space on the disk. "
            "What was there is as it was."
        )


@contextmanager
def replacing_folder(output: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `output` if nothing fails, and else nothing.

    Written aside, then renamed: `output` is whole or as it was.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".") as aside:
            made = Path(aside) / "new"
            yield made
            if output.exists():
                output.rename(Path(aside) / "old")
            made.rename(output)
    except NotWritten as error:  # a folder within this one
        raise NotWritten(output, error.reason) from error
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotWritten(output, reason) from error
