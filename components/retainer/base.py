"""A small untrained XLM-R: a tokenizer made for some text, and a network.

It has to learn from little text, so it starts with what large models find for
themselves: positions are waves, and attention heads look at the pieces beside.
"""

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import UnigramTrainer
from transformers import (
    XLMRobertaConfig,
    XLMRobertaForTokenClassification,
    XLMRobertaTokenizerFast,
)

TAGS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]  # XLM-R's ids 0 to 3
PAD_ID, MASK = 1, "<mask>"
N_POSITIONS = 514
HEAD_SIZE = 32
# Where each head of a layer looks at the start, in pieces from its own.
OFFSETS = [(-1, 0, 1, 2, -2), (-1, 1, 3, -3), (-1, 1)]


def build_tokenizer(tokens: Iterable[str], n_pieces: int) -> XLMRobertaTokenizerFast:
    """A Unigram tokenizer in which unknown characters become bytes, never <unk>.

    Characters seen once are left to the bytes too, so that those get trained.
    """
    words = [unicodedata.normalize("NFKC", token) for token in tokens]
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
