"""What a trained pipeline forgot and what it learnt, against the teacher."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import srsly
from spacy.tokens import Doc
from tqdm import tqdm
from typer import Option

from retainer.budget import check_limits, demand, describe_budget, judge
from retainer.cli import run
from retainer.errors import UserError
from retainer.files import find_files, write_text
from retainer.locate import is_pipeline
from retainer.markdown import summary_table, to_markdown
from retainer.pipelines import decoder_of, load_student, load_teacher
from retainer.report import build_report
from retainer.report_page import to_html


def main(
    teacher: Annotated[str, Option(help="Checkpoint: a folder or a hub id")],
    student: Annotated[str, Option(help="Trained pipeline: a folder or a package")],
    new: Annotated[list[Path], Option(help="Test file or folder of the new domain")],
    old: Annotated[list[Path], Option(help="Test file or folder of the old domain")],
    output: Annotated[Path, Option(help="Where to write, without suffix")],
    revision: Annotated[
        str | None, Option(help="Commit of the teacher's hub id")
    ] = None,
    max_forgetting: Annotated[
        float | None,
        Option(
            help="Points of F1 (0 to 100) that each file of the old domain may lose; "
            "if one loses more, the exit status is 1"
        ),
    ] = None,
    min_entities: Annotated[
        int,
        Option(help="Gold entities of old types that a file needs to count for that"),
    ] = 0,
) -> None:
    """Score teacher and student on both domains; write OUTPUT.json, .md and .html."""
    check_limits(max_forgetting, min_entities)
    check_apart(teacher, student)
    new_files, old_files = find_files(new), find_files(old)

    def track(docs: Iterable[Doc], total: int) -> Iterable[Doc]:
        return tqdm(docs, total=total, unit="doc", leave=False, disable=None)

    nlp = load_student(student)
    report = build_report(
        load_teacher(teacher, revision, decoder_of(nlp)),
        nlp,
        new_files,
        old_files,
        track,
    )
    if max_forgetting is not None:
        report["budget"] = judge(report["forgetting"], max_forgetting, min_entities)
    for suffix, text in (
        (".json", srsly.json_dumps(report, indent=2) + "\n"),
        (".md", to_markdown(report)),
        (".html", to_html(report)),
    ):
        write_text(text, output.with_name(output.name + suffix))
    print(summary_table(report))
    if max_forgetting is not None:
        print(f"\n{describe_budget(report['budget'])}", flush=True)
        demand(report["budget"], f"{output}.html")


def check_apart(teacher: str, student: str) -> None:
    """Raise UserError if a pipeline is to be its own teacher: it forgot nothing."""
    paths = Path(teacher), Path(student)
    if all(map(is_pipeline, paths)) and paths[0].samefile(paths[1]):
        raise UserError(
            f"A teacher other than the student was expected, but both are '{student}'. "
            "Give what the student was trained from; what is to be the base of a next "
            "training needs a folder that the training does not write to."
        )


if __name__ == "__main__":
    run(main)
