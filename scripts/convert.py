"""Turn files of data into one: for training, for another tool, for an annotator."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm
from wasabi import msg

from retainer.cli import run
from retainer.convert import OUTPUTS, convert
from retainer.corpus import FileCounts
from retainer.faults import N_SHOWN, REMEDIES, Fault, count_kinds, listing
from retainer.files import write_text
from retainer.formats import STYLES
from retainer.layout import SEPARATORS, ReadOptions
from retainer.schemes import SCHEMES

HEADER = ("File", "Sentences", "Tokens", "Faults", "Cut", "Entities", "Read as")


def main(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Files or folders: CoNLL, JSON lines of annotation tools, .spacy, "
            ".parquet, compressed or not; - for the standard input; "
            "hf:DATASET?name=...&split=... for a dataset of the hub or a folder"
        ),
    ],
    output: Annotated[
        Path, typer.Argument(help=f"The file to write, of {', '.join(OUTPUTS)}")
    ],
    lang: Annotated[
        str, typer.Option(help="Language code of the tokenizer's rules; xx for any")
    ] = "xx",
    style: Annotated[
        str, typer.Option(help=f"Of a JSON output: {', '.join(STYLES)}")
    ] = STYLES[0],
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail on any fault and write nothing")
    ] = False,
    faults: Annotated[
        Path | None, typer.Option(help="Write the list of all faults to this file")
    ] = None,
    token_column: Annotated[
        str | None,
        typer.Option(help="1 for the first column, -1 for the last; a dataset's name"),
    ] = None,
    tag_column: Annotated[
        str | None, typer.Option(help="As --token-column; found if not given")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help=f"{' or '.join(SEPARATORS)}; found if not given")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help=f"{', '.join(SCHEMES)}; found if not given")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of text files")] = "utf-8",
) -> None:
    """Write what all INPUTS hold to one OUTPUT; the inputs stay as they are.

    The closing table says how each file was read. What was wrong in them is listed
    with file and line, and what was done about it. Cut: the entities' bounds that lay
    inside what the tokenizer leaves whole.
    """
    options = ReadOptions(token_column, tag_column, separator, scheme, encoding)
    track = partial(tqdm, unit=" sentences", disable=None)
    counts, found = convert(
        inputs, output, lang, track, options=options, style=style, strict=strict
    )
    rows = [_row(file) for file in counts]
    msg.table(rows, header=HEADER, divider=True, aligns=list("lrrrrll"), max_col=200)
    for file in counts:
        for what, n in file.log.skipped.items():
            if n:
                msg.info(f"{file.path}: passed over {n:,} {what}")
    _print_faults(found)
    if faults is not None:
        write_text("".join(f"{fault}\n" for fault in found), faults)
    n_sentences = sum(file.n_sentences for file in counts)
    msg.good(f"Saved {n_sentences:,} sentences to {output}")


def _row(file: FileCounts) -> list[str]:
    numbers = (file.n_sentences, file.n_tokens, len(file.log.faults), file.n_cuts)
    ents = ", ".join(f"{kind} {n:,}" for kind, n in sorted(file.n_ents.items()))
    cells = (f"{number:,}" for number in numbers)
    return [str(file.path), *cells, ents or "none", file.log.layout]


def _print_faults(faults: list[Fault]) -> None:
    for kind, n in count_kinds(faults).items():
        msg.warn(f"{n:,} of '{kind}': {REMEDIES[kind]}")
        print(listing([fault for fault in faults if fault.kind == kind], N_SHOWN))


if __name__ == "__main__":
    run(main)
