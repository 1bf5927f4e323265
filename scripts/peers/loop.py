"""A loop over torch without a teacher: bfloat16, batches of sentences of like length.

No more than the steps themselves: what no training of these layers can beat.
"""

import random
import time

import torch
from classifier import prepare
from job import Job, run
from transformers import DataCollatorForTokenClassification


def work(job: Job) -> Job:
    student = prepare(job)
    collate = DataCollatorForTokenClassification(student.tokenizer)
    ordered = sorted(student.features, key=lambda one: len(one["input_ids"]))
    size = job["batch_size"]
    batches = [
        dict(collate(ordered[i : i + size])) for i in range(0, len(ordered), size)
    ]
    started = time.perf_counter()
    train(student.model, batches, job)
    seconds = time.perf_counter() - started
    student.save(job["output"])
    return {"seconds": seconds}


def train(model, batches: list[dict[str, torch.Tensor]], job: Job) -> None:
    """AdamW; the rate rises for a tenth of the steps, then falls to zero."""
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job["rate"], fused=True)
    n_steps = job["epochs"] * len(batches)
    n_warm = max(1, n_steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda i: min((i + 1) / n_warm, (n_steps - i) / max(1, n_steps - n_warm)),
    )
    order = random.Random(job["seed"])
    model.train()
    for _ in range(job["epochs"]):
        order.shuffle(batches)
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


if __name__ == "__main__":
    run(work)
