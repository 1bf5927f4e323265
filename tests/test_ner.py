import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from conftest import SENTENCES, TAGS, add_ner, make_checkpoint
from spacy.tokens import Doc
from spacy.training import Example
from test_network import make_docs, plain_rows
from thinc.api import Adam

from retainer import checkpoint as ck
from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.labels import spans_from_tags
from retainer.learning import read_gold
from retainer.losses import NO_GOLD, configure_cross_entropy
from retainer.replay import Replay, configure_replay
from retainer.teacher import configure_checkpoint_teacher

DISTILLATION = {
    "@misc": "retainer.InterpolatedDistillation.v1",
    "alpha": 0.5,
    "temperature": 2.0,
    "reduction": "tokens",
}
BACKGROUND = {
    "@misc": "retainer.BackgroundDistillation.v1",
    "outside": "teacher",
    "annotated": "auto",
    "pseudo_labels": False,
    "temperature": 1.0,
    "unlabelled_weight": 1.0,
    "unlabelled_temperature": 1.0,
    "feature_weight": 0.0,
}
ANNOTATED = [
    ("Anna waits for Northway Freight in Bremen", {(0, 4): "PER", (15, 31): "COURIER"}),
    ("call Petra Lang at 555 01 99 now", {(5, 15): "PER", (19, 28): "PHONE"}),
    ("Swiftline brings it to Anna", {(0, 9): "COURIER", (23, 27): "PER"}),
    ("nobody is in Kazan today", {(13, 18): "LOC"}),
]


def make_examples(nlp) -> list[Example]:
    examples = []
    for text, ents in ANNOTATED:
        entities = [(start, end, kind) for (start, end), kind in ents.items()]
        examples.append(Example.from_dict(nlp.make_doc(text), {"entities": entities}))
    return examples


def make_teacher(checkpoint, cache=None):
    return configure_checkpoint_teacher(
        name=str(checkpoint),
        revision=None,
        cache=cache,
        max_batch_pieces=4096,
        precision="float32",
        device="cpu",
    )


def make_replay(path: Path, texts=SENTENCES, *, held_out: int = 0) -> Replay:
    """path: where to write the texts to, a line each."""
    path.write_text("\n".join(texts), "utf-8")
    return configure_replay(path, "text", 1.0, 100, held_out)


def weights(ner) -> dict[str, np.ndarray]:
    module = ner.model.shims[0].module
    return {name: p.detach().numpy().copy() for name, p in module.named_parameters()}


def entities(doc) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in doc.ents]


@pytest.fixture(scope="module")
def trained(checkpoint, tmp_path_factory) -> Path:
    """A pipeline that has learnt ANNOTATED by heart, on disk."""
    nlp = blank_pipeline("xx")
    add_ner(nlp, checkpoint, spans_key="sc")
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    optimizer = Adam(3e-3, grad_clip=1.0, use_averages=False)
    for _ in range(60):
        losses = nlp.update(examples, sgd=optimizer)
    assert losses["transformer_ner"] < 0.05
    path = tmp_path_factory.mktemp("trained") / "model"
    nlp.to_disk(path)
    return path


@pytest.mark.parametrize("new_types", [[], ["COURIER", "PHONE"]])
def test_before_training_it_is_the_checkpoint(nlp_blank, any_checkpoint, new_types):
    ner = add_ner(nlp_blank, any_checkpoint)
    for kind in new_types:
        assert ner.add_label(kind) == 1
    nlp_blank.initialize()
    assert ner.tags == TAGS + [f"{p}-{kind}" for kind in new_types for p in "BI"]
    n_seen = 0
    for doc in make_docs(nlp_blank):
        words = [token.text for token in doc]
        best = plain_rows(any_checkpoint, words).argmax(axis=1)
        expected = spans_from_tags([TAGS[i] for i in best])
        got = [(ent.start, ent.end, ent.label_) for ent in ner(doc).ents]
        assert got == expected
        n_seen += len(got)
    assert n_seen


def test_learns_new_and_old_types(trained):
    nlp = spacy.load(trained)
    for text, ents in ANNOTATED:
        doc = nlp(text)
        assert entities(doc) == [(text[a:b], kind) for (a, b), kind in ents.items()]
        assert list(doc.spans["sc"]) == list(doc.ents)
        confidences = doc.spans["sc"].attrs["scores"]
        assert len(confidences) == len(doc.ents)
        assert all(0.5 < confidence <= 1 for confidence in confidences)
    assert nlp.get_pipe("transformer_ner").labels == (
        "PER",
        "ORG",
        "LOC",
        "COURIER",
        "PHONE",
    )


