"""The head on a shared transformer: as the checkpoint by itself, but for its pieces."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from conftest import SENTENCES, TAGS, add_ner, make_checkpoint
from spacy.cli.debug_config import debug_config
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config
from test_ner import ANNOTATED, BACKGROUND, entities, make_examples, make_replay
from test_ner import make_teacher as teacher_of
from test_network import make_docs
from thinc.api import Adam

from retainer.corpus import blank_pipeline
from retainer.docbin import write_docs
from retainer.errors import UserError
from retainer.optimise import Options, optimise

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "shared.cfg"
STRIDED = "spacy-transformers.strided_spans.v1"
# No file but tokenizer.json is there for XLM-R; RoBERTa's pieces differ behind spaces.
TOKENIZER_SETTINGS = {
    "xlm-roberta": {"tokenizer_type": "modernbert"},
    "roberta": {"add_prefix_space": True},
}


def add_transformer(nlp: Language, checkpoint: Path, *, window=30, stride=20):
    given = TOKENIZER_SETTINGS.get(checkpoint.name, {})
    model = {
        "name": str(checkpoint),
        "tokenizer_config": {"use_fast": True, **given},
        "get_spans": {"@span_getters": STRIDED, "window": window, "stride": stride},
    }
    return nlp.add_pipe("transformer", config={"model": model})


def add_tagger(nlp: Language, checkpoint: Path, name="transformer_ner", **settings):
    """settings: of the model, but for `loss`."""
    outer = {"loss": settings.pop("loss")} if "loss" in settings else {}
    model = {
        "@architectures": "retainer.ListenerTagger.v1",
        "name": str(checkpoint),
        "revision": None,
        "head": "extend",
        "new_rows": "mean",
        "head_rate": 1.0,
        "grad_factor": 1.0,
        "upstream": "transformer",
        **settings,
    }
    config = {"model": model, **outer}
    return nlp.add_pipe("transformer_ner", name=name, config=config)


def make_shared(checkpoint: Path, *, window=30, stride=20, **settings) -> Language:
    nlp = blank_pipeline("xx")
    add_transformer(nlp, checkpoint, window=window, stride=stride)
    add_tagger(nlp, checkpoint, **settings)
    return nlp


def make_alone(checkpoint: Path, **settings) -> Language:
    nlp = blank_pipeline("xx")
    add_ner(nlp, checkpoint, **settings)
    return nlp


def read(nlp: Language, docs: list[Doc]) -> list[np.ndarray]:
    """The rows of docs, and what the shared transformer says of them on the docs."""
    docs = list(nlp.get_pipe("transformer").pipe(docs))
    return nlp.get_pipe("transformer_ner").model.predict(docs)


def encoder_of(nlp: Language) -> torch.nn.Module:
    return nlp.get_pipe("transformer").model.transformer


def gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    named = module.named_parameters()
    return {name: p.grad for name, p in named if p.grad is not None}


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def moved(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(p, before[n]) for n, p in module.named_parameters())


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A BERT: spacy-transformers reads it as it is."""
    return make_checkpoint("bert", tmp_path_factory.mktemp("base") / "bert")


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory) -> Path:
    """A pipeline that has learnt ANNOTATED by heart, on disk; its base is gone."""
    copy = tmp_path_factory.mktemp("gone") / "bert"
    shutil.copytree(base, copy)
    nlp = make_shared(copy)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    optimizer = Adam(3e-3, grad_clip=1.0, use_averages=False)
    for _ in range(150):
        losses = nlp.update(examples, sgd=optimizer)
    assert losses["transformer_ner"] < 0.05
    path = tmp_path_factory.mktemp("trained") / "model"
    nlp.to_disk(path)
    shutil.rmtree(copy)
    return path


