"""A checkpoint with a fresh head and a part of it frozen; sentences as its input."""

import re
from dataclasses import dataclass
from typing import Any

import torch
from job import Job
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

IGNORED = -100
MAX_PIECES = 512
SPACE_PREFIXED = {"roberta", "longformer", "bart", "gpt2", "deberta", "bloom"}
LAYER = re.compile(r"(?:encoder|transformer)\.layer\.(\d+)\.")


@dataclass
class Classifier:
    """features: the training sentences, each with input_ids, attention_mask, labels."""

    model: Any
    tokenizer: Any
    features: list[dict[str, list[int]]]

    def save(self, path: str) -> None:
        self.model.save_pretrained(path)
        self.tokenizer.save_pretrained(path)


def prepare(job: Job) -> Classifier:
    torch.manual_seed(job["seed"])
    tags = job["tags"]
    model = AutoModelForTokenClassification.from_pretrained(
        job["checkpoint"],
        num_labels=len(tags),
        id2label=dict(enumerate(tags)),
        label2id={tag: i for i, tag in enumerate(tags)},
        ignore_mismatched_sizes=True,  # this is what makes the head a fresh one
    ).float()
    freeze(model, job["frozen"])
    tokenizer = load_tokenizer(job["checkpoint"])
    return Classifier(model, tokenizer, encode(tokenizer, tags, job["sentences"]))


def load_tokenizer(checkpoint: str) -> Any:
    """Of some the words must be told to begin with a space."""
    is_spaced = AutoConfig.from_pretrained(checkpoint).model_type in SPACE_PREFIXED
    how = {"add_prefix_space": True} if is_spaced else {}
    return AutoTokenizer.from_pretrained(checkpoint, **how)


def freeze(model: Any, n_layers: int) -> None:
    """The embeddings, and the lowest layers of the encoder."""
    for name, weights in model.base_model.named_parameters():
        layer = LAYER.match(name)
        is_low = layer is not None and int(layer[1]) < n_layers
        weights.requires_grad = not (is_low or name.startswith("embeddings."))


def encode(tokenizer: Any, tags: list[str], sentences: list) -> list[dict]:
    """sentences: tokens and their tags. A word's tag is that of its first piece."""
    encoded = tokenizer(
        [tokens for tokens, _ in sentences],
        is_split_into_words=True,
        truncation=True,
        max_length=min(MAX_PIECES, tokenizer.model_max_length),
    )
    ids = {tag: i for i, tag in enumerate(tags)}
    features = []
    for i, (_, gold) in enumerate(sentences):
        labels, previous = [], None
        for word_i in encoded[i].word_ids:
            is_first = word_i is not None and word_i != previous
            labels.append(ids[gold[word_i]] if is_first else IGNORED)
            previous = word_i
        one = {key: encoded[key][i] for key in ("input_ids", "attention_mask")}
        features.append({**one, "labels": labels})
    return features
