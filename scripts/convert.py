"""Turn CoNLL files into one .spacy file for training or evaluation."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm
from wasabi import msg

from retainer.cli import run
from retainer.corpus import FileCounts, convert

HEADER = ("File", "Sentences", "Tokens", "Repaired", "Cut", "Entities")


def main(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="CoNLL or .spacy files, or folders of them"),
    ],
    output: Annotated[Path, typer.Argument(help="The .spacy file to write")],
    lang: Annotated[
        str, typer.Option(help="Language code of the tokenizer's rules; xx for any")
    ] = "xx",
) -> None:
    """Write the sentences of all INPUTS to one OUTPUT; the inputs stay as they are.

    The closing table counts, beside the entities of each type, the repaired
    ones (those that began with an inside tag or were white space alone) and the
    cuts made because a boundary lay inside what the tokenizer leaves whole.
    """
    track = partial(tqdm, unit=" sentences", disable=None)
    counts = convert(inputs, output, lang, track)
    rows = [_row(file) for file in counts]
    msg.table(rows, header=HEADER, divider=True, aligns=list("lrrrrl"), max_col=200)
    n_sentences = sum(file.n_sentences for file in counts)
    msg.good(f"Saved {n_sentences:,} sentences to {output}")


def _row(file: FileCounts) -> list[str]:
    numbers = (file.n_sentences, file.n_tokens, file.n_repairs, file.n_cuts)
    ents = ", ".join(f"{kind} {n:,}" for kind, n in sorted(file.n_ents.items()))
    return [str(file.path), *(f"{number:,}" for number in numbers), ents or "none"]


if __name__ == "__main__":
    run(main)
