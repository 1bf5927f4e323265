"""What every worker does: read a job, write a result, and look at the same clock.

A worker runs as `python WORKER.py JOB.json RESULT.json`, and knows nothing of retainer.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

Job = dict[str, Any]
Spans = list[tuple[int, int, str]]  # first character, that behind the last, type

N_WARM_UP = 64  # texts before the clock is started
N_WARM_CALLS = 20


def run(work: Callable[[Job], Job]) -> None:
    job, result = map(Path, sys.argv[1:])
    done = work(json.loads(job.read_text("utf-8")))
    result.write_text(json.dumps(done), "utf-8")


def time_use(
    job: Job,
    annotate: Callable[[list[str]], Iterable[Spans]],
    annotate_one: Callable[[str], Spans],
) -> Job:
    """All the texts as a stream, then short ones one at a time, after a warm-up each.

    RETURNS: seconds of the stream, what was found in each text, and calls_ms.
    """
    list(annotate(job["texts"][:N_WARM_UP]))
    started = time.perf_counter()
    spans = list(annotate(job["texts"]))
    seconds = time.perf_counter() - started
    calls = time_calls(annotate_one, job["short"], job["n_calls"])
    return {"seconds": seconds, "spans": spans, "calls_ms": calls}


def time_calls(call: Callable[[Any], Any], inputs: list, n_calls: int) -> list[float]:
    """Milliseconds of each call. The inputs are taken in turn."""
    taken = []
    for call_i, one in enumerate(turns(inputs, n_calls)):
        started = time.perf_counter()
        call(one)
        if call_i >= N_WARM_CALLS:
            taken.append(1000 * (time.perf_counter() - started))
    return taken


def turns(inputs: list, n_calls: int) -> Iterator:
    """Example: ["a", "b"], 1 -> a and b in turn, once after the calls that warm up"""
    return islice(cycle(inputs), n_calls + N_WARM_CALLS if n_calls else 0)