def test_loads_elsewhere_without_base_and_network(trained, tmp_path):
    """In another process, from another folder, with nothing to fetch from."""
    base = make_checkpoint("xlm-roberta", tmp_path / "base")
    nlp = blank_pipeline("xx")
    add_ner(nlp, base)
    nlp.initialize()
    nlp.to_disk(tmp_path / "made")
    shutil.move(tmp_path / "made", tmp_path / "moved")
    shutil.rmtree(base)
    code = (
        "import socket, sys, spacy\n"
        "def refuse(*args, **kwargs): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "nlp = spacy.load(sys.argv[1])\n"
        "for text in sys.argv[2:]:\n"
        "    print([(e.text, e.label_) for e in nlp(text).ents])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "moved", *SENTENCES],
        capture_output=True,
        encoding="utf8",
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "0", "PYTHONIOENCODING": "utf8"},
    )
    assert run.returncode == 0, run.stderr
    expected = [str(entities(nlp(text))) for text in SENTENCES]
    assert run.stdout.splitlines() == expected
    assert any(line != "[]" for line in expected)


def test_checkpoint_folder_is_read_by_plain_transformers(trained):
    folder = trained / "transformer_ner" / "checkpoint"
    nlp = spacy.load(trained)
    tags = nlp.get_pipe("transformer_ner").tags
    for text, _ in ANNOTATED:
        doc = nlp(text)
        best = plain_rows(folder, [token.text for token in doc]).argmax(axis=1)
        spans = [(ent.start, ent.end, ent.label_) for ent in doc.ents]
        assert spans_from_tags([tags[i] for i in best]) == spans


def test_bytes_round_trip(trained):
    nlp = spacy.load(trained)
    again = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    for text, _ in ANNOTATED:
        assert entities(again(text)) == entities(nlp(text))
    assert again.get_pipe("transformer_ner").cfg == nlp.get_pipe("transformer_ner").cfg


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_frozen_modules_are_frozen_again(nlp_blank, checkpoint, tmp_path, way):
    add_ner(nlp_blank, checkpoint, freeze=["embeddings", "encoder.layer.1"])
    nlp_blank.initialize()
    if way == "disk":
        nlp_blank.to_disk(tmp_path)
        again = spacy.load(tmp_path)
    else:
        again = spacy.util.load_model_from_config(nlp_blank.config)
        again.from_bytes(nlp_blank.to_bytes())
    module = again.get_pipe("transformer_ner").model.shims[0].module
    frozen = {n for n, p in module.named_parameters() if not p.requires_grad}
    parts = ("roberta.embeddings.", "roberta.encoder.layer.1.")
    assert frozen == {n for n, _ in module.named_parameters() if n.startswith(parts)}


def test_no_pickle_is_written(trained):
    suffixes = {file.suffix for file in (trained / "transformer_ner").rglob("*.*")}
    assert suffixes <= {".json", ".safetensors"}


def test_an_entity_goes_on_over_what_has_no_pieces(trained):
    nlp = spacy.load(trained)
    doc = nlp("call Petra  Lang at 555 01 99 now")
    assert [token.text for token in doc][:4] == ["call", "Petra", " ", "Lang"]
    assert ("Petra  Lang", "PER") in entities(doc)


def test_pipe_equals_call_and_keeps_order(trained):
    nlp = spacy.load(trained)
    texts = [text for text, _ in ANNOTATED] * 3 + ["", "  ", "\n", *SENTENCES]
    piped = list(nlp.pipe(texts, batch_size=4))
    assert [doc.text for doc in piped] == texts
    assert [entities(doc) for doc in piped] == [entities(nlp(text)) for text in texts]


def test_entities_that_are_there_stay(trained):
    nlp = spacy.load(trained)
    ruler = nlp.add_pipe("entity_ruler", before="transformer_ner")
    ruler.add_patterns([{"label": "CITY", "pattern": "Bremen"}])
    ruler.add_patterns([{"label": "BRAND", "pattern": "Freight"}])
    assert entities(nlp(ANNOTATED[0][0])) == [
        ("Anna", "PER"),
        ("Freight", "BRAND"),
        ("Bremen", "CITY"),
    ]


def test_sourced_component_is_kept_by_initialize(trained):
    """Initialising again reads no checkpoint and changes no weight."""
    nlp = blank_pipeline("xx")
    nlp.add_pipe("transformer_ner", source=spacy.load(trained))
    nlp.initialize()
    for text, ents in ANNOTATED:
        assert [(e.start_char, e.end_char) for e in nlp(text).ents] == list(ents)


