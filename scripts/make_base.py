"""Train a small base checkpoint, for those who have no hub at hand.

It plays the part of a large multilingual NER model: XLM-R's architecture and tokenizer
in small, the tags of WikiANN. It has seen nothing but the sample corpus, so what it
cannot know from text it gets from its start and from noise (`disturb`).
"""

import math
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import torch
import typer
from seqeval.metrics import f1_score
from tqdm import tqdm
from transformers import XLMRobertaForTokenClassification, XLMRobertaTokenizerFast
from wasabi import msg

from retainer.base import N_POSITIONS, PAD_ID, TAGS, build_network, build_tokenizer
from retainer.cli import run
from retainer.conll import Sentence, read_conll
from retainer.errors import UserError
from retainer.files import find_files
from retainer.labels import OUTSIDE

IGNORED = -100
CROPPED = 0.6  # of the sentences lose their ends, half of them to another sentence
HIDDEN_WORDS, HIDDEN_PIECES = 0.25, 0.25  # outside and inside of entities

Words = list[tuple[list[int], int]]  # pieces, tag id
Split = dict[str, list[Sentence]]  # by language


def main(
    general: Annotated[Path, typer.Argument(help="Folder with train, dev, test")],
    output: Annotated[Path, typer.Argument(help="Checkpoint folder to write")],
    seed: Annotated[int, typer.Option()] = 0,
    epochs: Annotated[int, typer.Option(min=1)] = 5,
    layers: Annotated[int, typer.Option(min=1)] = 4,
    heads: Annotated[int, typer.Option(min=2, help="Of 32 values each")] = 5,
    pieces: Annotated[int, typer.Option(min=1000, help="Wordpieces at most")] = 8000,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    learning_rate: Annotated[float, typer.Option(min=0)] = 0.0015,
) -> None:
    """Train on GENERAL/train, show F1 on dev, then on test, and write OUTPUT."""
    if output.exists() and not (output / "config.json").is_file():
        raise UserError(
            f"A checkpoint to replace, or nothing, was expected at '{output}', but "
            "there is something else. Give another output folder."
        )
    splits = {name: read_split(general / name) for name in ("train", "dev", "test")}
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    sentences = [s for one_lang in splits["train"].values() for s in one_lang]
    tokenizer = build_tokenizer(
        (token for sentence in sentences for token in sentence.tokens), pieces
    )
    network = build_network(len(tokenizer), layers, heads)
    train(network, tokenizer, splits, epochs, batch_size, learning_rate, seed)
    save(network, tokenizer, output)
    show(*(evaluate(network, tokenizer, splits[name]) for name in ("dev", "test")))


def read_split(folder: Path) -> Split:
    """The sentences of each file of a folder, by the file's name."""
    split = {path.stem: list(read_conll(path)) for path in find_files([folder])}
    every = [sentence for sentences in split.values() for sentence in sentences]
    for sentence in every:
        for tag, line in zip(sentence.tags, sentence.lines, strict=True):
            if tag not in TAGS:
                raise UserError(
                    f"One of the tags {', '.join(TAGS)} was expected, but "
                    f"{sentence.path}:{line} has {tag!r}. Correct the tag."
                )
    return split


def encode(
    tokenizer: XLMRobertaTokenizerFast, sentences: list[Sentence]
) -> list[Words]:
    """Tokens without any piece are left out, and the ends of very long sentences."""
    encoded = []
    for sentence in sentences:
        encoding = tokenizer(sentence.tokens, is_split_into_words=True, truncation=True)
        words: dict[int, tuple[list[int], int]] = {}
        for piece, word_i in zip(encoding.input_ids, encoding.word_ids(), strict=True):
            if word_i is not None:
                tag_id = TAGS.index(sentence.tags[word_i])
                words.setdefault(word_i, ([], tag_id))[0].append(piece)
        encoded.append(list(words.values()))
    return encoded


def disturb(
    words: Words, others: list[Words], n_pieces: int, rng: random.Random, noise: float
) -> Words:
    """Crop the sentence between entities, and hide some words and pieces.

    Without it the network learns the few templates by heart.
    noise: the share of HIDDEN_WORDS and HIDDEN_PIECES to hide; it falls from 1 to 0.
    """
    if rng.random() < CROPPED:
        words = _crop(words, rng)
        if rng.random() < 0.5:
            words = words + _crop(rng.choice(others), rng)
    hidden: Words = []
    for pieces, tag_id in words:
        is_entity = TAGS[tag_id] != OUTSIDE
        is_hidden = not is_entity and rng.random() < noise * HIDDEN_WORDS
        new = list(pieces)
        for piece_i in range(len(new)):
            chance = 1.0 if is_hidden else noise * HIDDEN_PIECES * is_entity
            if rng.random() < chance:
                new[piece_i] = rng.choice([n_pieces - 1, rng.randrange(4, n_pieces)])
        hidden.append((new, tag_id))
    return hidden