@pytest.mark.parametrize("new_types", [[], ["COURIER", "PHONE"]])
def test_before_training_it_is_the_checkpoint(any_checkpoint, new_types):
    """As retainer.TokenClassifier.v1 is, on words that have spaces between them."""
    shared, alone = make_shared(any_checkpoint), make_alone(any_checkpoint)
    for nlp in (shared, alone):
        for kind in new_types:
            nlp.get_pipe("transformer_ner").add_label(kind)
        nlp.initialize()
    tags = shared.get_pipe("transformer_ner").tags
    assert tags == TAGS + [f"{p}-{kind}" for kind in new_types for p in "BI"]
    texts = [*SENTENCES, "", "Anna"]
    rows = read(shared, make_docs(shared, texts))
    expected = alone.get_pipe("transformer_ner").model.predict(make_docs(alone, texts))
    for ours, theirs in zip(rows, expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    found = [entities(doc) for doc in shared.pipe(make_docs(shared))]
    assert found == [entities(doc) for doc in alone.pipe(make_docs(alone))]
    assert found == [entities(shared(doc)) for doc in make_docs(shared)]
    assert any(found)


def test_long_doc_is_read_where_windows_are_best(base):
    """In the window where a word's piece is farthest from an edge."""
    window, stride = 8, 5
    shared = make_shared(base, window=window, stride=stride)
    alone = make_alone(base)
    shared.initialize()
    alone.initialize()
    words = " ".join(SENTENCES[:2]).split()
    (rows,) = read(shared, [Doc(shared.vocab, words=words)])
    network = alone.get_pipe("transformer_ner").model
    best: dict[int, tuple[int, np.ndarray]] = {}
    for start in range(0, len(words) - window + stride, stride):
        part = words[start : start + window]
        (of_part,) = network.predict([Doc(alone.vocab, words=part)])
        ids = network.shims[0].tokenizer(part, is_split_into_words=True).word_ids()
        for token_i, row in enumerate(of_part):
            place = ids.index(token_i)
            from_edge = min(place, len(ids) - 1 - place)
            if from_edge > best.get(start + token_i, (-1,))[0]:
                best[start + token_i] = from_edge, row
    assert sorted(best) == list(range(len(words)))
    expected = np.stack([best[i][1] for i in range(len(words))])
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_token_without_pieces_can_only_be_outside(base):
    nlp = make_shared(base)
    nlp.initialize()
    words = ["Anna", "\n", "\u200b", "Weber"]
    rows, blank = read(
        nlp, [Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=["\n", " "])]
    )
    for unseen in (*rows[1:3], *blank):
        assert unseen[0] == 0
        assert np.isneginf(unseen[1:]).all()
    assert np.isfinite(rows[[0, 3]]).all()


