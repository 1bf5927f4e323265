"""Weights between a trained pipeline's and its teacher's: no training, one number."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import srsly
from spacy.tokens import Doc
from tqdm import tqdm
from typer import Option
from wasabi import msg

from retainer.cli import run
from retainer.corpus import read_docs
from retainer.errors import UserError
from retainer.files import find_files, replacing, write_text
from retainer.folders import check_output, replacing_folder
from retainer.interpolation import check_weights, draw, move, sweep, sweep_table
from retainer.pipelines import decoder_of, load_student, load_teacher

WRITE, MEASURE = "To write one pipeline", "To measure many weights"
TENTHS = [i / 10 for i in range(11)]


def main(
    teacher: Annotated[str, Option(help="Checkpoint: a folder or a hub id")],
    student: Annotated[str, Option(help="Trained pipeline: a folder or a package")],
    output: Annotated[
        Path,
        Option(
            help="With --weight the folder of the pipeline, replaced if it is one; "
            "else where to write, without suffix"
        ),
    ],
    weight: Annotated[
        float | None,
        Option(
            help="The teacher's share: 0 is the student, 1 the teacher with the "
            "student's new rows",
            rich_help_panel=WRITE,
        ),
    ] = None,
    new: Annotated[
        list[Path] | None,
        Option(
            help="Dev file or folder of the new domain; repeatable",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    old: Annotated[
        list[Path] | None,
        Option(help="The same of the old domain", rich_help_panel=MEASURE),
    ] = None,
    at: Annotated[
        list[float] | None,
        Option(
            "--sweep",
            help="A weight to measure; repeatable; 0, 0.1 and so on to 1 if not given",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    revision: Annotated[
        str | None, Option(help="Commit of the teacher's hub id")
    ] = None,
) -> None:
    """Mix weights: (1 - WEIGHT) * student + WEIGHT * teacher; new rows the student's.

    With --weight, write the pipeline OUTPUT. With --new and --old, write OUTPUT.json,
    OUTPUT.md and OUTPUT.png: F1 at each weight of --sweep. The best weight is chosen
    there, so give dev files, not test files.
    """
    check_options(weight, {"--new": new, "--old": old, "--sweep": at})
    if weight is not None:
        write(teacher, student, output, weight, revision)
    else:
        measure(teacher, student, output, (new, old), at or TENTHS, revision)


def check_options(weight: float | None, many: dict[str, Sequence | None]) -> None:
    """Raise UserError unless they say which of the two is wanted."""
    given = [name for name, values in many.items() if values]
    lacking = [name for name in ("--new", "--old") if name not in given]
    if weight is None and lacking:
        came = f"there is neither --weight nor {' and '.join(lacking)}"
    elif weight is not None and given:
        came = f"--weight came with {', '.join(given)}"
    else:
        return
    raise UserError(
        "Either --weight, to write one pipeline, or --new and --old, to measure many "
        f"weights, was expected, but {came}. Give the options of one of them."
    )


def write(
    teacher: str, student: str, output: Path, weight: float, revision: str | None
) -> None:
    check_weights([weight])
    nlp = load_student(student)
    check_output(output, [nlp.path, Path(teacher)])
    move(nlp, load_teacher(teacher, revision), weight)
    # the scores in it are of other weights
    nlp.meta["performance"] = {}
    nlp.meta["interpolation"] = {"teacher": teacher, "weight": weight}
    with replacing_folder(output) as made:
        nlp.to_disk(made)
    msg.good(f"Saved the pipeline, {weight:g} of it the teacher's, to {output}")


def measure(
    teacher: str,
    student: str,
    output: Path,
    domains: Sequence[Sequence[Path]],
    weights: Iterable[float],
    revision: str | None,
) -> None:
    """domains: files and folders of the new one, and of the old one."""
    check_weights(weights := sorted(set(weights)))
    if not output.name:
        raise UserError(
            "A path that ends in a name was expected as the output, such as "
            f"metrics/sweep, but it is '{output}'. Add a name without suffix."
        )
    files = [find_files(paths) for paths in domains]
    nlp = load_student(student)
    asked = load_teacher(teacher, revision, decoder_of(nlp))
    new, old = ({str(f): list(read_docs(f, nlp)) for f in part} for part in files)
    n_new, n_old = (sum(map(len, part.values())) for part in (new, old))
    total = n_old + len(weights) * (n_new + n_old)  # the teacher reads the old ones
    with tqdm(total=total, unit="doc", leave=False, disable=None) as bar:

        def track(docs: Iterable[Doc], _: int) -> Iterator[Doc]:
            for doc in docs:
                bar.update()
                yield doc

        figures = sweep(asked, nlp, new, old, weights, track)
    show({"teacher": teacher, "student": student, "sweep": figures}, output)


def show(result: dict[str, Any], output: Path) -> None:
    """Print, then write."""
    table = sweep_table(result["sweep"])
    print(table)
    title = (
        "# Between student and teacher\n\nF1 in points. The weight is the teacher's."
    )
    for suffix, text in (
        (".json", srsly.json_dumps(result, indent=2) + "\n"),
        (".md", f"{title}\n\n{table}\n"),
    ):
        write_text(text, output.with_name(output.name + suffix))
    try:
        picture = draw(result["sweep"])
    except ImportError:
        msg.info("No picture, because matplotlib is missing: pip install matplotlib")
    else:
        with replacing(output.with_name(f"{output.name}.png")) as unfinished:
            unfinished.write_bytes(picture)
    best = result["sweep"]["best"]
    if best is not None:
        msg.good(f"Highest harmonic mean of new and old: --weight {best:g}")


if __name__ == "__main__":
    run(main)