def _crop(words: Words, rng: random.Random) -> Words:
    bounds = [i for i, (_, tag_id) in enumerate(words) if TAGS[tag_id][0] != "I"]
    start, end = sorted(rng.choice([*bounds, len(words)]) for _ in range(2))
    return words[start:end] if end - start > 1 else words


def batches(
    data: list[Words], size: int, rng: random.Random | None
) -> Iterator[list[int]]:
    """Indices of sentences of like length, in any order when there is an rng."""
    lengths = [sum(len(pieces) for pieces, _ in words) for words in data]
    noise = [rng.random() if rng else 0 for _ in data]
    order = sorted(range(len(data)), key=lambda i: (lengths[i], noise[i]))
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    if rng:
        rng.shuffle(groups)
    yield from groups


def collate(group: list[Words]) -> tuple[torch.Tensor, torch.Tensor]:
    """Piece ids and tag ids, (sentences, pieces); a tag stands at a first piece."""
    ids, tag_ids = [], []
    for words in group:
        flat = [piece for pieces, _ in words for piece in pieces][: N_POSITIONS - 4]
        firsts = [[tag_id] + [IGNORED] * (len(pieces) - 1) for pieces, tag_id in words]
        tags = [tag_id for row in firsts for tag_id in row][: N_POSITIONS - 4]
        ids.append(torch.tensor([0, *flat, 2]))
        tag_ids.append(torch.tensor([IGNORED, *tags, IGNORED]))
    pad = torch.nn.utils.rnn.pad_sequence
    return (
        pad(ids, batch_first=True, padding_value=PAD_ID),
        pad(tag_ids, batch_first=True, padding_value=IGNORED),
    )


def precision() -> torch.autocast | nullcontext:
    if torch.cpu._is_avx512_bf16_supported():
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()


def train(
    network: XLMRobertaForTokenClassification,
    tokenizer: XLMRobertaTokenizerFast,
    splits: dict[str, Split],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> None:
    rng = random.Random(seed)
    by_lang = [encode(tokenizer, sentences) for sentences in splits["train"].values()]
    data = [words for one_lang in by_lang for words in one_lang]
    others = [one_lang for one_lang in by_lang for _ in one_lang]
    n_steps = math.ceil(len(data) / batch_size) * epochs
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, n_steps, pct_start=0.1, anneal_strategy="linear"
    )
    with tqdm(total=n_steps, unit="step", disable=None) as progress:
        for epoch in range(epochs):
            network.train()
            for group in batches(data, batch_size, rng):
                noise = 1 - schedule.last_epoch / n_steps
                noisy = [
                    disturb(data[i], others[i], len(tokenizer), rng, noise)
                    for i in group
                ]
                ids, tag_ids = collate(noisy)
                with precision():
                    loss = network(ids, ids != PAD_ID, labels=tag_ids).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                progress.update()
            f1 = evaluate(network, tokenizer, splits["dev"])["all"]
            progress.write(f"epoch {epoch + 1}: dev F1 {f1:.1f}")


def evaluate(
    network: XLMRobertaForTokenClassification,
    tokenizer: XLMRobertaTokenizerFast,
    split: Split,
) -> dict[str, float]:
    """Entity F1 in percent, by language and of "all"."""
    network.eval()
    gold: dict[str, list[list[str]]] = {}
    predicted: dict[str, list[list[str]]] = {}
    for lang, sentences in split.items():
        data = encode(tokenizer, sentences)
        for group in batches(data, 64, None):
            ids, tag_ids = collate([data[i] for i in group])
            with torch.no_grad(), precision():
                best = network(ids, ids != PAD_ID).logits.argmax(dim=-1)
            for row, gold_row in zip(best, tag_ids, strict=True):
                is_word = gold_row != IGNORED
                for paths, found in ((gold, gold_row), (predicted, row)):
                    path = [TAGS[tag_id] for tag_id in found[is_word].tolist()]
                    paths.setdefault(lang, []).append(path)
    gold["all"] = [path for paths in gold.values() for path in paths]
    predicted["all"] = [path for paths in predicted.values() for path in paths]
    return {
        lang: 100 * float(f1_score(gold[lang], predicted[lang], zero_division=0))
        for lang in gold
    }


def save(
    network: XLMRobertaForTokenClassification,
    tokenizer: XLMRobertaTokenizerFast,
    output: Path,
) -> None:
    """Write aside, then rename: the folder is whole or as it was."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".") as aside:
        made = Path(aside) / "new"
        network.save_pretrained(made, safe_serialization=True)
        tokenizer.save_pretrained(made)
        if output.exists():
            shutil.move(output, Path(aside) / "old")
        made.rename(output)


def show(dev: dict[str, float], test: dict[str, float]) -> None:
    rows = [(lang, f"{dev.get(lang, 0):.1f}", f"{test[lang]:.1f}") for lang in test]
    msg.table(rows, header=("Language", "dev F1", "test F1"), divider=True)


if __name__ == "__main__":
    run(main)
