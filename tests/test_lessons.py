"""With a tiny checkpoint as teacher, which finds many PER and hardly anything else."""

import logging
import random

import numpy as np
import pytest
from conftest import SENTENCES, TAGS, add_ner
from spacy.tokens import Doc
from spacy.training import Example
from test_ner import make_teacher
from test_network import make_docs
from test_regimes import TEACHER_TAGS, gold_of, rows_of
from thinc.api import Model

from retainer.background import NEVER, configure_background_distillation, silence
from retainer.decoding import decode_greedy
from retainer.errors import UserError
from retainer.labels import split_tag, tags_from_spans
from retainer.lessons import Lessons, agreement
from retainer.losses import (
    NO_GOLD,
    NO_PIECES,
    Loss,
    configure_interpolated_distillation,
)
from retainer.replay import Replay, configure_replay
from retainer.teacher import Teacher

STUDENT_TAGS = ["B-CAR", "I-CAR", *TAGS[::-1]]
REPLAYED = [
    "Freight by Northway",
    "Anna in Kazan",
    "a parcel",
    "Bremen",
    "Ana wartet in Kazan",
    "nobody of Northway",
]


def make_replay(nlp, tmp_path, held_out: int = 1) -> Replay:
    path = tmp_path / "replay.txt"
    path.write_text("\n".join(REPLAYED), "utf-8")
    replay = configure_replay(path, "text", 1.0, 100, held_out)
    replay.read(nlp)
    return replay


def make_corpus(lessons: Lessons, nlp, *, annotated: bool) -> tuple[list, list]:
    """Docs, and gold ids: O, or all that the teacher finds."""
    docs, gold = make_docs(nlp), []
    for doc in docs:
        spans = lessons.expected(doc) if annotated else []
        path = tags_from_spans(len(doc), spans, STUDENT_TAGS)
        gold.append(np.array([STUDENT_TAGS.index(tag) for tag in path]))
    return docs, gold


def make_loss(
    annotated="auto", *, pseudo_labels: bool = False, feature_weight: float = 1.0
) -> Loss:
    """annotated: None for the classic recipe, which asks the teacher about all."""
    if annotated is None:
        return configure_interpolated_distillation(0.5, 2.0, "tokens")
    return configure_background_distillation(
        "teacher", annotated, pseudo_labels, 1.0, 1.0, 1.0, feature_weight
    )


def make_lessons(
    checkpoint, replay=None, *, annotated="auto", feature_weight: float = 1.0
) -> Lessons:
    loss = make_loss(annotated, feature_weight=feature_weight)
    return Lessons(make_teacher(checkpoint), replay, decode_greedy, loss)


def test_nothing_is_drawn_for_a_loss_that_would_not_look(
    nlp_blank, checkpoint, tmp_path
):
    replay = make_replay(nlp_blank, tmp_path)
    docs = make_docs(nlp_blank)
    assert make_lessons(checkpoint, replay).draw(docs)
    classic = configure_interpolated_distillation(0.5, 2.0, "tokens")
    blind = Lessons(make_teacher(checkpoint), replay, decode_greedy, classic)
    assert blind.draw(docs) == []


@pytest.mark.parametrize("feature_weight", [0.0, 1.0])
def test_each_text_is_asked_about_once(
    nlp_blank, checkpoint, tmp_path, asked, feature_weight
):
    replay = make_replay(nlp_blank, tmp_path)
    lessons = make_lessons(checkpoint, replay, feature_weight=feature_weight)
    docs = make_docs(nlp_blank, [*SENTENCES, SENTENCES[0]])
    gold = [np.zeros(len(doc), dtype=int) for doc in docs]
    assert asked == []
    lessons.begin(docs, gold, STUDENT_TAGS)
    texts = [doc.text for doc in [*docs[:-1], *replay.docs, *replay.held_out_docs]]
    assert sorted(asked) == sorted(texts)
    lessons.said(
        [*docs, *replay.docs],
        [*gold, *(np.full(len(doc), NO_GOLD) for doc in replay.docs)],
    )
    for doc in [*replay.docs, *replay.held_out_docs]:
        lessons.expected(doc)
    assert len(asked) == len(texts)