@pytest.mark.parametrize("grad_factor", [1.0, 0.5, 0.0])
def test_gradient_is_the_checkpoints_own(any_checkpoint, grad_factor):
    """Of encoder and head, for a batch with an empty doc."""
    shared = make_shared(any_checkpoint, grad_factor=grad_factor)
    alone = make_alone(any_checkpoint)
    losses = []
    for nlp in (shared, alone):
        examples = [
            Example.from_dict(doc, {"entities": ["B-PER"] * len(doc)})
            for doc in make_docs(nlp, [SENTENCES[0], "", SENTENCES[2]])
        ]
        nlp.initialize(lambda examples=examples: examples)
        losses.append(nlp.update(examples, sgd=False)["transformer_ner"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) != 0
    module = alone.get_pipe("transformer_ner").model.shims[0].module
    expected = gradients(module.base_model)
    got = gradients(encoder_of(shared))
    assert got.keys() == expected.keys() != set()
    for name, gradient in expected.items():
        torch.testing.assert_close(
            got[name], grad_factor * gradient, atol=1e-5, rtol=1e-3
        )
    head = shared.get_pipe("transformer_ner").model.shims[0].module
    for name, gradient in gradients(head).items():
        theirs = module.get_parameter(name).grad
        torch.testing.assert_close(gradient, theirs, atol=1e-5, rtol=1e-3)


def test_token_without_pieces_teaches_nothing(base):
    nlp = make_shared(base)
    doc = Doc(nlp.vocab, words=["Anna", "\u200b", "Weber"])
    nlp.initialize()
    model = nlp.get_pipe("transformer_ner").model
    module, got = model.shims[0].module, []
    for wanted in ([1, 0, 1], [1, 9, 1]):
        nlp.get_pipe("transformer").update([Example.from_dict(doc, {})])
        rows, backprop = model.begin_update([doc])
        backprop([np.ones_like(rows[0]) * np.array(wanted)[:, None]])
        got.append([p.grad.clone() for p in module.parameters()])
        module.zero_grad()
    assert all(torch.equal(a, b) and a.any() for a, b in zip(*got, strict=True))


def test_two_components_share_the_encoder(base):
    """What both want of it is added up."""
    nlp = make_shared(base)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    nlp.update(examples, sgd=False)
    once = {name: p.clone() for name, p in gradients(encoder_of(nlp)).items()}
    both = make_shared(base)
    add_tagger(both, base, name="other")
    both.initialize(lambda: examples)
    both.update(examples, sgd=False)
    assert len(both.get_pipe("transformer").listeners) == 2
    for name, gradient in gradients(encoder_of(both)).items():
        torch.testing.assert_close(gradient, 2 * once[name], atol=1e-5, rtol=1e-3)


def test_learns_new_and_old_types(trained):
    nlp = spacy.load(trained)
    for text, ents in ANNOTATED:
        expected = [(text[a:b], kind) for (a, b), kind in ents.items()]
        assert entities(nlp(text)) == expected
    types = ("PER", "ORG", "LOC", "COURIER", "PHONE")
    assert nlp.get_pipe("transformer_ner").labels == types


def test_head_alone_is_saved(trained):
    folder = trained / "transformer_ner" / "checkpoint"
    files = {"config.json", "head.safetensors", "checksums.json"}
    assert {p.name for p in folder.iterdir()} == files


def test_bytes_round_trip(trained):
    nlp = spacy.load(trained)
    again = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    for text, _ in ANNOTATED:
        assert entities(again(text)) == entities(nlp(text)) != []


def test_components_are_sourced(trained):
    """Both, for the next round."""
    before = spacy.load(trained)
    nlp = spacy.blank(
        "xx", config={"nlp": {"tokenizer": before.config["nlp"]["tokenizer"]}}
    )
    for name in ("transformer", "transformer_ner"):
        nlp.add_pipe(name, source=before)
    examples = make_examples(nlp)
    assert nlp.update(examples, sgd=False)["transformer_ner"] < 0.05
    assert gradients(encoder_of(nlp))
    for text, _ in ANNOTATED:
        assert entities(nlp(text)) == entities(before(text)) != []


def test_saved_pipeline_goes_on(trained):
    """With a type more, and from what it has learnt, not from its base."""
    nlp = spacy.load(trained)
    ner = nlp.get_pipe("transformer_ner")
    examples = make_examples(nlp)
    optimizer = Adam(2e-3, grad_clip=1.0, use_averages=False)
    nlp.initialize(lambda: examples)
    first = nlp.update(examples, sgd=optimizer)["transformer_ner"]
    assert first < 0.05
    assert ner.add_label("COUNTRY") == 1
    assert [entities(nlp(text)) for text, _ in ANNOTATED] == [
        [(text[a:b], kind) for (a, b), kind in ents.items()] for text, ents in ANNOTATED
    ]
    examples = make_examples(nlp)
    examples[3].reference.set_ents([examples[3].reference.char_span(13, 18, "COUNTRY")])
    for _ in range(120):
        nlp.update(examples, sgd=optimizer)
    assert entities(nlp("nobody is in Kazan today")) == [("Kazan", "COUNTRY")]


def test_encoder_that_is_frozen(base):
    """It has to annotate; else the component does not hear of it."""
    nlp = make_shared(base)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    head = nlp.get_pipe("transformer_ner").model.shims[0].module
    before, before_head = weights(encoder_of(nlp)), weights(head)
    frozen, optimizer = ["transformer"], Adam(0.01, use_averages=False)
    with pytest.raises(ValueError, match="E203"):
        nlp.update(examples, sgd=optimizer, exclude=frozen)
    for _ in range(2):
        nlp.update(examples, sgd=optimizer, exclude=frozen, annotates=frozen)
    assert moved(head, before_head)
    assert not moved(encoder_of(nlp), before)


def test_component_that_is_frozen(base):
    """Beside another, which goes on to teach the encoder."""
    nlp = make_shared(base)
    add_tagger(nlp, base, name="other")
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    head = nlp.get_pipe("transformer_ner").model.shims[0].module
    before, before_head = weights(encoder_of(nlp)), weights(head)
    for _ in range(2):
        nlp.update(
            examples, sgd=Adam(0.01, use_averages=False), exclude=["transformer_ner"]
        )
    assert not moved(head, before_head)
    assert moved(encoder_of(nlp), before)


def test_empty_docs_are_no_lesson(base):
    nlp = make_shared(base)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    empty = [Example.from_dict(doc, {}) for doc in make_docs(nlp, ["", ""])]
    losses = nlp.update(empty, sgd=Adam(0.01, use_averages=False))
    assert losses["transformer_ner"] == 0
    assert [doc.ents for doc in nlp.pipe(["", ""])] == [(), ()]
    assert nlp.get_pipe("transformer_ner").update([]) == {"transformer_ner": 0}


def test_teacher_is_asked_as_usual(base, caplog):
    """The loss of the first update is that of the checkpoint by itself."""
    losses = []
    for nlp in (make_shared(base, loss=BACKGROUND), make_alone(base, loss=BACKGROUND)):
        courier = ["B-COURIER", "I-COURIER"]
        examples = [
            Example.from_dict(doc, {"entities": [*courier, *["O"] * (len(doc) - 2)]})
            for doc in make_docs(nlp)
        ]
        if "transformer" in nlp.pipe_names:
            nlp.get_pipe("transformer").initialize(lambda: [], nlp=nlp)
        ner = nlp.get_pipe("transformer_ner")
        ner.initialize(lambda examples=examples: examples, teacher=teacher_of(base))
        losses.append(nlp.update(examples, sgd=False)["transformer_ner"])
        assert nlp.evaluate(examples)["ents_kept_f"] > 0
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) != 0
    of_shared, of_alone = (r.message for r in caplog.records if r.name == "spacy")
    assert "TokenClassifier.v1 could be given some" in of_shared
    assert "--paths.replay" in of_alone