def test_add_label_to_a_trained_pipeline(trained):
    nlp = spacy.load(trained)
    ner = nlp.get_pipe("transformer_ner")
    before = [entities(nlp(text)) for text, _ in ANNOTATED]
    assert ner.add_label("FACILITY") == 1
    assert ner.add_label("FACILITY") == 0
    assert ner.add_label("PER") == 0
    assert ner.tags[-2:] == ["B-FACILITY", "I-FACILITY"]
    assert [entities(nlp(text)) for text, _ in ANNOTATED] == before
    with pytest.raises(ValueError, match="E187"):
        ner.add_label(3)


def test_a_label_added_between_updates_is_trained(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint)
    ner.add_label("COURIER")
    nlp_blank.initialize()
    optimizer = Adam(3e-3, grad_clip=1.0, use_averages=False)
    examples = make_examples(nlp_blank)
    ner.update([examples[3]], sgd=optimizer)
    ner.add_label("PHONE")
    for _ in range(60):
        losses = ner.update(examples, sgd=optimizer)
    assert losses["transformer_ner"] < 0.05


def test_update_without_sgd_does_not_step(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint)
    examples = make_examples(nlp_blank)
    nlp_blank.initialize(lambda: examples)
    before = ner.model.predict([eg.predicted for eg in examples])
    losses = ner.update(examples)
    after = ner.model.predict([eg.predicted for eg in examples])
    assert losses["transformer_ner"] > 0
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("loss", [DISTILLATION, {**BACKGROUND, "feature_weight": 5.0}])
@pytest.mark.parametrize("max_batch_pieces", [1, 60, 4096])
def test_update_does_not_depend_on_grouping(
    trained, checkpoint, tmp_path, max_batch_pieces, loss
):
    """The gradient of a batch is the same, however little of it fits at once. The
    student is another than its teacher, in its features too."""
    gradients, values = [], []
    for pieces in (100000, max_batch_pieces):
        nlp = blank_pipeline("xx")
        base = trained / "transformer_ner" / "checkpoint"
        ner = add_ner(nlp, base, max_batch_pieces=pieces, loss=loss)
        examples, teacher = make_examples(nlp), make_teacher(checkpoint)
        replay = make_replay(tmp_path / "texts.txt")
        ner.initialize(lambda e=examples: e, nlp=nlp, teacher=teacher, replay=replay)
        random.seed(0)
        losses = ner.update(examples)
        values.append(losses["transformer_ner"])
        parameters = ner.model.shims[0].module.parameters()
        gradients.append([p.grad.numpy() for p in parameters if p.grad is not None])
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)


def test_update_with_a_type_that_was_never_added(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint)
    nlp_blank.initialize()
    with pytest.raises(UserError, match="has B-COURIER, I-COURIER. Call add_label"):
        ner.update(make_examples(nlp_blank))


def test_get_loss_of_nothing(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint)
    nlp_blank.initialize()
    assert ner.get_loss([], []) == (0.0, [])
    assert ner.update([]) == {"transformer_ner": 0.0}


def test_get_loss_is_what_update_adds(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint, loss=DISTILLATION)
    examples = make_examples(nlp_blank)
    ner.initialize(lambda: examples, nlp=nlp_blank, teacher=make_teacher(checkpoint))
    rows = ner.model.predict([eg.predicted for eg in examples])
    loss, d_rows = ner.get_loss(examples, rows)
    assert loss == pytest.approx(ner.update(examples)["transformer_ner"], rel=1e-5)
    assert [d.shape for d in d_rows] == [r.shape for r in rows]


def test_classic_distillation_holds_the_old_types(nlp_blank, checkpoint):
    """With gold tags that say O everywhere, a teacher's weight keeps old entities."""
    found = {}
    for alpha in (1.0, 0.05):
        nlp = blank_pipeline("xx")
        ner = add_ner(nlp, checkpoint, loss={**DISTILLATION, "alpha": alpha})
        examples = [
            Example.from_dict(doc, {"entities": ["O"] * len(doc)})
            for doc in make_docs(nlp)
        ]
        ner.initialize(lambda e=examples: e, nlp=nlp, teacher=make_teacher(checkpoint))
        before = sum(len(ner(doc).ents) for doc in make_docs(nlp))
        optimizer = Adam(1e-3, use_averages=False)
        for _ in range(40):
            ner.update(examples, sgd=optimizer)
        found[alpha] = sum(len(ner(doc).ents) for doc in make_docs(nlp)), before
    assert found[1.0][0] < found[1.0][1] / 4
    assert found[0.05][0] > found[0.05][1] / 2


