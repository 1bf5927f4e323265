"""The subject `use`: reading texts, as a stream and one at a time."""

from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ..corpus import blank_pipeline
from ..formats import CharSpan
from ..inspection.tables import Table
from .figures import Spans, Spread, agreement, f1, of_types, percentile, ratios, trimmed
from .processes import Contender, Measured, Run
from .samples import Sample, find_short, n_words_of
from .workers import Workers

AUTO, FLOAT32 = "retainer, auto", "retainer, float32"
BATCH_SIZE = 64  # of `nlp.pipe`: as in configs/mini.cfg
BARE_SIZES = [4, 8, 16, 32]  # of which the fastest counts
N_SHORT, MOST_WORDS = 50, 15
NOTES = [
    "Words are the tokens of the files, which are joined with spaces, but for scripts "
    "without. x: how many times as fast retainer is, in the same round. F1: over the "
    "checkpoint's types, with exact bounds. Same entities: share of texts where they "
    f"are those of {FLOAT32}. {AUTO}: bfloat16 where the processor has it. Bare torch: "
    "the forward pass of batches made beforehand, of retainer's own tokens, with the "
    f"fastest of these batch sizes: {', '.join(map(str, BARE_SIZES))}.",
]


def use_job(
    samples: Sequence[Sample], words: Sequence[Sequence[CharSpan]], n_calls: int
) -> dict[str, Any]:
    """What each contender is asked to read.

    words: of each text, for those that do not find them themselves. n_calls: with short
    texts, one by one.
    """
    places = find_short(samples, N_SHORT, MOST_WORDS) if n_calls else []
    return {
        "action": "use",
        "texts": [sample.text for sample in samples],
        "words": words,
        "short": [samples[place].text for place in places],
        "short_places": places,
        "n_calls": n_calls,
    }


def words_of_ours(samples: Sequence[Sample]) -> list[list[CharSpan]]:
    """What retainer itself reads, so that a bare forward pass reads no other pieces."""
    tokenizer = blank_pipeline("xx").tokenizer
    docs = (tokenizer(sample.text) for sample in samples)
    return [[(t.idx, t.idx + len(t)) for t in doc if not t.is_space] for doc in docs]


def use_contenders(
    workers: Workers,
    checkpoint: Path,
    loadable: Path,
    job: dict[str, Any],
    batch_size: int,
) -> list[Contender]:
    """loadable: see `make_loadable`. batch_size: of the peers that take one."""
    job = job | {"checkpoint": str(checkpoint), "precision": "float32"}
    ours = job | {"batch_size": BATCH_SIZE}
    many, single = job | {"batch_size": batch_size}, job | {"batch_size": 1}
    first, simple = {"aggregation": "first"}, {"aggregation": "simple"}
    half = {"precision": "bfloat16"}
    bare = job | {"batch_sizes": BARE_SIZES}
    wrap = job | {"checkpoint": str(loadable)}
    pipes, by_n = "spacy_huggingface_pipelines", f"{batch_size} at a time"
    pipelines = {
        f"simple, {by_n}": many | simple,
        f"first, {by_n}": many | first,
        "first, 1 at a time": single | first,
        "first, 1 at a time, bfloat16": single | first | half,
    }
    return [
        workers.ours(AUTO, ours | {"precision": "auto"}),
        workers.ours(FLOAT32, ours),
        *(
            workers.peer(f"transformers pipeline, {name}", "pipeline.py", one)
            for name, one in pipelines.items()
        ),
        workers.peer("spacy-huggingface-pipelines", "hf_token_pipe.py", many, pipes),
        workers.peer("spacy-wrap", "wrap.py", wrap, "spacy_wrap"),
        workers.peer("bare torch, float32", "bare.py", bare),
        workers.peer("bare torch, bfloat16", "bare.py", bare | half),
    ]


def use_tables(
    measured: Measured, samples: Sequence[Sample], types: Collection[str]
) -> list[Table]:
    """types: those of the checkpoint; entities of others do not count."""
    gold = [of_types(sample.spans, types) for sample in samples]
    n_words = n_words_of(samples)
    reference = found_in(samples, measured.runs[FLOAT32][0])
    stream, calls = [], []
    for name, runs in measured.runs.items():
        spans = found_in(samples, runs[0])
        seconds = [run.result["seconds"] for run in runs]
        stream.append(
            [
                name,
                Spread.of([n_words / taken for taken in seconds]).show(0),
                *(f"{compare(measured, x, runs).show(2)}" for x in (AUTO, FLOAT32)),
                f"{median(run.peak for run in runs):,.0f}",
                show_f1(f1(gold, spans)),
                f"{agreement(reference, spans):.1f}%",
            ]
        )
        calls.append([name, *show_calls([run.result["calls_ms"] for run in runs])])
    columns = ["contender", "words/s", "x of auto", "x of float32", "peak MB"]
    return [
        Table("As a stream", [*columns, "F1", "same entities"], stream),
        Table("One short text at a time", ["contender", "median ms", "p99 ms"], calls),
    ]


def compare(measured: Measured, ours: str, runs: Sequence[Run]) -> Spread:
    """How many times as fast as these runs ours are."""
    seconds = [run.result["seconds"] for run in measured.runs[ours]]
    return ratios(seconds, [run.result["seconds"] for run in runs])


def found_in(samples: Sequence[Sample], run: Run) -> list[Spans]:
    """What a run found in each text, the same way for all."""
    return [
        trimmed(sample.text, [tuple(span) for span in spans])
        for sample, spans in zip(samples, run.result["spans"], strict=True)
    ]


def show_calls(calls: Sequence[Sequence[float]]) -> list[str]:
    """The median of each run's median, and of each run's 99th percentile."""
    if not all(calls):
        return ["-", "-"]
    return [
        Spread.of([median(one) for one in calls]).show(1),
        Spread.of([percentile(one, 0.99) for one in calls]).show(1),
    ]


def show_f1(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