def test_fresh_head(base):
    nlp = make_shared(base, head="fresh")
    nlp.initialize()
    head = nlp.get_pipe("transformer_ner").model.shims[0].module
    assert nlp.get_pipe("transformer_ner").tags == TAGS
    assert head.classifier.weight.std() < 0.1  # the checkpoint's are drawn wide
    assert not head.classifier.bias.any()


def test_backprop_refuses_other_shapes(base):
    nlp = make_shared(base)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    nlp.get_pipe("transformer").update(examples)
    model = nlp.get_pipe("transformer_ner").model
    rows, backprop = model.begin_update([eg.predicted for eg in examples])
    with pytest.raises(ValueError, match="One gradient row for each of"):
        backprop(rows[:-1])


def test_replay_is_refused(base, tmp_path):
    nlp = make_shared(base, loss=BACKGROUND)
    replay = make_replay(tmp_path / "texts.txt")
    nlp.get_pipe("transformer").initialize(lambda: [], nlp=nlp)
    with pytest.raises(UserError, match="texts of the corpus alone were expected"):
        nlp.get_pipe("transformer_ner").initialize(
            lambda: make_examples(nlp), nlp=nlp, teacher=teacher_of(base), replay=replay
        )


def test_rehearsal_is_refused(trained):
    nlp = spacy.load(trained)
    nlp.resume_training()
    assert nlp.update(make_examples(nlp), sgd=False)["transformer_ner"] < 0.05
    with pytest.raises(UserError, match="texts of the corpus alone were expected"):
        nlp.rehearse(make_examples(nlp))