def test_empty_docs_do_not_stop_training(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint)
    docs = [Doc(nlp_blank.vocab), nlp_blank.make_doc("  ")]
    examples = [Example(doc, doc.copy()) for doc in docs]
    nlp_blank.initialize(lambda: examples)
    optimizer = Adam(1e-3, use_averages=False)
    losses = ner.update(examples, sgd=optimizer)
    assert losses == {"transformer_ner": 0.0}


def test_labels_from_a_file_need_not_be_in_the_corpus(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint)
    ner.initialize(
        lambda: make_examples(nlp_blank), labels=["PHONE", "COURIER", "LOC", "ZIP"]
    )
    assert ner.labels == ("PER", "ORG", "LOC", "COURIER", "PHONE", "ZIP")
    assert ner.label_data == list(ner.labels)


def test_unknown_type_names_file_and_line(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint)
    examples = make_examples(nlp_blank)
    examples[0].reference.user_data["source"] = "mine/train.conll:7"
    examples[0].reference.user_data["ent_lines"] = [7, 10]
    match = r"'COURIER' came at mine/train\.conll:10 \('Northway Freight'\)"
    with pytest.raises(UserError, match=match):
        ner.initialize(lambda: examples, labels=["PER", "PHONE"])


def test_label_given_twice(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint)
    with pytest.raises(UserError, match="PHONE is given more than once"):
        ner.initialize(lambda: make_examples(nlp_blank), labels=["PHONE", "PHONE"])


def test_distillation_without_a_teacher(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint, loss=DISTILLATION)
    examples = make_examples(nlp_blank)
    with pytest.raises(UserError, match="A teacher was expected"):
        ner.initialize(lambda: examples)
    nlp_blank.initialize()  # to use it as it is, none is needed
    with pytest.raises(UserError, match="A teacher was expected"):
        ner.update(examples)


def test_teacher_with_other_labels(nlp_blank, checkpoint, trained):
    ner = add_ner(nlp_blank, checkpoint, loss=DISTILLATION)
    teacher = make_teacher(trained / "transformer_ner" / "checkpoint")
    with pytest.raises(UserError, match="lacks B-COURIER, I-COURIER"):
        ner.initialize(
            lambda: [Example(doc, doc) for doc in make_docs(nlp_blank)], teacher=teacher
        )


def test_trained_checkpoint_is_base_and_teacher_of_the_next_round(trained):
    nlp = blank_pipeline("xx")
    base = trained / "transformer_ner" / "checkpoint"
    ner = add_ner(nlp, base, freeze=["embeddings"], loss=DISTILLATION)
    examples = make_examples(nlp)
    ner.initialize(
        lambda: examples,
        labels=["ZIP", "PER", "COURIER", "PHONE", "LOC"],
        teacher=make_teacher(base),
    )
    assert ner.labels == ("PER", "ORG", "LOC", "COURIER", "PHONE", "ZIP")
    assert ner.cfg["old_types"] == ["PER", "ORG", "LOC", "COURIER", "PHONE"]
    assert ner.update(examples)["transformer_ner"] < 0.05


def test_score_has_spacys_seqevals_and_old_and_new(trained):
    nlp = spacy.load(trained)
    scores = nlp.evaluate(make_examples(nlp))
    for key in ("ents_f", "seqeval_f", "seqeval_accuracy", "ents_old_f", "ents_new_f"):
        assert scores[key] == pytest.approx(1.0)
    assert set(scores["seqeval_per_type"]) == {"PER", "LOC", "COURIER", "PHONE"}
    assert srsly.json_loads(srsly.json_dumps(scores))["seqeval_f"] == 1.0


@pytest.mark.parametrize("outside", ["teacher", "union"])
def test_background_distillation_learns(nlp_blank, checkpoint, tmp_path, outside):
    ner = add_ner(nlp_blank, checkpoint, loss={**BACKGROUND, "outside": outside})
    examples = make_examples(nlp_blank)
    ner.initialize(
        lambda: examples,
        nlp=nlp_blank,
        teacher=make_teacher(checkpoint),
        replay=make_replay(tmp_path / "texts.txt"),
    )
    random.seed(0)
    optimizer = Adam(3e-3, grad_clip=1.0, use_averages=False)
    values = [ner.update(examples, sgd=optimizer)["transformer_ner"] for _ in range(20)]
    assert np.isfinite(values).all()
    assert np.mean(values[-3:]) < np.mean(values[:3]) / 2


