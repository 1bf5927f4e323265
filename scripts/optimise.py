"""A trained pipeline, made faster or smaller on a CPU; what that costs is measured."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from spacy.tokens import Doc
from tqdm import tqdm
from typer import Argument, Option
from wasabi import msg

from retainer.cli import run
from retainer.comparison import check_limit, compare, demand, to_table
from retainer.files import find_files
from retainer.folders import check_output, replacing_folder
from retainer.markdown import to_table as to_markdown
from retainer.optimise import Options, optimise
from retainer.pipelines import load_student

WHAT, CHECK = "What is to be done, alone or together", "What it may cost"


def main(
    pipeline: Annotated[str, Argument(help="Trained pipeline: a folder or a package")],
    output: Annotated[
        Path, Argument(help="Folder of the new pipeline, replaced if it is one")
    ],
    onnx: Annotated[
        bool,
        Option("--onnx", help="Run by ONNX Runtime", rich_help_panel=WHAT),
    ] = False,
    int8: Annotated[
        bool,
        Option(
            "--int8",
            help="Most weights in 8 bits, a third of the size; by ONNX Runtime, too",
            rich_help_panel=WHAT,
        ),
    ] = False,
    trim: Annotated[
        list[Path] | None,
        Option(
            help="Text file or folder, as of a replay: drop all pieces that no text "
            "has; repeatable. Give texts of every language that is to be read",
            rich_help_panel=WHAT,
        ),
    ] = None,
    column: Annotated[
        str,
        Option(help="The key or column with the text, in .jsonl, .csv and the like"),
    ] = "text",
    check: Annotated[
        list[Path] | None,
        Option(
            help="Annotated file or folder, to measure both by; repeatable",
            rich_help_panel=CHECK,
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        Option(
            help="Points of F1 (0 to 100) that may be lost, on all these files "
            "together; if more are, nothing is written and the exit status is 1",
            rich_help_panel=CHECK,
        ),
    ] = None,
) -> None:
    """Write PIPELINE, made faster or smaller, to OUTPUT, which spacy.load opens.

    PIPELINE stays as it is. What runs on ONNX Runtime cannot be trained; what is only
    trimmed can.
    """
    options = Options(onnx, int8, tuple(trim or ()), column)
    check_limit(max_loss, check or ())
    files = find_files(check or ())
    nlp = load_student(pipeline)
    check_output(output, [nlp.path, *options.trim, *files])
    with replacing_folder(output) as made:
        optimise(nlp, options)
        nlp.to_disk(made)
        del nlp
        if files:
            measure(pipeline, made, files, max_loss)
    msg.good(f"Saved the pipeline to {output}")


def measure(
    pipeline: str, made: Path, files: list[Path], max_loss: float | None
) -> None:
    """Print what both do. Raise UserError if more is lost than may be."""

    def track(docs: Iterable[Doc], total: int) -> Iterable[Doc]:
        return tqdm(docs, total=total, unit="doc", leave=False, disable=None)

    before, after = load_student(pipeline), load_student(str(made))
    found = compare(before, after, files, track)
    print(to_markdown(to_table(found)), flush=True)
    if max_loss is not None:
        demand(found, max_loss)


if __name__ == "__main__":
    run(main)