def test_a_corpus_without_texts(checkpoint, nlp_blank, tmp_path):
    lessons = make_lessons(checkpoint, make_replay(nlp_blank, tmp_path))
    lessons.begin([], [], STUDENT_TAGS)
    assert set(lessons.regime.verdicts.values()) == {"absent"}
    assert lessons.said([], []) == []


@pytest.mark.parametrize(
    ("annotated", "verdict"), [(True, "annotated"), (False, "not annotated")]
)
def test_regime(nlp_blank, checkpoint, capsys, annotated, verdict):
    lessons = make_lessons(checkpoint)
    docs, gold = make_corpus(lessons, nlp_blank, annotated=annotated)
    lessons.begin(docs, gold, STUDENT_TAGS)
    assert lessons.regime.n_texts == len(SENTENCES)
    assert lessons.regime.verdicts["PER"] == verdict
    assert lessons.regime.gold["PER"] == sum(
        len(lessons.expected(doc)) for doc in docs if annotated
    )
    described = f"Old types in the corpus: {lessons.regime.describe()}"
    assert described in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("annotated", "has_replay", "n_warnings"),
    [("auto", False, 1), ([], False, 1), ("auto", True, 0), (None, False, 0)],
)
def test_warning_of_no_replay(
    nlp_blank, checkpoint, tmp_path, caplog, annotated, has_replay, n_warnings
):
    replay = make_replay(nlp_blank, tmp_path) if has_replay else None
    lessons = make_lessons(checkpoint, replay, annotated=annotated)
    with caplog.at_level(logging.WARNING, logger="spacy"):
        lessons.begin([], [], STUDENT_TAGS)
    assert len(caplog.records) == n_warnings
    assert caplog.text.count("no texts to replay") == n_warnings


@pytest.mark.parametrize(
    ("given", "is_annotated", "silenced"),
    [
        ("auto", True, {"PER"}),
        ("auto", False, set()),
        (None, True, set()),
        ([], True, set()),  # as ExtendNER was published
        (["PER"], False, {"PER"}),
        (["LOC", "ORG"], True, {"LOC", "ORG"}),
    ],
)
def test_annotated_types_are_silenced_on_labelled_tokens(
    nlp_blank, checkpoint, given, is_annotated, silenced
):
    """Those that are given, whatever the corpus seems to annotate."""
    lessons = make_lessons(checkpoint, annotated=given)
    docs, gold = make_corpus(lessons, nlp_blank, annotated=is_annotated)
    lessons.begin(docs, gold, STUDENT_TAGS)
    for ids in gold:
        ids[1:4], ids[5] = NO_GOLD, NO_PIECES
    before = lessons.teacher.logits(docs)
    assert lessons.annotated == silenced
    is_silenced = np.array([split_tag(tag)[1] in silenced for tag in TAGS])
    for _ in range(2):  # asking again gives the same
        said = lessons.said(docs, gold)
        for rows, ids, doc_before in zip(said, gold, before, strict=True):
            expected = doc_before.copy()
            expected[ids >= 0] = silence(doc_before[ids >= 0], is_silenced, 0)
            assert (expected == NEVER).any() == bool(silenced)
            np.testing.assert_array_equal(rows, expected)
    for rows, doc_before in zip(lessons.teacher.logits(docs), before, strict=True):
        np.testing.assert_array_equal(rows, doc_before)