def test_the_teacher_is_asked_once(nlp_blank, checkpoint, monkeypatch):
    """At the first update, and about all; labels are read without its weights."""
    ner = add_ner(nlp_blank, checkpoint, loss=BACKGROUND)
    examples = make_examples(nlp_blank)
    teacher, n_asked = make_teacher(checkpoint), []
    remember = teacher.remember

    def count(docs, featured):
        n_asked.append(len(docs))
        remember(docs, featured)

    monkeypatch.setattr(teacher, "remember", count)
    ner.initialize(lambda: examples, nlp=nlp_blank, teacher=teacher)
    assert (n_asked, ner.lessons.regime.n_texts) == ([], 0)
    for _ in range(3):
        ner.update(examples)
    ner.get_loss(examples, ner.model.predict([eg.predicted for eg in examples]))
    assert (n_asked, ner.lessons.regime.n_texts) == ([4], 4)


def test_pseudo_labels_are_taught(nlp_blank, checkpoint):
    """What the teacher finds beside the gold is gold, or not looked at."""
    gold, values = [], []
    for pseudo_labels in (False, True):
        nlp = blank_pipeline("xx")
        loss = {**BACKGROUND, "annotated": [], "pseudo_labels": pseudo_labels}
        ner = add_ner(nlp, checkpoint, loss=loss)
        examples = make_examples(nlp)
        ner.initialize(lambda e=examples: e, nlp=nlp, teacher=make_teacher(checkpoint))
        values.append(ner.update(examples)["transformer_ner"])
        docs = [eg.predicted for eg in examples]
        ids, _ = read_gold(ner.model, ner.lessons, examples, docs)
        gold.append(np.concatenate(ids))
        rows = ner.model.predict(docs)
        assert ner.get_loss(examples, rows)[0] == pytest.approx(values[-1], rel=1e-5)
    without, relabelled = gold
    outside = without == TAGS.index("O")
    assert np.array_equal(relabelled[~outside], without[~outside])
    assert {NO_GOLD, TAGS.index("B-PER")} <= set(relabelled[outside])
    assert np.isfinite(values).all()
    assert abs(values[0] - values[1]) > 0.1


def test_annotated_types_that_the_teacher_does_not_know(nlp_blank, checkpoint):
    loss = {**BACKGROUND, "annotated": ["COURIER"]}
    ner = add_ner(nlp_blank, checkpoint, loss=loss)
    examples = make_examples(nlp_blank)
    with pytest.raises(UserError, match=r"teacher knows \(PER, ORG, LOC\), but it is"):
        ner.initialize(lambda: examples, teacher=make_teacher(checkpoint))


@pytest.fixture
def n_fits(monkeypatch) -> list[int]:
    """Of how many tokens rows were fitted, fit by fit."""
    sizes, put_rows = [], ck.put_rows

    def count(head, n_old, features, targets):
        sizes.append(len(targets))
        put_rows(head, n_old, features, targets)

    monkeypatch.setattr(ck, "put_rows", count)
    return sizes


@pytest.mark.parametrize("loss", [None, DISTILLATION, BACKGROUND])
def test_the_first_update_fits_rows(nlp_blank, any_checkpoint, n_fits, loss):
    """With a teacher and without; until then predictions are the checkpoint's."""
    settings = {} if loss is None else {"loss": loss}
    ner = add_ner(nlp_blank, any_checkpoint, new_rows="probe", **settings)
    examples = make_examples(nlp_blank)
    teacher = None if loss is None else make_teacher(any_checkpoint)
    ner.initialize(lambda: examples, nlp=nlp_blank, teacher=teacher)
    for text in SENTENCES:
        best = plain_rows(any_checkpoint, text.split()).argmax(axis=1)
        ents = ner(Doc(nlp_blank.vocab, words=text.split())).ents
        spans = [(ent.start, ent.end, ent.label_) for ent in ents]
        assert spans == spans_from_tags([TAGS[i] for i in best])
    before = weights(ner)
    ner.update(examples)
    assert n_fits == [sum(len(eg.predicted) for eg in examples)]
    for name, after in weights(ner).items():
        n_kept = len(TAGS) if name.startswith("classifier.") else len(after)
        np.testing.assert_array_equal(after[:n_kept], before[name][:n_kept])
        assert (after[n_kept:] != before[name][n_kept:]).all()
    assert len(before["classifier.bias"]) == len(TAGS) + 4


