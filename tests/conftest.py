"""Tiny random checkpoints of each family, made once a run; pipelines on them."""

import os
from pathlib import Path

import pytest
import torch
from spacy.language import Language
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertConfig,
    BertForTokenClassification,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForTokenClassification,
    DistilBertTokenizerFast,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
    RobertaTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForTokenClassification,
    XLMRobertaTokenizerFast,
)

from retainer import network
from retainer.conll import Sentence
from retainer.corpus import blank_pipeline

os.environ["HF_HUB_OFFLINE"] = "1"

TAGS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
SENTENCES = [
    "Anna Weber sent a parcel to Lisbon by Northway Freight .",
    "Der Bote von Northway Freight wartet in Bremen auf Anna .",
    "王 芳 在 北 京 等 快 递 员 。",
    "Курьер ждёт Анну в Казани , телефон 555 01 99 .",
]
FAMILIES = ("xlm-roberta", "roberta", "bert", "distilbert")


def _labels() -> dict:
    return {
        "id2label": dict(enumerate(TAGS)),
        "label2id": {tag: i for i, tag in enumerate(TAGS)},
    }


def _train(model, trainer) -> Tokenizer:
    tokenizer = Tokenizer(model)
    if isinstance(model, models.Unigram):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt()])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
        tokenizer.decoder = decoders.Metaspace()
    elif isinstance(model, models.BPE):
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    else:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def _make_roberta(specials: list[str]) -> tuple[PreTrainedTokenizerFast, dict]:
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend = _train(models.BPE(), trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return RobertaTokenizerFast(tokenizer_object=backend), {"pad_token_id": 1}


def _make_xlm_roberta(specials: list[str]) -> tuple[PreTrainedTokenizerFast, dict]:
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=specials, unk_token="<unk>", show_progress=False
    )
    backend = _train(models.Unigram(), trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return XLMRobertaTokenizerFast(tokenizer_object=backend), {"pad_token_id": 1}


def _make_bert(cls: type) -> tuple[PreTrainedTokenizerFast, dict]:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=specials, show_progress=False
    )
    backend = _train(models.WordPiece(unk_token="[UNK]"), trainer)
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return cls(tokenizer_object=backend), {"pad_token_id": 0}


def make_checkpoint(family: str, path: Path, *, positions: int = 66) -> Path:
    """A random checkpoint whose head is drawn wide, so that it does see entities.

    Without dropout, so that training can be compared with a calculation.
    """
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": positions,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    model: PreTrainedModel
    torch.manual_seed(0)
    if family == "distilbert":
        tokenizer, ids = _make_bert(DistilBertTokenizerFast)
        config = DistilBertConfig(
            vocab_size=len(tokenizer),
            dim=32,
            n_layers=3,
            n_heads=2,
            hidden_dim=48,
            dropout=0.0,
            attention_dropout=0.0,
            max_position_embeddings=positions,
            **ids,
            **_labels(),
        )
        model = DistilBertForTokenClassification(config)
    else:
        if family == "bert":
            tokenizer, ids = _make_bert(BertTokenizerFast)
            classes = BertConfig, BertForTokenClassification
        elif family == "roberta":
            tokenizer, ids = _make_roberta(specials)
            classes = RobertaConfig, RobertaForTokenClassification
        else:
            tokenizer, ids = _make_xlm_roberta(specials)
            classes = XLMRobertaConfig, XLMRobertaForTokenClassification
        config = classes[0](vocab_size=len(tokenizer), **sizes, **ids, **_labels())
        model = classes[1](config)
    with torch.no_grad():
        model.classifier.weight.normal_(0.0, 1.0)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session", params=FAMILIES)
def any_checkpoint(request, tmp_path_factory) -> Path:
    """One checkpoint of each family in turn."""
    folder = tmp_path_factory.mktemp("family") / request.param
    return make_checkpoint(request.param, folder)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny XLM-R checkpoint."""
    return make_checkpoint("xlm-roberta", tmp_path_factory.mktemp("base") / "xlm-r")


@pytest.fixture
def nlp_blank() -> Language:
    return blank_pipeline("xx")


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The texts that a network was given, with features or without."""
    texts, run = [], network._forward

    def count(model, docs, **how):
        texts.extend(doc.text for doc in docs)
        return run(model, docs, **how)

    monkeypatch.setattr(network, "_forward", count)
    return texts


def add_ner(nlp: Language, checkpoint: Path, **settings):
    """Add the component: in float32 on the CPU, so that results can be compared.

    settings: of the model, but for `loss`, `decoder` and `spans_key`.
    """
    outer = {
        key: settings.pop(key)
        for key in ("loss", "decoder", "spans_key")
        if key in settings
    }
    model = {
        "name": str(checkpoint),
        "precision": "float32",
        "device": "cpu",
        "overlap": 8,
        **settings,
    }
    return nlp.add_pipe("transformer_ner", config={"model": model, **outer})


def make_sentence(text: str) -> Sentence:
    """Example: "Ann/B-PER left/O" -> the tokens Ann and left, on the lines 7 and 8."""
    tokens, tags = zip(*(part.rsplit("/", 1) for part in text.split("|")), strict=True)
    lines = list(range(7, 7 + len(tokens)))
    return Sentence(list(tokens), list(tags), "a.conll", lines)