@pytest.mark.parametrize(
    ("has_replay", "annotated", "feature_weight", "expected"),
    [
        (True, "auto", 1.0, True),
        (True, "auto", 0.0, False),
        (False, "auto", 1.0, False),  # of the corpus, features are to change
        (True, None, 1.0, False),
    ],
)
def test_features_of_replayed_texts_are_taught(
    nlp_blank, checkpoint, tmp_path, has_replay, annotated, feature_weight, expected
):
    """If they have a weight: behind the logits, which stay as they are."""
    replay = make_replay(nlp_blank, tmp_path) if has_replay else None
    lessons = make_lessons(
        checkpoint, replay, annotated=annotated, feature_weight=feature_weight
    )
    assert lessons.has_features is expected
    docs, gold = make_corpus(lessons, nlp_blank, annotated=False)
    lessons.begin(docs, gold, STUDENT_TAGS)
    replayed, held_out = (replay.docs, replay.held_out_docs) if has_replay else ([], [])
    texts = [*docs, *replayed, *held_out]
    gold = [*gold, *(np.full(len(doc), NO_GOLD) for doc in texts[len(docs) :])]
    said, logits = lessons.said(texts, gold), lessons.teacher.logits(texts)
    for doc, rows, doc_logits in zip(texts, said, logits, strict=True):
        assert rows.shape == (len(doc), len(TAGS) + 32 * expected)
        np.testing.assert_array_equal(rows[:, : len(TAGS)], doc_logits)
        features = rows[:, len(TAGS) :]
        if doc in replayed:
            np.testing.assert_array_equal(
                features, lessons.teacher.features(doc)[:, : features.shape[1]]
            )
            assert np.isfinite(features).all()
        else:
            assert np.isneginf(features).all()
    assert lessons.said([], []) == []


@pytest.mark.parametrize("annotated", [["PER", "CAR"], ["CAR"], "PER", ["per"]])
def test_annotated_types_that_the_teacher_does_not_know(checkpoint, annotated):
    with pytest.raises(UserError) as error:
        make_lessons(checkpoint, annotated=annotated)
    message = str(error.value)
    assert f"the teacher knows (PER, ORG, LOC), but it is {annotated}." in message


def fixed_teacher(said: dict[str, str]) -> Teacher:
    """said: by text, what `rows_of` reads, a word a token."""

    def forward(model, docs, is_train):
        return [rows_of(said[doc.text]) for doc in docs], lambda d_rows: []

    return Teacher(TEACHER_TAGS, lambda: Model("fixed", forward))


# gold, what the teacher says, gold with pseudo-labels
RELABELLED = {
    "nothing": ("O O O", "O O O", "O O O"),
    "sure": ("O O O", "B-PER I-PER O", "B-PER I-PER O"),
    "not sure": ("O O O", "B-PER? I-PER? O", "- - O"),
    "sure for its type": ("O O", "B-LOC? O", "B-LOC O"),
    "one of two": ("O O O", "B-PER? B-LOC O", "- B-LOC O"),
    "an entity": ("B-CAR I-CAR O", "B-PER? I-PER B-PER", "B-CAR I-CAR B-PER"),
    "touches an entity": ("O B-CAR O", "B-PER I-PER I-PER", "O B-CAR O"),
    "without gold": ("- - O", "B-PER B-LOC? B-PER", "- - B-PER"),
    "without gold inside": ("O - O", "B-PER I-PER I-PER", "B-PER - I-PER"),
    "no token": ("", "", ""),
}
# by these the median PER is as sure as can be, and the median LOC is not
BEGUN = [("O O", "B-PER O"), ("O O", "B-PER O"), ("O O", "B-PER? B-LOC?")]


def ids_of(tags: str) -> np.ndarray:
    return np.array(
        [NO_GOLD if tag is None else STUDENT_TAGS.index(tag) for tag in gold_of(tags)],
        dtype=int,
    )


