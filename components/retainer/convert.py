"""From any file of data to any: CoNLL, .spacy, JSON of annotation tools, datasets."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from spacy.tokens import Doc
from spacy.training.corpus import FILE_TYPE

from .corpus import FileCounts, blank_pipeline, read_docs
from .docbin import write_docs
from .errors import UserError
from .export import write_conll, write_records
from .faults import Fault, FileLog, check_strict, rare_types
from .files import JSON_SUFFIXES, TEXT_SUFFIXES, data_suffix, find_files
from .formats import STYLES
from .layout import ReadOptions

CACHE_SIZE = 1 << 18  # words; spaCy's 10,000 are few for several languages
OUTPUTS = (FILE_TYPE, *TEXT_SUFFIXES, *JSON_SUFFIXES)


def convert(
    inputs: Sequence[Path],
    output: Path,
    lang: str = "xx",
    track: Callable[[Iterable[Doc]], Iterable[Doc]] = iter,
    *,
    options: ReadOptions | None = None,
    style: str = STYLES[0],
    strict: bool = False,
) -> tuple[list[FileCounts], list[Fault]]:
    """Write the Docs of all the input files to one file, and count them.

    inputs: files and folders. A folder may hold the output, which is passed over.
    output: its suffix, of OUTPUTS, says what to write. style: of a JSON file.
    track: is given the Docs to iterate, and may show the progress.
    strict: write nothing when there is any fault, and raise UserError.
    RETURNS: the counts of each file, and all faults.
    """
    _check_output(output, inputs, style)
    nlp = blank_pipeline(lang)
    nlp.tokenizer.max_cache_size = CACHE_SIZE
    files = [path for path in find_files(inputs) if path.resolve() != output.resolve()]
    if not files:
        raise UserError(
            f"Inputs beside the output were expected, but '{output}' is all that "
            "there is. Name others, or another output."
        )
    counts = [FileCounts(path, FileLog(str(path))) for path in files]
    written = FileLog(str(output))
    faults: list[Fault] = []

    def read_all() -> Iterator[Doc]:
        for file in counts:
            for doc in read_docs(file.path, nlp, options, file.log):
                file.add(doc)
                yield doc
        faults.extend(all_faults(counts))
        if strict:
            check_strict(faults)

    docs = track(read_all())
    if output.suffix == FILE_TYPE:
        is_plain = all(data_suffix(path) != FILE_TYPE for path in files)
        write_docs(docs, output, is_plain=is_plain)
    elif output.suffix in JSON_SUFFIXES:
        write_records(docs, output, style)
    else:
        write_conll(docs, output, written, strict=strict)
    return counts, faults + written.faults


def all_faults(counts: Sequence[FileCounts]) -> list[Fault]:
    """The faults of the files by line, and those of all files taken as one corpus."""
    n_ents = sum((file.n_ents for file in counts), start=Counter())
    places: dict[str, str] = {}
    for file in reversed(counts):
        places |= file.places
    own = chain.from_iterable(sorted(f.log.faults, key=_line) for f in counts)
    return [*own, *rare_types(n_ents, places)]


def _line(fault: Fault) -> int:
    line = fault.place.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


def _check_output(output: Path, inputs: Sequence[Path], style: str) -> None:
    if output.suffix not in OUTPUTS or output.is_dir():
        raise UserError(
            f"A file that ends in {', '.join(OUTPUTS)} was expected as the output, "
            f"behind all inputs, but it is '{output}'. Name such a file last."
        )
    if output.resolve() in [path.resolve() for path in inputs]:
        raise UserError(
            f"An output that is none of the inputs was expected, but '{output}' is "
            "given as both. Name another file for the output."
        )
    if style not in STYLES:
        raise UserError(
            f"A style of {', '.join(STYLES)} was expected, but it is '{style}'. "
            "Correct it."
        )
