"""An output that is written chunk by chunk, and gone on with after whatever end."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import replacing


class PartFile:
    """Beside OUTPUT: `.OUTPUT.part`, what is done, and `.OUTPUT.part.json` about it.

    The second is replaced in one piece, after each chunk, and says how many bytes of
    the first count: behind them is what was being written when a run ended.

    settings: what all chunks have to be made with.
    state: JSON as `append` was given it last, in whichever run; empty before.
    """

    def __init__(self, output: Path, settings: dict[str, str]):
        self.output, self.settings = output, settings
        self.state: dict[str, Any] = {}
        self.path = output.with_name(f".{output.name}.part")
        self._about = output.with_name(f".{output.name}.part.json")
        self._n_bytes = 0
        self._file: Any = None

    @contextmanager
    def open(self, restart: bool) -> Iterator["PartFile"]:
        """Hold it alone, at the end of what is done. With nothing done none stays.

        restart: throw away what is there.
        """
        if self.output.is_dir():
            raise UserError(
                f"A file was expected as the output, but '{self.output}' is a folder. "
                "Name a file in it."
            )
        with self._explained():
            self.output.parent.mkdir(parents=True, exist_ok=True)
            # Without a buffer, so that nothing is written when it is closed.
            handle = os.fdopen(
                os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", 0
            )
        with handle as self._file:
            self._lock()
            if not restart and os.fstat(handle.fileno()).st_size:
                self._go_on()
            with self._explained():
                handle.truncate(self._n_bytes)
                handle.seek(self._n_bytes)
                self._commit()
            try:
                yield self
            finally:
                if not self._n_bytes:
                    self.path.unlink(missing_ok=True)
                    self._about.unlink(missing_ok=True)

    def append(self, data: bytes, state: dict[str, Any]) -> None:
        with self._explained():
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
            self._n_bytes += len(data)
            self.state = state
            self._commit()

    def finish(self) -> None:
        """Make it the output, which is replaced if there is one.

        For a .json file its lines become one list, as some tools want them.
        """
        with self._explained():
            if self.output.suffix == ".json":
                self._write_list()
                self.path.unlink()
            else:
                os.replace(self.path, self.output)
            self._about.unlink()

    def _write_list(self) -> None:
        with (
            self.path.open("rb") as lines,
            replacing(self.output) as unfinished,
            unfinished.open("wb") as file,
        ):
            for line_i, line in enumerate(lines):
                file.write(b",\n" if line_i else b"[\n")
                file.write(line.removesuffix(b"\n"))
            file.write(b"\n]\n")

    def _commit(self) -> None:
        about = {"settings": self.settings, "n_bytes": self._n_bytes}
        unfinished = self._about.with_suffix(".new")
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(about | {"state": self.state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, self._about)

    def _lock(self) -> None:
        """The kernel lets go of it when the process ends, however it does."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one that held it before may just have renamed the file.
            if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path)):
                return
        except (BlockingIOError, FileNotFoundError):
            pass
        raise UserError(
            f"One run at a time was expected to write '{self.output}', but another one "
            "is at it. Wait until it ends, or name another output."
        )

    def _go_on(self) -> None:
        """Take over what an earlier run left."""
        advice = "Give --restart to throw it away and to begin again."
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
            settings, n_bytes = about["settings"], about["n_bytes"]
            if n_bytes > os.fstat(self._file.fileno()).st_size:
                raise ValueError(f"it is shorter than {n_bytes:,} bytes")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"The unfinished output '{self.path}' was expected to be as a run left "
                f"it, with {self._about.name} beside it, but it is not: {error}. "
                f"{advice}"
            ) from error
        others = [
            f"{name} {settings.get(name)!r}, not {value!r}"
            for name, value in self.settings.items()
            if settings.get(name) != value
        ]
        if others and n_bytes:
            raise UserError(
                f"The unfinished output '{self.path}' was expected to be of the same "
                f"run, but it is of another: {'; '.join(others)}. Give what was given "
                f"then, or name another output. {advice}"
            )
        self._n_bytes, self.state = n_bytes, about["state"]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"The output '{self.output}' was expected to be writable, with a part "
                f"beside it, but it is not: {error.strerror}. Make room, correct the "
                "permissions, or name another output."
            ) from error
