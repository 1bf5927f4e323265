"""The token-classification pipeline of transformers."""

import torch
import transformers
from job import Job, Spans, run, time_use


def work(job: Job) -> Job:
    reader = transformers.pipeline(
        "token-classification",
        model=job["checkpoint"],
        aggregation_strategy=job["aggregation"],
        batch_size=job["batch_size"],
        torch_dtype=getattr(torch, job["precision"]),
        device="cpu",
    )

    def annotate(texts: list[str]):
        yield from map(spans_of, reader(texts))

    return time_use(job, annotate, lambda text: spans_of(reader(text)))


def spans_of(groups: list[dict]) -> Spans:
    return [(group["start"], group["end"], group["entity_group"]) for group in groups]


if __name__ == "__main__":
    run(work)