def relabel(
    nlp, name: str, *, begun=BEGUN, annotated=(), pseudo_labels: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Gold ids of RELABELLED, and what becomes of them."""
    texts = [*begun, RELABELLED[name]]
    docs = [
        Doc(nlp.vocab, words=[f"{text_i}-{i}" for i in range(len(gold.split()))])
        for text_i, (gold, *_) in enumerate(texts)
    ]
    said = {doc.text: text[1] for doc, text in zip(docs, texts, strict=True)}
    loss = make_loss(list(annotated), pseudo_labels=pseudo_labels)
    lessons = Lessons(fixed_teacher(said), None, decode_greedy, loss)
    lessons.begin(docs[:-1], [ids_of(gold) for gold, _ in begun], STUDENT_TAGS)
    ids = ids_of(RELABELLED[name][0])
    return ids, lessons.relabel(docs[-1], ids, STUDENT_TAGS)


@pytest.mark.parametrize("name", RELABELLED)
def test_pseudo_labels(nlp_blank, name):
    gold, _, expected = RELABELLED[name]
    ids, relabelled = relabel(nlp_blank, name)
    assert relabelled.tolist() == ids_of(expected).tolist()
    assert ids.tolist() == ids_of(gold).tolist()


@pytest.mark.parametrize("name", RELABELLED)
def test_no_pseudo_labels(nlp_blank, name):
    ids, relabelled = relabel(nlp_blank, name, pseudo_labels=False)
    assert relabelled is ids


@pytest.mark.parametrize(
    ("name", "annotated", "expected"),
    [
        ("sure", ["PER"], "O O O"),
        ("not sure", ["PER"], "O O O"),
        ("one of two", ["PER"], "O B-LOC O"),
        ("one of two", ["LOC"], "- O O"),
        ("one of two", ["PER", "LOC"], "O O O"),
    ],
)
def test_annotated_types_get_no_pseudo_labels(nlp_blank, name, annotated, expected):
    _, relabelled = relabel(nlp_blank, name, annotated=annotated)
    assert relabelled.tolist() == ids_of(expected).tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sure", "B-PER I-PER O"), ("sure for its type", "- O"), ("not sure", "- - O")],
)
def test_pseudo_labels_of_a_type_that_came_up_later(nlp_blank, name, expected):
    """There is no median yet: what is sure by itself is."""
    _, relabelled = relabel(nlp_blank, name, begun=[])
    assert relabelled.tolist() == ids_of(expected).tolist()


def test_tags_are_mapped_by_name(checkpoint):
    tag_map = make_lessons(checkpoint).tag_map(STUDENT_TAGS)
    assert [STUDENT_TAGS[i] for i in tag_map.columns] == TAGS
    assert STUDENT_TAGS[tag_map.outside] == "O"
    assert tag_map.n_tags == len(STUDENT_TAGS)


def test_draw(nlp_blank, checkpoint, tmp_path):
    docs = make_docs(nlp_blank)
    assert make_lessons(checkpoint).draw(docs) == []
    lessons = make_lessons(checkpoint, make_replay(nlp_blank, tmp_path))
    random.seed(0)
    drawn = lessons.draw(docs[:2])
    n_tokens = sum(map(len, docs[:2]))
    assert n_tokens <= sum(map(len, drawn)) < n_tokens + 3
    held_out = lessons.replay.held_out_docs[0]
    assert {doc.text for doc in drawn} == {*REPLAYED} - {held_out.text}


@pytest.mark.parametrize(
    "text", [*SENTENCES, "", "\n", "Anna \n Weber \u200b in Kazan"]
)
def test_expected_is_what_the_checkpoint_finds(nlp_blank, checkpoint, text):
    """As a pipeline on it does: over what has no pieces too."""
    ner = add_ner(nlp_blank, checkpoint)
    nlp_blank.initialize()
    doc = Doc(nlp_blank.vocab, words=text.split(" ") if text else [])
    ents = {(ent.start, ent.end, ent.label_) for ent in ner(doc.copy()).ents}
    assert make_lessons(checkpoint).expected(doc) == ents
    assert bool(ents) == bool(text.strip())


def test_expected_goes_on_over_what_has_no_pieces(nlp_blank) -> None:
    path = ["B-PER", None, "I-PER", "O", "B-LOC", None]
    rows = np.full((len(path), len(TAGS)), -np.inf, dtype=np.float32)
    rows[:, 0] = 0.0
    for row, tag in zip(rows, path, strict=True):
        if tag is not None:
            row[:] = np.eye(len(TAGS))[TAGS.index(tag)]
    network = Model("fixed", lambda model, docs, is_train: ([rows], lambda d: []))
    lessons = Lessons(Teacher(TAGS, lambda: network), None, decode_greedy, make_loss())
    (doc,) = make_docs(nlp_blank, ["Anna _ Weber in Kazan _"])
    assert lessons.expected(doc) == {(0, 3, "PER"), (4, 5, "LOC")}


@pytest.mark.parametrize("annotated", [["PER"], ["LOC"], ["PER", "LOC"], []])
def test_expected_of_an_example(nlp_blank, checkpoint, annotated):
    """Gold of annotated types; of the others what the teacher finds; nothing new."""
    lessons = make_lessons(checkpoint)
    for kind in annotated:
        lessons.regime.gold[kind] = 10
    doc = nlp_blank.make_doc("call Petra Lang at 555 01 99 now")
    ents = [(5, 15, "PER"), (29, 32, "LOC"), (19, 28, "PHONE")]
    eg = Example.from_dict(doc, {"entities": ents})
    teachers = lessons.expected(doc)
    assert {kind for *_, kind in teachers} == {"PER", "LOC"}
    gold = {(1, 3, "PER"), (7, 8, "LOC")}
    assert teachers.isdisjoint(gold)
    assert lessons.expected_of(eg) == {
        *(span for span in gold if span[2] in annotated),
        *(span for span in teachers if span[2] not in annotated),
    }


@pytest.mark.parametrize("held_out", [0, 2])
def test_score_of_what_is_kept(nlp_blank, checkpoint, tmp_path, held_out):
    """On held-out texts where there are any, else on the examples; of old types."""
    lessons = make_lessons(checkpoint, make_replay(nlp_blank, tmp_path, held_out))
    docs = make_docs(nlp_blank)
    examples = [Example(doc, doc.copy()) for doc in docs]
    read = []

    def predict(batch):
        read.extend(batch)
        found = [lessons.expected(doc) for doc in batch]
        return [[*((*span, 0.9) for span in f), (0, 1, "CAR", 0.9)] for f in found]

    assert lessons.score_kept(examples, predict) == 1.0
    assert read == (lessons.replay.held_out_docs if held_out else docs)
    nothing = lessons.score_kept(examples, lambda batch: [[] for _ in batch])
    assert nothing == 0.0


def test_score_of_many_docs(nlp_blank, checkpoint):
    """More than are read at once, each against its own."""
    lessons = make_lessons(checkpoint)
    docs = make_docs(nlp_blank, [" ".join(["Anna"] * (i % 7 + 1)) for i in range(150)])
    examples = [Example(doc, doc.copy()) for doc in docs]

    def predict(batch):
        return [[(*span, 0.9) for span in lessons.expected(doc)] for doc in batch]

    assert lessons.score_kept(examples, predict) == 1.0


def test_score_where_there_are_no_entities(checkpoint):
    assert make_lessons(checkpoint).score_kept([], lambda batch: []) is None


A, B, C = (0, 1, "PER"), (2, 4, "PER"), (2, 4, "LOC")


@pytest.mark.parametrize(
    ("found", "expected", "f1"),
    [
        ([], [], None),
        ([set(), set()], [set(), set()], None),
        ([{A, B}], [{A, B}], 1.0),
        ([{A}, {C}], [{A}, {C}], 1.0),
        ([{A}], [set()], 0.0),
        ([set()], [{A}], 0.0),
        ([{B}], [{C}], 0.0),  # of another type
        ([{A}, set()], [set(), {A}], 0.0),  # in another doc
        ([{A, B}], [{A, C}], 0.5),
        ([{A, B}, {A}], [{A}, {A}], 0.8),
    ],
)
def test_agreement(found: list, expected: list, f1: float | None) -> None:
    assert agreement(found, expected) == (f1 if f1 is None else pytest.approx(f1))


def test_agreement_of_other_docs() -> None:
    with pytest.raises(ValueError, match="shorter"):
        agreement([{A}, {B}], [{A}])
