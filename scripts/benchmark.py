"""Speed and memory beside what users would take instead: whole processes, in turns."""

import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from tqdm import tqdm
from typer import Argument, Option

from retainer.ablation.training import threads_of_each
from retainer.benchmark.conversion import (
    conversion_contenders,
    conversion_tables,
    write_corpus,
)
from retainer.benchmark.loading import (
    LOAD_NOTES,
    SCALE_NOTES,
    load_tables,
    save_pipelines,
    scale_contenders,
    scale_tables,
)
from retainer.benchmark.outputs import write_outputs
from retainer.benchmark.processes import Bench, Contender, Measured
from retainer.benchmark.samples import read_samples
from retainer.benchmark.training import NOTES as TRAIN_NOTES
from retainer.benchmark.training import (
    Lesson,
    train_in_turns,
    training_contenders,
    training_tables,
)
from retainer.benchmark.use import NOTES as USE_NOTES
from retainer.benchmark.use import use_contenders, use_job, use_tables, words_of_ours
from retainer.benchmark.workers import Workers, make_loadable
from retainer.checkpoint import load_config, tags_of
from retainer.cli import run
from retainer.labels import entity_types

SCRIPTS = Path(__file__).parent.absolute()
CONFIG = SCRIPTS.parent / "configs" / "mini.cfg"

Inputs = Annotated[list[Path], Argument(help="CoNLL files or folders")]
Base = Annotated[Path, Option(help="Checkpoint folder: teacher, and what is run")]
Output = Annotated[Path, Option(help="Folder for SUBJECT.md and SUBJECT.json")]
Peers = Annotated[
    Path | None,
    Option(help="Folder of the peers' environment, made if it is not there"),
]
Rounds = Annotated[int, Option(min=1, help="Of each contender, in turns")]
Threads = Annotated[int, Option(min=1, help="Of each process")]
Words = Annotated[int, Option(min=1, help="Read no more sentences than it takes")]
Precision = Annotated[str, Option(help="auto, float32 or bfloat16")]
N_THREADS = threads_of_each(1)


def convert(
    inputs: Inputs,
    output: Output = Path("metrics/benchmark"),
    words: Annotated[
        int, Option(min=1, help="The inputs are repeated until there are as many")
    ] = 1_000_000,
    runs: Rounds = 5,
) -> None:
    """convert.py against `spacy convert`, on the same file of CoNLL."""
    with bench_of(threads=N_THREADS) as (bench, _):
        source = bench.folder / "all.conll"
        n_words = write_corpus(inputs, source, words)
        contenders = conversion_contenders(SCRIPTS, source)
        for measured in follow(bench.take_turns(contenders, runs), contenders, runs):
            tables = conversion_tables(measured, n_words)
            settings = {"words": n_words, "runs": runs, "threads": N_THREADS}
            shown = write_outputs(output, "convert", settings, measured, tables)
    print(shown, end="")


def use(
    inputs: Inputs,
    checkpoint: Base,
    output: Output = Path("metrics/benchmark"),
    peers: Peers = None,
    words: Words = 20_000,
    calls: Annotated[int, Option(min=1, help="With one short text each")] = 300,
    batch_size: Annotated[int, Option(min=1, help="Of peers that take one")] = 32,
    runs: Rounds = 5,
    threads: Threads = N_THREADS,
) -> None:
    """Reading texts, as a stream and one at a time, and F1 over the old types."""
    types = entity_types(tags_of(load_config(str(checkpoint), None)))
    samples = read_samples(inputs, words)
    with bench_of(threads, peers) as (bench, workers):
        loadable = make_loadable(checkpoint, bench.folder / "loadable")
        job = use_job(samples, words_of_ours(samples), calls)
        contenders = use_contenders(workers, checkpoint, loadable, job, batch_size)
        settings = {"texts": len(samples), "words": words, "calls": calls}
        settings |= {"runs": runs, "threads": threads}
        for measured in follow(bench.take_turns(contenders, runs), contenders, runs):
            tables = use_tables(measured, samples, types)
            shown = write_outputs(output, "use", settings, measured, tables, USE_NOTES)
    print(shown, end="")


