"""What a trained pipeline forgot and what it learnt, against the teacher."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import srsly
from spacy.tokens import Doc
from tqdm import tqdm
from typer import Option

from retainer.cli import run
from retainer.files import find_files, write_text
from retainer.markdown import summary_table, to_markdown
from retainer.report import (
    build_report,
    load_student,
    load_teacher,
)


def main(
    teacher: Annotated[str, Option(help="Checkpoint: a folder or a hub id")],
    student: Annotated[str, Option(help="Trained pipeline: a folder or a package")],
    new: Annotated[list[Path], Option(help="Test file or folder of the new domain")],
    old: Annotated[list[Path], Option(help="Test file or folder of the old domain")],
    output: Annotated[Path, Option(help="Where to write, without suffix")],
    revision: Annotated[
        str | None, Option(help="Commit of the teacher's hub id")
    ] = None,
) -> None:
    """Score teacher and student on both domains; write OUTPUT.json and OUTPUT.md."""
    new_files, old_files = find_files(new), find_files(old)

    def track(docs: Iterable[Doc], total: int) -> Iterable[Doc]:
        return tqdm(docs, total=total, unit="doc", leave=False, disable=None)

    report = build_report(
        load_teacher(teacher, revision),
        load_student(student),
        new_files,
        old_files,
        track,
    )
    for suffix, text in (
        (".json", srsly.json_dumps(report, indent=2) + "\n"),
        (".md", to_markdown(report)),
    ):
        write_text(text, output.with_name(output.name + suffix))
    print(summary_table(report))


if __name__ == "__main__":
    run(main)
