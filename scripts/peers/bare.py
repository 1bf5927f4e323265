"""Nothing but torch: the forward pass of batches that were made beforehand.

The words are given, the batches sorted by length, and their size is the best of some:
what no reader of text can beat.
"""

import time

import torch
from classifier import MAX_PIECES, load_tokenizer
from job import Job, Spans, run, time_calls
from transformers import AutoModelForTokenClassification

N_WARM_UP = 4  # batches


def work(job: Job) -> Job:
    model = AutoModelForTokenClassification.from_pretrained(job["checkpoint"])
    model = model.to(getattr(torch, job["precision"])).eval()
    tokenizer = load_tokenizer(job["checkpoint"])
    encoded = encode(tokenizer, model.config, job["texts"], job["words"])
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]["input_ids"]))
    short = [pad(tokenizer, [encoded[i]]) for i in job["short_places"]]

    @torch.inference_mode()
    def read(batch) -> torch.Tensor:
        return model(**batch).logits.argmax(-1)

    taken = {}
    for size in job["batch_sizes"]:
        groups = [order[i : i + size] for i in range(0, len(order), size)]
        batches = [pad(tokenizer, [encoded[i] for i in group]) for group in groups]
        for batch in batches[-N_WARM_UP:]:
            read(batch)
        started = time.perf_counter()
        outputs = [read(batch) for batch in batches]
        taken[size] = time.perf_counter() - started
    spans: list[Spans] = [[] for _ in encoded]
    for group, rows in zip(groups, outputs, strict=True):
        for i, row in zip(group, rows.tolist(), strict=True):
            tags = tags_of_words(encoded[i].word_ids(), row, model.config.id2label)
            spans[i] = join(tags, job["words"][i])
    best = min(taken, key=taken.get)
    calls = time_calls(read, short, job["n_calls"])
    found = {"seconds": taken[best], "spans": spans, "calls_ms": calls}
    return {**found, "best_batch_size": best}


def encode(tokenizer, config, texts: list[str], words: list[list]) -> list:
    """words: bounds in the text. A text of more pieces is cut."""
    longest = min(MAX_PIECES, tokenizer.model_max_length)
    longest = min(longest, config.max_position_embeddings - config.pad_token_id - 1)
    return [
        tokenizer(
            [text[start:end] for start, end in bounds],
            is_split_into_words=True,
            truncation=True,
            max_length=longest,
        )
        for text, bounds in zip(texts, words, strict=True)
    ]


def pad(tokenizer, encoded: list) -> dict[str, torch.Tensor]:
    keys = ("input_ids", "attention_mask")
    batch = {key: [one[key] for one in encoded] for key in keys}
    return dict(tokenizer.pad(batch, return_tensors="pt"))


def tags_of_words(word_ids: list, row: list[int], names: dict[int, str]) -> list[str]:
    """The tag of each word's first piece; O where a text was cut."""
    n_words = max((i for i in word_ids if i is not None), default=-1) + 1
    tags = ["O"] * n_words
    for piece_i in range(len(word_ids) - 1, -1, -1):
        if word_ids[piece_i] is not None:
            tags[word_ids[piece_i]] = names[row[piece_i]]
    return tags


def join(tags: list[str], bounds: list[tuple[int, int]]) -> Spans:
    """Example: [B-PER, I-PER, O], [(0, 3), (4, 9), (9, 10)] -> [(0, 9, "PER")]"""
    spans: Spans = []
    is_open = False
    for tag, (start, end) in zip(tags, bounds, strict=False):
        prefix, _, kind = tag.rpartition("-")
        if tag == "O":
            is_open = False
        elif is_open and prefix not in ("B", "S", "U") and spans[-1][2] == kind:
            spans[-1] = (spans[-1][0], end, kind)
        else:
            spans.append((start, end, kind))
            is_open = True
    return spans


if __name__ == "__main__":
    run(work)