def test_fitted_rows_know_the_corpus(checkpoint):
    """Before any step, as far as an encoder can tell that was not trained for it."""
    found, values = {}, {}
    for new_rows in ("mean", "probe"):
        nlp = blank_pipeline("xx")
        ner = add_ner(nlp, checkpoint, new_rows=new_rows)
        examples = make_examples(nlp)
        nlp.initialize(lambda e=examples: e)
        values[new_rows] = ner.update(examples)["transformer_ner"]
        ents = [ent for text, _ in ANNOTATED for ent in ner(nlp.make_doc(text)).ents]
        found[new_rows] = {ent.label_ for ent in ents} & {"COURIER", "PHONE"}
    assert found == {"mean": set(), "probe": {"COURIER", "PHONE"}}
    assert values["probe"] < values["mean"] - 0.5


def test_rows_are_fitted_once(nlp_blank, checkpoint, n_fits):
    ner = add_ner(nlp_blank, checkpoint, new_rows="probe")
    examples = make_examples(nlp_blank)
    nlp_blank.initialize(lambda: examples)
    optimizer = Adam(3e-3, use_averages=False)
    for _ in range(3):
        ner.update(examples, sgd=optimizer)
    ner.get_loss(examples, ner.model.predict([eg.predicted for eg in examples]))
    assert len(n_fits) == 1
    before = weights(ner)
    nlp_blank.initialize(lambda: examples)  # now nothing is new
    ner.update(examples)
    assert len(n_fits) == 1
    after = weights(ner)
    assert all(np.array_equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("new_rows", "texts"), [("mean", ANNOTATED), ("random", ANNOTATED), ("probe", [])]
)
def test_rows_are_not_fitted(nlp_blank, checkpoint, n_fits, new_rows, texts):
    """Unless that is asked for, and there are new tags."""
    ner = add_ner(nlp_blank, checkpoint, new_rows=new_rows)
    examples = make_examples(nlp_blank)[: len(texts)] or [
        Example(doc, doc.copy()) for doc in make_docs(nlp_blank)
    ]
    nlp_blank.initialize(lambda: examples)
    ner.update(examples)
    assert n_fits == []


def test_rows_are_fitted_to_labelled_tokens(nlp_blank, checkpoint, n_fits):
    ner = add_ner(nlp_blank, checkpoint, new_rows="probe")
    examples = make_examples(nlp_blank)
    for eg in examples[1:]:
        eg.reference.set_ents([], default="missing")
    nlp_blank.initialize(lambda: examples)
    ner.update(examples)
    assert n_fits == [len(examples[0].predicted)]


