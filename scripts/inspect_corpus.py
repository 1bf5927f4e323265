"""What a corpus is like, and which regime a training on it is in."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import srsly
from spacy.language import Language
from spacy.tokens import Doc
from tqdm import tqdm
from typer import Option
from wasabi import msg

from retainer.cli import run
from retainer.corpus import blank_pipeline, read_docs
from retainer.faults import FileLog
from retainer.files import find_files, write_text
from retainer.inspection import LIMIT, inspect_corpus
from retainer.inspection.page import to_html
from retainer.inspection.sections import sections
from retainer.inspection.tables import Table, show
from retainer.pipelines import load_teacher

MOST_ROWS = 12  # of a table in the terminal
WIDEST = 60


def main(
    train: Annotated[list[Path], Option(help="File or folder to train on; repeatable")],
    dev: Annotated[list[Path] | None, Option(help="The same, to choose by")] = None,
    test: Annotated[list[Path] | None, Option(help="The same, to report on")] = None,
    base: Annotated[
        str | None,
        Option(help="Checkpoint to train, and its teacher: a folder or a hub id"),
    ] = None,
    output: Annotated[Path, Option(help="Where to write, without suffix")] = Path(
        "metrics/corpus"
    ),
    limit: Annotated[
        int, Option(min=1, help="Texts of train that the teacher reads, evenly sampled")
    ] = LIMIT,
    revision: Annotated[
        str | None, Option(help="Commit of the checkpoint's hub id")
    ] = None,
) -> None:
    """Inspect CoNLL and .spacy files; write OUTPUT.json and OUTPUT.html.

    Without --base, what needs a checkpoint is left out.
    """
    nlp = blank_pipeline("xx")
    given = {"train": train, "dev": dev, "test": test}
    files = {split: find_files(paths) for split, paths in given.items() if paths}
    logs = {path: FileLog(str(path)) for paths in files.values() for path in paths}
    splits = {
        split: {str(path): read(path, nlp, logs[path]) for path in paths}
        for split, paths in files.items()
    }
    teacher = None if base is None else load_teacher(base, revision)

    def track(items: Iterable, total: int) -> Iterable:
        return tqdm(items, total=total, unit="text", leave=False, disable=None)

    figures = inspect_corpus(splits, teacher, limit, track, list(logs.values()))
    figures = {"base": base, **figures}
    for suffix, text in (
        (".json", srsly.json_dumps(figures, indent=2) + "\n"),
        (".html", to_html(figures, base)),
    ):
        write_text(text, output.with_name(output.name + suffix))
    print_tables(figures)
    msg.text(f"The whole of it: {output}.html, and for programs {output}.json")


def read(path: Path, nlp: Language, log: FileLog) -> Iterator[Doc]:
    """The Docs of a file, with a progress bar that comes with the first."""
    docs = read_docs(path, nlp, log=log)
    yield from tqdm(docs, path.name, unit="text", leave=False, disable=None)


def print_tables(figures: dict) -> None:
    sys.stdout.reconfigure(errors="replace")  # not every console can show all scripts
    for section in sections(figures):
        msg.divider(section.title)
        msg.text(section.lead, show=bool(section.lead), spaced=True)
        for table in section.tables:
            print_table(table)
    msg.divider("Findings")
    for finding in figures["findings"]:
        show_finding = msg.warn if finding["level"] == "warning" else msg.info
        show_finding(finding["text"])
    if not figures["findings"]:
        msg.good("Nothing to act on")


def print_table(table: Table) -> None:
    rows = [[show(cell) for cell in row] for row in table.rows[:MOST_ROWS]]
    rows = [[c if len(c) <= WIDEST else c[: WIDEST - 1] + "…" for c in r] for r in rows]
    msg.text(f"{table.caption}:", color="blue")
    msg.table(
        rows,
        header=table.header,
        divider=True,
        aligns=list(table.aligns),
        max_col=WIDEST,
    )
    n_left = len(table.rows) - len(rows)
    msg.text(f"and {n_left:,} more on the page", show=n_left > 0)


if __name__ == "__main__":
    run(main)