def test_pipeline_without_transformer(base):
    nlp = blank_pipeline("xx")
    add_tagger(nlp, base)
    with pytest.raises(UserError, match=r"named 'transformer'\) was expected before"):
        nlp.initialize()


def test_transformer_behind_the_component(base):
    nlp = blank_pipeline("xx")
    add_tagger(nlp, base)
    add_transformer(nlp, base)
    with pytest.raises(UserError, match="but there is none. Add it"):
        nlp.initialize()


def test_head_of_another_width(base, tmp_path):
    from transformers import BertConfig, BertForTokenClassification

    config = BertConfig.from_pretrained(base, hidden_size=16)
    BertForTokenClassification(config).save_pretrained(tmp_path)
    for file in base.glob("*token*"):
        shutil.copy(file, tmp_path)
    nlp = blank_pipeline("xx")
    add_transformer(nlp, base)
    add_tagger(nlp, tmp_path)
    with pytest.raises(UserError, match="of 16 values a piece.* but it gives 32"):
        nlp.initialize()


def test_doc_that_the_transformer_has_not_read(trained):
    nlp = spacy.load(trained)
    with (
        nlp.select_pipes(disable=["transformer"]),
        pytest.raises(UserError, match="has not read this one: 'Anna waits'"),
    ):
        nlp("Anna waits")


def test_shared_pipeline_is_not_optimised(trained):
    with pytest.raises(UserError, match="A pipeline of its own encoder was expected"):
        optimise(spacy.load(trained), Options(onnx=True))


def test_config_trains_two_components(checkpoint, tmp_path):
    """configs/shared.cfg on an XLM-R; what is saved reads as what was trained."""
    nlp = blank_pipeline("xx")
    docs = []
    for eg in make_examples(nlp):
        doc = eg.reference
        doc.cats = {"ORDER": float("Swiftline" in doc.text), "COMPLAINT": 0.0}
        docs.append(doc)
    write_docs(docs, tmp_path / "corpus.spacy")
    any_tokenizer = {"use_fast": True, "tokenizer_type": "modernbert"}
    overrides = {
        "paths.train": str(tmp_path / "corpus.spacy"),
        "paths.dev": str(tmp_path / "corpus.spacy"),
        "paths.base": str(checkpoint),
        "system.device": "cpu",
        "system.precision": "float32",
        "components.transformer.model.tokenizer_config": any_tokenizer,
        "components.transformer.model.get_spans.window": 30,
        "components.transformer.model.get_spans.stride": 20,
        # nothing is asked of the teacher: the corpus can be learnt by heart
        "components.transformer_ner.loss.annotated": ["PER", "ORG", "LOC"],
        "training.max_epochs": 200,
        "training.eval_frequency.epochs": 100,
        "training.patience.epochs": 200,
        "training.optimizer.learn_rate.initial_rate": 0.003,
    }
    debug_config(CONFIG, overrides=overrides)
    config = load_config(CONFIG, overrides=overrides, interpolate=False)
    nlp, path = train(init_nlp(config), tmp_path)
    again = spacy.load(path)
    listening = ["transformer_ner", "textcat_multilabel"]
    assert again.get_pipe("transformer").listening_components == listening
    for text, ents in ANNOTATED:
        doc = again(text)
        assert entities(doc) == [(text[a:b], kind) for (a, b), kind in ents.items()]
        assert (doc.cats["ORDER"] > 0.5) == ("Swiftline" in text)
        assert doc.cats == pytest.approx(nlp(text).cats, abs=1e-5)