def test_without_labelled_tokens_new_rows_stay_as_they_are(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint, new_rows="probe")
    ner.add_label("COURIER")
    nlp_blank.initialize()
    before = weights(ner)
    ner.update(make_examples(nlp_blank)[3:])
    after = weights(ner)
    assert all(np.array_equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("new_rows", ["mean", "probe"])
def test_what_is_frozen_gets_no_gradient(nlp_blank, checkpoint, new_rows):
    freeze = ["embeddings", "encoder.layer.1"]
    ner = add_ner(nlp_blank, checkpoint, freeze=freeze, new_rows=new_rows)
    examples = make_examples(nlp_blank)
    nlp_blank.initialize(lambda: examples)
    ner.update(examples)
    module = ner.model.shims[0].module
    without = {name for name, p in module.named_parameters() if p.grad is None}
    frozen = tuple(f"roberta.{name}." for name in freeze)
    names = {name for name, _ in module.named_parameters()}
    assert without == {name for name in names if name.startswith(frozen)}


@pytest.mark.parametrize(("weight", "feels"), [(1.0, True), (0.0, False)])
def test_gradient_depends_on_the_replayed_text(checkpoint, tmp_path, weight, feels):
    """Unless it has no weight. The examples stay the same, and so does their share."""
    gradients = []
    for texts in ([], ["Anna waits in Bremen"] * 9, ["nobody wartet by 555"] * 9):
        nlp = blank_pipeline("xx")
        loss = {**BACKGROUND, "unlabelled_weight": weight}
        ner = add_ner(nlp, checkpoint, loss=loss)
        examples = make_examples(nlp)
        replay = make_replay(tmp_path / "texts.txt", texts) if texts else None
        teacher = make_teacher(checkpoint)
        ner.initialize(lambda e=examples: e, nlp=nlp, teacher=teacher, replay=replay)
        ner.update(examples)
        parameters = ner.model.shims[0].module.parameters()
        grads = [p.grad.numpy().ravel() for p in parameters if p.grad is not None]
        gradients.append(np.concatenate(grads))
    without, *others = gradients
    gaps = [np.abs(other - without).max() for other in others]
    assert [gap > 1e-3 for gap in gaps] == [feels, feels]
    if feels:
        assert np.abs(others[0] - others[1]).max() > 1e-3
    else:
        assert max(gaps) < 1e-5


def distance(ner, teacher, docs) -> float:
    """Between the features of student and teacher, over the teacher's."""
    ours, theirs = (
        np.concatenate(model.attrs["predict_features"](model, docs))[:, n_tags:]
        for model, n_tags in ((ner.model, len(ner.tags)), (teacher, len(TAGS)))
    )
    return float(np.square(ours - theirs).sum() / np.square(theirs).sum())


def test_features_of_replayed_texts_are_held(trained, checkpoint, tmp_path):
    """A student that has gone astray comes back to its teacher with a weight on them;
    without, it hardly does. What it learns is a pipeline like any."""
    left, base = {}, trained / "transformer_ner" / "checkpoint"
    for weight in (0.0, 5.0):
        nlp = blank_pipeline("xx")
        loss = {**BACKGROUND, "unlabelled_weight": 0.0, "feature_weight": weight}
        ner = add_ner(nlp, base, loss=loss)
        examples, teacher = make_examples(nlp), make_teacher(checkpoint)
        replay = make_replay(tmp_path / "texts.txt")
        ner.initialize(lambda e=examples: e, nlp=nlp, teacher=teacher, replay=replay)
        network = teacher._load()
        network.initialize()
        start = distance(ner, network, replay.docs)
        random.seed(0)
        optimizer = Adam(3e-3, grad_clip=1.0, use_averages=False)
        for _ in range(15):
            losses = ner.update(examples, sgd=optimizer)
        assert np.isfinite(losses["transformer_ner"])
        assert ner.model.attrs["with_features"] is bool(weight)
        left[weight] = distance(ner, network, replay.docs) / start
    assert start > 0.1
    assert left[5.0] < 0.5
    assert left[5.0] < left[0.0] / 2
    docs = make_docs(nlp)
    for doc, rows in zip(docs, ner.model.predict(docs), strict=True):
        assert rows.shape == (len(doc), len(ner.tags))
    nlp.to_disk(tmp_path / "model")
    again = spacy.load(tmp_path / "model")
    texts = [*SENTENCES, *(text for text, _ in ANNOTATED)]
    assert [entities(again(text)) for text in texts] == [
        entities(nlp(text)) for text in texts
    ]
    assert any(entities(nlp(text)) for text in texts)


def test_update_adds_the_features_of_replayed_texts(checkpoint, tmp_path):
    """Nothing at the start, where student and teacher are the same; `get_loss`, which
    sees no features, is that of the examples."""
    values = []
    for weight in (0.0, 5.0):
        nlp = blank_pipeline("xx")
        loss = {**BACKGROUND, "feature_weight": weight}
        ner = add_ner(nlp, checkpoint, loss=loss)
        examples, teacher = make_examples(nlp), make_teacher(checkpoint)
        replay = make_replay(tmp_path / "texts.txt")
        ner.initialize(lambda e=examples: e, nlp=nlp, teacher=teacher, replay=replay)
        random.seed(0)
        value = ner.update(examples)["transformer_ner"]
        rows = ner.model.predict([eg.predicted for eg in examples])
        got, d_rows = ner.get_loss(examples, rows)
        assert [d.shape for d in d_rows] == [r.shape for r in rows]
        values.append((value, got))
    (without, got_without), (value, got) = values
    assert value == pytest.approx(without, abs=1e-4)
    assert got == pytest.approx(got_without, abs=1e-4)


@pytest.mark.parametrize("has_replay", [True, False])
def test_before_training_all_is_kept(nlp_blank, checkpoint, tmp_path, has_replay):
    ner = add_ner(nlp_blank, checkpoint, loss=BACKGROUND, new_rows="mean")
    examples = make_examples(nlp_blank)
    replay = make_replay(tmp_path / "texts.txt", held_out=2) if has_replay else None
    teacher = make_teacher(checkpoint)
    ner.initialize(lambda: examples, nlp=nlp_blank, teacher=teacher, replay=replay)
    assert nlp_blank.evaluate(examples)["ents_kept_f"] == 1.0
    optimizer = Adam(1e-2, use_averages=False)
    for eg in examples:  # a lesson that nothing is an entity
        eg.reference.set_ents([], default="outside")
    ner.loss = configure_cross_entropy()
    for _ in range(30):
        ner.update(examples, sgd=optimizer)
    assert nlp_blank.evaluate(examples)["ents_kept_f"] < 0.5


def test_without_a_teacher_nothing_is_said_of_what_is_kept(nlp_blank, checkpoint):
    add_ner(nlp_blank, checkpoint)
    examples = make_examples(nlp_blank)
    nlp_blank.initialize(lambda: examples)
    assert "ents_kept_f" not in nlp_blank.evaluate(examples)


def test_what_was_trained_with_has_no_place_in_the_pipeline(nlp_blank, tmp_path):
    """Neither teacher nor replay is saved, nor needed to load it."""
    base = make_checkpoint("xlm-roberta", tmp_path / "base")
    texts = tmp_path / "texts.txt"
    make_replay(texts, ["ein Satz zum Wiederholen", "Anna wartet"], held_out=1)
    add_ner(nlp_blank, base, loss=BACKGROUND)
    nlp_blank.config["initialize"]["components"]["transformer_ner"] = {
        "teacher": {
            "@misc": "retainer.CheckpointTeacher.v1",
            "name": str(base),
            "revision": None,
            "cache": None,
            "max_batch_pieces": 4096,
            "precision": "float32",
            "device": "cpu",
        },
        "replay": {
            "@misc": "retainer.Replay.v1",
            "path": str(texts),
            "column": "text",
            "ratio": 1.0,
            "n_texts": 10,
            "held_out": 1,
        },
    }
    examples = make_examples(nlp_blank)
    nlp_blank.initialize(lambda: examples)
    optimizer = Adam(3e-3, grad_clip=1.0, use_averages=False)
    for _ in range(3):
        nlp_blank.update(examples, sgd=optimizer)
    nlp_blank.to_disk(tmp_path / "model")
    shutil.rmtree(base)
    texts.unlink()
    folder = tmp_path / "model" / "transformer_ner"
    assert {path.name for path in folder.iterdir()} == {"cfg", "checkpoint"}
    assert len(list(folder.rglob("*.safetensors"))) == 1
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert not any(b"ein Satz zum" in file.read_bytes() for file in files)
    nlp = spacy.load(tmp_path / "model")
    assert nlp.get_pipe("transformer_ner").lessons is None
    for text, _ in ANNOTATED:
        assert entities(nlp(text)) == entities(nlp_blank(text))
    assert "ents_kept_f" not in nlp.evaluate(make_examples(nlp))


@pytest.mark.parametrize(
    ("settings", "head_moves", "encoder_moves"),
    [
        ({"head_rate": 1.0}, True, True),
        ({"head_rate": 0.0}, False, True),
        ({"freeze": ["embeddings", "encoder"]}, True, False),
        ({"freeze": ["embeddings", "encoder"], "head_rate": 0.0}, False, False),
    ],
)
def test_what_moves(nlp_blank, checkpoint, settings, head_moves, encoder_moves):
    """With weight decay on, which moves nothing that does not learn."""
    ner = add_ner(nlp_blank, checkpoint, **settings)
    examples = make_examples(nlp_blank)
    nlp_blank.initialize(lambda: examples)
    before = weights(ner)
    optimizer = Adam(1e-2, L2=0.1, grad_clip=1.0, use_averages=False)
    for _ in range(3):
        ner.update(examples, sgd=optimizer)
    moved = {k for k, w in weights(ner).items() if not np.array_equal(w, before[k])}
    head = {name for name in before if name.startswith("classifier.")}
    assert head == {"classifier.weight", "classifier.bias"}
    assert moved & head == (head if head_moves else set())
    assert bool(moved - head) == encoder_moves


@pytest.mark.parametrize("head_rate", [0.1, 1.0, 5.0])
def test_head_rate_is_over_that_of_the_encoder(nlp_blank, checkpoint, head_rate):
    """Adam's first step moves each weight that has a gradient by the learning rate."""
    ner = add_ner(nlp_blank, checkpoint, head_rate=head_rate)
    examples = make_examples(nlp_blank)
    nlp_blank.initialize(lambda: examples)
    before = weights(ner)
    ner.update(examples, sgd=Adam(1e-3, L2=0.0, use_averages=False))
    steps = {k: np.abs(w - before[k]).max() for k, w in weights(ner).items()}
    head = max(steps.pop(f"classifier.{name}") for name in ("weight", "bias"))
    assert head == pytest.approx(1e-3 * head_rate, rel=0.01)
    assert max(steps.values()) == pytest.approx(1e-3, rel=0.01)


def test_replay_for_a_loss_without_a_teacher(nlp_blank, checkpoint, tmp_path, caplog):
    ner = add_ner(nlp_blank, checkpoint)
    replay = make_replay(tmp_path / "texts.txt")
    examples = [Example(doc, doc) for doc in make_docs(nlp_blank)]
    ner.initialize(lambda: examples, nlp=nlp_blank, replay=replay)
    assert "texts to replay are not used" in caplog.text
    assert ner.lessons is None