def train(
    inputs: Inputs,
    checkpoint: Base,
    test: Annotated[Path, Option(help="CoNLL that F1 is measured on")],
    output: Output = Path("metrics/benchmark"),
    peers: Peers = None,
    replay: Annotated[
        Path | None, Option(help="Texts: retainer is also run with these replayed")
    ] = None,
    sentences: Annotated[int | None, Option(min=1, help="All, if not given")] = None,
    epochs: Annotated[int, Option(min=1)] = 3,
    batch_size: Annotated[int, Option(min=1, help="Of the peers")] = 16,
    rate: Annotated[float, Option(help="The peers' learning rate")] = 3e-4,
    seed: int = 0,
    runs: Rounds = 3,
    threads: Threads = N_THREADS,
) -> None:
    """Training on new types: configs/mini.cfg, the classic recipe, and a bare loop."""
    config = load_config(str(checkpoint), None)
    with bench_of(threads, peers) as (bench, workers):
        taught, old_tags = read_samples(inputs)[:sentences], tags_of(config)
        lesson = Lesson.of(taught, read_samples([test]), old_tags, bench.folder)
        lesson.write()
        job = {"epochs": epochs, "batch_size": batch_size, "rate": rate, "seed": seed}
        n_layers = config.num_hidden_layers
        arguments = (workers, lesson, checkpoint, CONFIG, replay, job, n_layers)
        contenders = training_contenders(*arguments)
        turns = train_in_turns(bench, workers, lesson, contenders, runs)
        settings = {"sentences": len(taught), **job, "runs": runs, "threads": threads}
        for measured in follow(turns, contenders, runs):
            tables = training_tables(measured, lesson, epochs)
            shown = write_outputs(
                output, "train", settings, measured, tables, TRAIN_NOTES
            )
    print(shown, end="")


def load(
    checkpoint: Base,
    output: Output = Path("metrics/benchmark"),
    peers: Peers = None,
    runs: Rounds = 5,
    threads: Threads = N_THREADS,
) -> None:
    """`spacy.load` and a first text in a fresh process, beside spacy-transformers."""
    types = entity_types(tags_of(load_config(str(checkpoint), None)))
    with bench_of(threads, peers) as (bench, workers):
        loadable = make_loadable(checkpoint, bench.folder / "loadable")
        contenders = save_pipelines(bench, workers, checkpoint, loadable, types)
        settings = {"runs": runs, "threads": threads}
        for measured in follow(bench.take_turns(contenders, runs), contenders, runs):
            tables = load_tables(measured)
            shown = write_outputs(
                output, "load", settings, measured, tables, LOAD_NOTES
            )
    print(shown, end="")


def scale(
    inputs: Inputs,
    checkpoint: Base,
    output: Output = Path("metrics/benchmark"),
    words: Annotated[
        list[int], Option(min=1, help="Of a stream; any number of these")
    ] = [  # noqa: B006
        1_000,
        10_000,
        100_000,
    ],
    precision: Precision = "auto",
    runs: Rounds = 3,
    threads: Threads = N_THREADS,
) -> None:
    """`nlp.pipe` over longer and longer streams, which the inputs are repeated for."""
    load_config(str(checkpoint), None)
    samples = read_samples(inputs)
    with bench_of(threads) as (bench, workers):
        contenders = scale_contenders(workers, checkpoint, samples, words, precision)
        settings = {"precision": precision, "runs": runs, "threads": threads}
        for measured in follow(bench.take_turns(contenders, runs), contenders, runs):
            tables = scale_tables(measured)
            shown = write_outputs(
                output, "scale", settings, measured, tables, SCALE_NOTES
            )
    print(shown, end="")


@contextmanager
def bench_of(
    threads: int, peers: Path | None = None
) -> Iterator[tuple[Bench, Workers]]:
    """A place for the processes to read and write, which is gone afterwards."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    workers = Workers.find(SCRIPTS / "peers", peers)
    with tempfile.TemporaryDirectory() as name:
        yield Bench(Path(name), threads, workers.find_missing()), workers


def follow(
    turns: Iterator[tuple[str, Measured]], contenders: Sequence[Contender], rounds: int
) -> Iterator[Measured]:
    """Show how far it is. RETURNS: what was measured, after each whole round."""
    with tqdm(total=rounds * len(contenders), unit="run", disable=None) as bar:
        for name, measured in turns:
            bar.set_postfix_str(name)
            bar.update()
            if measured.is_even:
                yield measured


if __name__ == "__main__":
    run(convert, train, use, load, scale)
