"""Teach a checkpoint new types round by round; what does each round cost the others?"""

import signal
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import srsly
from spacy.tokens import Doc
from tqdm import tqdm
from typer import Option
from wasabi import msg

from retainer.ablation.outputs import can_plot
from retainer.cli import run
from retainer.files import find_files, replacing, write_text
from retainer.rounds.course import Course, parse_rounds, parse_settings
from retainer.rounds.running import run_rounds
from retainer.rounds.summary import summarise, to_markdown

DOMAIN = "file or folder of the new domain, with the types of all rounds"


def main(
    config: Annotated[str, Option(help="As configs/mini.cfg")],
    base: Annotated[str, Option(help="Checkpoint or pipeline of the first round")],
    rounds: Annotated[
        list[str],
        Option("--round", help="Types to add, with commas; repeat it for each round"),
    ],
    train: Annotated[list[Path], Option(help=f"Training {DOMAIN}")],
    dev: Annotated[list[Path], Option(help=f"Development {DOMAIN}")],
    test: Annotated[list[Path], Option(help=f"Test {DOMAIN}")],
    old: Annotated[list[Path], Option(help="Test file or folder of the base's types")],
    pipelines: Annotated[Path, Option(help="Folder to train in, or to go on with")],
    output: Annotated[Path, Option(help="Where to write, without suffix")],
    replay: Annotated[
        Path | None, Option(help="Texts that all rounds are to go on reading well")
    ] = None,
    settings: Annotated[
        list[str] | None,
        Option("--set", help="Setting of the config, as training.max_epochs=5"),
    ] = None,
) -> None:
    """Write OUTPUT.md, .json and .png, anew after each round.

    Each round starts from the pipeline of the round before, which is its teacher too.
    The training sentences are dealt out among the rounds, and in each only the types of
    that round are annotated. A round that is done is not done again, unless the config,
    the files or a round before it changed; code is not looked at.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    files = {"train": train, "dev": dev, "test": test, "old": old}
    course = Course(
        config,
        base,
        parse_rounds(rounds),
        {part: find_files(paths) for part, paths in files.items()}
        | {"replay": [] if replay is None else [replay]},
        pipelines,
        parse_settings(settings or ()),
    )
    if not can_plot():
        msg.info("No picture: it needs `pip install retainer[plots]`")
    follow(course, output)
    print(write_outputs(course, output), end="")


def follow(course: Course, output: Path) -> None:
    """Do the rounds, show how far they are, and write what there is after each."""

    def track(docs: Iterable[Doc], total: int) -> Iterable[Doc]:
        return tqdm(docs, total=total, unit="doc", leave=False, disable=None)

    names = [one.name for one in course.rounds]
    n_done = len(course.results())
    with (
        tqdm(total=len(names), initial=n_done, unit="round", disable=None) as bar,
        closing(run_rounds(course, track)) as results,
    ):
        bar.set_postfix_str(" ".join(names[n_done : n_done + 1]))
        for name, result in zip(names[n_done:], results, strict=True):
            bar.write(f"{name}: {line_of(result['f1'])}")
            write_outputs(course, output)
            bar.update()
            bar.set_postfix_str(" ".join(names[bar.n : bar.n + 1]))


def line_of(f1: dict[str, float | None]) -> str:
    """Example: "PER 80.1, LOC 72.4, PHONE -" """
    return ", ".join(f"{k} {'-' if x is None else f'{x:.1f}'}" for k, x in f1.items())


def write_outputs(course: Course, output: Path) -> str:
    """RETURNS: the Markdown."""
    summary = summarise(course.results())
    text = to_markdown(summary, len(course.rounds) - 1)
    data = srsly.json_dumps(summary, indent=2) + "\n"
    write_text(data, output.with_name(output.name + ".json"))
    write_text(text, output.with_name(output.name + ".md"))
    if can_plot():
        from retainer.rounds.plot import draw

        with replacing(output.with_name(output.name + ".png")) as path:
            draw(summary, path)
    return text


if __name__ == "__main__":
    run(main)
