"""Train a small base checkpoint, for those who have no hub at hand.

It plays the part of a large multilingual NER model: XLM-R's architecture and tokenizer
in small, the tags of WikiANN. It has seen nothing but the sample corpus, so what it
cannot know from text it gets from its start (`look_around`) and from noise (`disturb`).
"""

import json
import math
import random
import shutil
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import torch
import typer
from seqeval.metrics import f1_score
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import UnigramTrainer
from tqdm import tqdm
from transformers import (
    XLMRobertaConfig,
    XLMRobertaForTokenClassification,
    XLMRobertaTokenizerFast,
)
from wasabi import msg

from retainer.cli import run
from retainer.conll import Sentence, find_files, read_conll
from retainer.errors import UserError
from retainer.labels import OUTSIDE

TAGS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]  # XLM-R's ids 0 to 3
PAD_ID, MASK = 1, "<mask>"
IGNORED = -100
N_POSITIONS = 514
HEAD_SIZE = 32
# Where each head of a layer looks at the start, in pieces from its own.
OFFSETS = [(-1, 0, 1, 2, -2), (-1, 1, 3, -3), (-1, 1)]
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
    tokenizer = build_tokenizer(splits["train"], pieces)
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


def build_tokenizer(split: Split, n_pieces: int) -> XLMRobertaTokenizerFast:
    """A Unigram tokenizer in which unknown characters become bytes, never <unk>.

    Characters seen once are left to the bytes too, so that those get trained.
    """
    words = [
        unicodedata.normalize("NFKC", token)
        for sentences in split.values()
        for sentence in sentences
        for token in sentence.tokens
    ]
    n_chars = Counter("".join(words))
    known = [word for word in words if all(n_chars[char] > 1 for char in word)]
    trainer = UnigramTrainer(
        vocab_size=max(n_pieces, len(n_chars) + len(SPECIAL)),
        special_tokens=SPECIAL,
        unk_token="<unk>",
        show_progress=False,
    )
    draft = _with_steps(models.Unigram())
    draft.train_from_iterator(known, trainer=trainer)
    vocab = dict(map(tuple, json.loads(draft.to_str())["model"]["vocab"]))
    _add_characters(vocab, Counter(known))
    worst = min(vocab.values()) - 10
    vocab |= {f"<0x{byte:02X}>": worst for byte in range(256)} | {MASK: 0.0}
    unigram = models.Unigram(list(vocab.items()), unk_id=3, byte_fallback=True)
    return XLMRobertaTokenizerFast(
        tokenizer_object=_with_steps(unigram), model_max_length=N_POSITIONS - 2
    )


def _with_steps(model: models.Unigram) -> Tokenizer:
    tokenizer = Tokenizer(model)
    space = {"replacement": "▁", "prepend_scheme": "always"}
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**space)
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(**space)]
    )
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def _add_characters(vocab: dict[str, float], n_words: Counter[str]) -> None:
    """Let each frequent word of one letter and its marks be one piece.

    Chinese, Japanese and Thai consist of these; "▁" would stand apart else.
    """
    letters = {w: [c for c in w if unicodedata.category(c)[0] != "M"] for w in n_words}
    for word, n in n_words.items():
        if n > 1 and len(letters[word]) == 1 and f"▁{word}" not in vocab:
            parts = sum(vocab.get(char, -20) for char in f"▁{word}")
            vocab[f"▁{word}"] = max(math.log(n / n_words.total()), parts + 1)


def build_network(
    n_pieces: int, layers: int, heads: int
) -> XLMRobertaForTokenClassification:
    config = XLMRobertaConfig(
        vocab_size=n_pieces,
        hidden_size=heads * HEAD_SIZE,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * heads * HEAD_SIZE,
        max_position_embeddings=N_POSITIONS,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        id2label=dict(enumerate(TAGS)),
        label2id={tag: tag_id for tag_id, tag in enumerate(TAGS)},
    )
    network = XLMRobertaForTokenClassification(config)
    with torch.no_grad():
        look_around(network)
    return network


def look_around(network: XLMRobertaForTokenClassification) -> None:
    """Start with sinusoidal positions, and heads that look at near pieces.

    The last HEAD_SIZE values of a vector hold sin(wi) and cos(wi) of its position i.
    A query turned by w * offset fits best the key at i + offset, as in rotary
    embeddings: cos(w(i + offset - j)) is 1 where j is i + offset.
    """
    embeddings = network.roberta.embeddings
    speeds = 1.2 * 0.75 ** torch.arange(HEAD_SIZE // 2)
    angles = torch.arange(N_POSITIONS)[:, None] * speeds
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    embeddings.position_embeddings.weight.zero_()[:, -HEAD_SIZE:] = 0.075 * waves
    embeddings.token_type_embeddings.weight.zero_()
    embeddings.word_embeddings.weight.normal_(std=0.05)[:, -HEAD_SIZE:] = 0
    embeddings.word_embeddings.weight[PAD_ID] = 0
    for layer, offsets in zip(network.roberta.encoder.layer, OFFSETS, strict=False):
        attention = layer.attention
        attention.self.value.weight.normal_(std=0.05)
        attention.output.dense.weight.normal_(std=0.05)
        for head, offset in zip(
            range(network.config.num_attention_heads), offsets, strict=False
        ):
            rows = slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)
            for linear, turn in (
                (attention.self.query, offset),
                (attention.self.key, 0),
            ):
                cos, sin = (speeds * turn).cos().diag(), (speeds * turn).sin().diag()
                rotation = torch.cat(
                    [torch.cat([cos, sin], dim=1), torch.cat([-sin, cos], dim=1)]
                )
                linear.weight[rows].normal_(std=0.01)
                linear.weight[rows, -HEAD_SIZE:] = 3 * rotation


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
    words: Words, others: list[Words], n_pieces: int, rng: random.Random
) -> Words:
    """Crop the sentence between entities, and hide some words and pieces.

    Without it the network learns the few templates by heart.
    """
    if rng.random() < CROPPED:
        words = _crop(words, rng)
        if rng.random() < 0.5:
            words = words + _crop(rng.choice(others), rng)
    hidden: Words = []
    for pieces, tag_id in words:
        is_entity = TAGS[tag_id] != OUTSIDE
        is_hidden = not is_entity and rng.random() < HIDDEN_WORDS
        new = list(pieces)
        for piece_i in range(len(new)):
            if is_hidden or (is_entity and rng.random() < HIDDEN_PIECES):
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
    with tqdm(total=n_steps, unit="step") as progress:
        for epoch in range(epochs):
            network.train()
            for group in batches(data, batch_size, rng):
                noisy = [
                    disturb(data[i], others[i], len(tokenizer), rng) for i in group
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
