"""The virtual environment of the peers: made once, then used again."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from wasabi import msg

from ..errors import UserError
from ..files import write_text


def make_environment(folder: Path, requirements: Path) -> str:
    """Install the requirements in the folder, unless they are there already.

    RETURNS: its interpreter.
    """
    wanted, stamp = requirements.read_text("utf-8"), folder / "installed.txt"
    python = folder / "bin" / "python"
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return str(python)
    if folder.exists() and not (folder / "pyvenv.cfg").is_file():
        raise UserError(
            f"A folder that is yet to be made was expected for the peers' environment, "
            f"but '{folder}' is there and holds something else. Give another --peers."
        )
    msg.text(f"Installing {requirements} in {folder}")
    steps = [
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-r", str(requirements)],
    ]
    for step in steps:
        if subprocess.run(step).returncode:
            raise UserError(
                f"An environment with {requirements} was expected to be made in "
                f"'{folder}', but `{' '.join(step)}` failed, as it says above."
            )
    write_text(wanted, stamp)
    return str(python)


def find_missing(python: str, modules: Sequence[str]) -> set[str]:
    """Those of the modules that an interpreter does not have."""
    code = (
        "import json, sys; from importlib.util import find_spec;"
        "print(json.dumps([name for name in sys.argv[1:] if not find_spec(name)]))"
    )
    command = [python, "-c", code, *modules]
    try:
        run = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"An interpreter was expected at '{python}', but it fails: {error}. Remove "
            "the folder of --peers, so that it is made anew."
        ) from error
    return set(json.loads(run.stdout))
