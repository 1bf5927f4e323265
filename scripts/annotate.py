"""Entities that a pipeline sees in raw texts, for an annotation tool to correct."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from spacy.language import Language
from tqdm import tqdm
from typer import Argument, Exit, Option
from wasabi import msg

from retainer.annotate import Totals, annotate, fingerprint, how_to_go_on
from retainer.cli import run
from retainer.errors import UserError
from retainer.partfile import PartFile
from retainer.pipelines import load_student
from retainer.texts import TextFile


def main(
    pipeline: Annotated[str, Argument(help="Trained pipeline: a folder or a package")],
    texts: Annotated[
        Path,
        Argument(
            metavar="INPUT",
            help="A text a line (.txt), .jsonl, .csv or .tsv (all of them also .gz, "
            ".bz2, .xz), or .parquet",
        ),
    ],
    output: Annotated[
        Path,
        Argument(
            help="A .jsonl file of a record a line, or a .json file of a list of them, "
            "which Label Studio wants; replaced, if it is there, when all is done",
        ),
    ],
    column: Annotated[
        str, Option(help="Key or column of the text; the others become the meta")
    ] = "text",
    style: Annotated[
        Literal["prodigy", "doccano", "label-studio"], Option(help="The tool to be fed")
    ] = "prodigy",
    restart: Annotated[
        bool, Option("--restart", help="Throw away what an earlier run left undone")
    ] = False,
) -> None:
    """Write the entities of each text of INPUT, with confidences, to OUTPUT.

    When it is interrupted, the same command goes on from there; until it is done, the
    results are in .OUTPUT.part beside the output.
    """
    if output.suffix not in (".jsonl", ".json") or output.resolve() == texts.resolve():
        raise UserError(
            "A .jsonl or .json file, which is not the input, was expected as the "
            f"output, but it is '{output}'. Name another file."
        )
    # Else oneDNN keeps what it made for each of 1,024 shapes of batches, of which
    # hardly one comes again.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    source = TextFile(texts, column)
    part = PartFile(output, {"style": style, "column": column})
    try:
        nlp = load_student(pipeline)
        part.settings["pipeline"] = fingerprint(nlp.path)
        with part.open(restart):
            totals = _annotate(nlp, source, part, style)
    except KeyboardInterrupt:
        print(f"Interrupted. {how_to_go_on(part)}", file=sys.stderr)
        raise Exit(130) from None
    _summarise(totals, source, output)


def _annotate(nlp: Language, source: TextFile, part: PartFile, style: str) -> Totals:
    totals = Totals(**part.state)
    if totals.n_texts:
        msg.info(f"Going on after {totals.n_texts:,} texts")
    with tqdm(unit=" texts", initial=totals.n_texts, disable=None) as bar:
        for totals in annotate(nlp, source, part, style):
            bar.total = source.estimate(totals.n_texts) or bar.total
            bar.update(totals.n_texts - bar.n)
        bar.total = totals.n_texts
    return totals


def _summarise(totals: Totals, source: TextFile, output: Path) -> None:
    ents = ", ".join(f"{kind} {n:,}" for kind, n in sorted(totals.n_ents.items()))
    msg.good(f"Saved {totals.n_texts:,} texts to {output}")
    print(f"Texts of white space alone: {totals.n_blank:,}")
    print(f"Blank lines passed over: {source.n_blank_lines:,}")
    print(f"Entities: {ents or 'none'}")
    speed = totals.n_words / totals.seconds
    print(
        f"Words (tokens of the pipeline): {totals.n_words:,} in {totals.seconds:.1f} s "
        f"after loading, {speed:,.0f} words/s"
    )


if __name__ == "__main__":
    run(main)
