"""Speed and memory beside what users would take instead: whole processes, in turns."""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from tqdm import tqdm
from wasabi import msg

from retainer.cli import run
from retainer.conll import format_sentence, read_conll
from retainer.errors import UserError
from retainer.files import find_files

SCRIPTS = Path(__file__).parent


@dataclass
class Run:
    """One process: seconds on the clock and of processors, peak memory in MB."""

    wall: float
    cpu: float
    peak: float


def main(
    inputs: Annotated[list[Path], typer.Argument(help="CoNLL files or folders")],
    tokens: Annotated[
        int, typer.Option(min=1, help="The inputs are repeated until there are as many")
    ] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Of each command")] = 5,
) -> None:
    """Time convert.py against `spacy convert`, on the same file of CoNLL."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "all.conll"
        n_tokens = write_corpus(inputs, source, tokens)
        ours = [str(SCRIPTS / "convert.py"), str(source), str(folder / "ours.spacy")]
        theirs = ["convert", str(source), str(folder), "--converter", "ner"]
        commands = {
            "scripts/convert.py": ours,
            "spacy convert": ["-m", "spacy", *theirs, "--lang", "xx"],
        }
        measured: dict[str, list[Run]] = {name: [] for name in commands}
        for _ in tqdm(range(runs), unit=" pairs", disable=None):
            for name, command in commands.items():
                measured[name].append(measure([sys.executable, *command]))
    print_table(measured, n_tokens)


def write_corpus(inputs: Sequence[Path], path: Path, n_wanted: int) -> int:
    """RETURNS: how many tokens the file holds. Each input is there as often."""
    sentences = [s for file in find_files(inputs) for s in read_conll(file)]
    text = "".join(format_sentence(s.tokens, s.tags) for s in sentences)
    n_tokens = sum(len(sentence.tokens) for sentence in sentences)
    n_times = -(-n_wanted // n_tokens)
    path.write_text(text * n_times, encoding="utf-8")
    return n_tokens * n_times


def measure(command: Sequence[str]) -> Run:
    """A process from its start to its end, as the kernel accounts for it."""
    started = time.perf_counter()
    silence = os.open(os.devnull, os.O_WRONLY)
    streams = [(os.POSIX_SPAWN_DUP2, silence, 1), (os.POSIX_SPAWN_DUP2, silence, 2)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=streams)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - started
    os.close(silence)
    if status:
        raise UserError(
            f"A run without an error was expected, but `{' '.join(command)}` ended "
            f"with {os.waitstatus_to_exitcode(status)}. Run it by itself to see why."
        )
    peak = (
        usage.ru_maxrss / 1024 if sys.platform == "linux" else usage.ru_maxrss / 2**20
    )
    return Run(wall, usage.ru_utime + usage.ru_stime, peak)


def print_table(measured: dict[str, list[Run]], n_tokens: int) -> None:
    """Medians, and the medians of the ratios of the first command to the others."""
    rows = []
    ours = next(iter(measured.values()))
    for name, runs in measured.items():
        pairs = list(zip(ours, runs, strict=True))
        rows.append(
            [
                name,
                f"{median(run.wall for run in runs):.1f}",
                f"{n_tokens / median(run.wall for run in runs):,.0f}",
                f"{median(run.peak for run in runs):,.0f}",
                f"{median(b.wall / a.wall for a, b in pairs):.2f}",
                f"{median(b.cpu / a.cpu for a, b in pairs):.2f}",
                f"{median(b.peak / a.peak for a, b in pairs):.2f}",
            ]
        )
    header = ["command", "s", "tokens/s", "peak MB", "x time", "x processor", "x peak"]
    msg.text(f"{n_tokens:,} tokens, {len(ours)} runs of each in turn, medians")
    msg.table(rows, header=header, divider=True, aligns=["l", *"rrrrrr"])


if __name__ == "__main__":
    run(main)
