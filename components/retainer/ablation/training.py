"""Trainings side by side, each a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import TypeVar

from . import measured

T = TypeVar("T")
PIPELINES, LOG, USAGE = "training", "train.log", "usage.json"


def train_all(
    runs: Sequence[T], prepare: Callable[[T], Path], jobs: int
) -> Iterator[tuple[T, int]]:
    """Train as many at a time, in their order, and tell of each when it has ended.

    Whatever ends the iteration ends the trainings: close it.
    prepare: makes the folder of a run, with its config.cfg.
    RETURNS: runs and the exit statuses of their trainings.
    """
    live: set[subprocess.Popen] = set()
    lock, stopped = Lock(), Event()
    environment = os.environ | {"OMP_NUM_THREADS": str(threads_of_each(jobs))}

    def train(run: T) -> int:
        with lock:
            if stopped.is_set():
                return -signal.SIGTERM
            process = start(prepare(run), environment)
            live.add(process)
        status = process.wait()
        with lock:
            live.discard(process)
        return status

    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(train, run): run for run in runs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        stopped.set()
        with lock:
            for process in live:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        pool.shutdown(cancel_futures=True)


def threads_of_each(jobs: int) -> int:
    """The cores are shared out, and OMP_NUM_THREADS is not exceeded."""
    n_cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(n_cores // jobs, int(given) if given.isdigit() else n_cores))


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen:
    """`spacy train` with what it prints in LOG, what it took in USAGE.

    In a session of its own, so that it ends with all that it started.
    """
    measure = [sys.executable, "-I", measured.__file__, str(folder / USAGE)]
    command = [sys.executable, "-m", "spacy", "train", str(folder / "config.cfg")]
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(
            [*measure, *command, "--output", str(folder / PIPELINES)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
