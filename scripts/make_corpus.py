"""Write the sample corpus: CoNLL files of ten languages, general and delivery."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from retainer.cli import run
from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.sample import STYLES, make_files, read_templates

TEMPLATES = Path(__file__).parents[1] / "corpus" / "templates"


def main(
    output: Annotated[Path, typer.Argument(help="Folder to write")] = Path(
        "corpus/conll"
    ),
    templates: Annotated[Path, typer.Option(help="One .yml a language")] = TEMPLATES,
    sentences: Annotated[
        int, typer.Option(min=1, help="In each file of general/train; others follow")
    ] = 600,
    seed: Annotated[int, typer.Option(help="Another seed, another corpus")] = 0,
) -> None:
    """Write OUTPUT/general and OUTPUT/delivery, one CoNLL file a language and split."""
    paths = sorted(templates.glob("*.yml"))
    if not paths:
        raise UserError(
            f"Template files (.yml) were expected in the folder '{templates}', but "
            "there are none. Correct --templates."
        )
    nlp = blank_pipeline("xx")
    files: dict[str, str] = {}
    for path in paths:
        made = make_files(read_templates(path), nlp, sentences, seed)
        files |= {f"{name}/{path.stem}.conll": text for name, text in made.items()}
    write_files(files, output)
    print(f"{len(files)} files for {len(paths)} languages in {output}")


def write_files(files: dict[str, str], output: Path) -> None:
    """Write everything aside, then put each style's folder in its place."""
    for style in STYLES:
        _check_replaceable(output / style)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".") as aside:
        for name, text in files.items():
            path = Path(aside, "new", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        Path(aside, "old").mkdir()
        for style in STYLES:
            if (output / style).exists():
                (output / style).rename(Path(aside, "old", style))
            Path(aside, "new", style).rename(output / style)


def _check_replaceable(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    others = sorted(str(path) for path in files if path.suffix != ".conll")
    if folder.is_file() or others:
        raise UserError(
            f"A folder of .conll files, to be replaced, was expected at '{folder}', "
            f"but there is {(others or [str(folder)])[0]}. Give another output folder."
        )


if __name__ == "__main__":
    run(main)
