import pytest
import srsly
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics
from spacy import registry
from spacy.scorer import PRFScore
from spacy.tokens import Doc, Span
from spacy.training import Example

from retainer.corpus import blank_pipeline
from retainer.scoring import (
    configure_ner_scorer,
    count_by_type,
    group_scores,
    pool,
    score_ner,
    seqeval_scores,
    tag_paths,
    tag_sequence,
    token_bounds,
)

VOCAB = blank_pipeline("xx").vocab
Ents = list[tuple[int, int, str]]


def make_doc(tokens: str, ents: Ents) -> Doc:
    """Example: "New |York|." has the text "New York."; ents are in tokens."""
    pieces = tokens.split("|") if tokens else []
    words = [piece.removesuffix(" ") for piece in pieces]
    doc = Doc(VOCAB, words=words, spaces=[piece.endswith(" ") for piece in pieces])
    doc.set_ents([Span(doc, *ent) for ent in ents], default="outside")
    return doc


def make_example(predicted: tuple[str, Ents], reference: tuple[str, Ents]) -> Example:
    return Example(make_doc(*predicted), make_doc(*reference))


def counts(prf: PRFScore) -> tuple[int, int, int]:
    return prf.tp, prf.fp, prf.fn


# predicted, reference, then by hand: the tags of both, cut at each other's boundaries,
# and true and false positives and false negatives
CASES = {
    "equal": (
        ("New |York |is", [(0, 2, "LOC")]),
        ("New |York |is", [(0, 2, "LOC")]),
        "B-LOC I-LOC O",
        "B-LOC I-LOC O",
        (1, 0, 0),
    ),
    "predicted tokens are finer": (
        ("DHL|-|Box |7", [(0, 3, "ORG")]),
        ("DHL-Box |7", [(0, 1, "ORG")]),
        "B-ORG I-ORG I-ORG O",
        "B-ORG I-ORG I-ORG O",
        (1, 0, 0),
    ),
    "predicted tokens are coarser": (
        ("DHL-Box |7", [(0, 1, "ORG")]),
        ("DHL|-|Box |7", [(0, 3, "ORG")]),
        "B-ORG I-ORG I-ORG O",
        "B-ORG I-ORG I-ORG O",
        (1, 0, 0),
    ),
    "each is finer somewhere": (
        ("a|b |cd", [(0, 2, "PER"), (2, 3, "LOC")]),
        ("ab |c|d", [(0, 1, "PER"), (1, 3, "LOC")]),
        "B-PER I-PER B-LOC I-LOC",
        "B-PER I-PER B-LOC I-LOC",
        (2, 0, 0),
    ),
    "predicted token is too long": (
        ("New |York-based |DHL", [(0, 2, "LOC"), (2, 3, "ORG")]),
        ("New |York|-|based |DHL", [(0, 2, "LOC"), (4, 5, "ORG")]),
        "B-LOC I-LOC I-LOC I-LOC B-ORG",
        "B-LOC I-LOC O O B-ORG",
        (1, 1, 1),
    ),
    "tokens cross": (
        ("abc|def", [(0, 1, "PER")]),
        ("ab|cd|ef", [(1, 2, "PER")]),
        "B-PER I-PER O O",
        "O B-PER I-PER O",
        (0, 1, 1),
    ),
    "neighbours of one type": (
        ("Anna |Bob", [(0, 2, "PER")]),
        ("Anna |Bob", [(0, 1, "PER"), (1, 2, "PER")]),
        "B-PER I-PER",
        "B-PER B-PER",
        (0, 1, 2),
    ),
    "another type": (
        ("Anna", [(0, 1, "ORG")]),
        ("Anna", [(0, 1, "PER")]),
        "B-ORG",
        "B-PER",
        (0, 1, 1),
    ),
    "a type with a dash": (
        ("a |b", [(0, 2, "GPE-LOC")]),
        ("a |b", [(0, 2, "GPE-LOC")]),
        "B-GPE-LOC I-GPE-LOC",
        "B-GPE-LOC I-GPE-LOC",
        (1, 0, 0),
    ),
    "nothing found": (
        ("a |b", []),
        ("a |b", [(1, 2, "PER")]),
        "O O",
        "O B-PER",
        (0, 0, 1),
    ),
    "white space": (
        ("a|  |b", [(0, 1, "PER"), (2, 3, "PER")]),
        ("a|  |b", [(0, 3, "PER")]),
        "B-PER B-PER",
        "B-PER I-PER",
        (0, 2, 1),
    ),
    "empty": (("", []), ("", []), "", "", (0, 0, 0)),
}


def by_hand(expected: tuple[int, int, int]) -> tuple[float, float, float]:
    tp, fp, fn = expected
    p, r = tp / max(tp + fp, 1), tp / max(tp + fn, 1)
    return p, r, 2 * p * r / max(p + r, 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_both_sides_are_cut_at_each_others_boundaries(case: str) -> None:
    predicted, reference, predicted_tags, gold_tags, _ = CASES[case]
    gold, got = tag_paths([make_example(predicted, reference)])
    assert (got, gold) == ([predicted_tags.split()], [gold_tags.split()])


@pytest.mark.parametrize("case", CASES)
def test_entities_are_right_whole_or_not(case: str) -> None:
    predicted, reference, *_, expected = CASES[case]
    by_type = count_by_type(*tag_paths([make_example(predicted, reference)]))
    assert counts(pool(by_type, by_type)) == expected


@pytest.mark.parametrize("case", CASES)
def test_all_scores_agree(case: str) -> None:
    """spaCy's, seqeval's and ours, however the tokens differ."""
    predicted, reference, predicted_tags, gold_tags, expected = CASES[case]
    scores = score_ner([make_example(predicted, reference)], old_types=[])
    if not any(expected):
        assert {scores[f"ents_{key}"] for key in "prf"} == {None}
        return
    for prefix in ("ents", "ents_new", "seqeval"):
        ours = [scores[f"{prefix}_{key}"] for key in "prf"]
        assert ours == pytest.approx(by_hand(expected)), prefix
    pairs = list(zip(predicted_tags.split(), gold_tags.split(), strict=True))
    accuracy = sum(a == b for a, b in pairs) / len(pairs)
    assert scores["seqeval_accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [("", [0]), ("ab|cd |ef", [0, 2, 4, 6]), ("New |  |York", [0, 3, 3, 7])],
)
def test_bounds_pass_over_white_space(tokens: str, expected: list[int]) -> None:
    assert token_bounds(make_doc(tokens, [])) == expected


def test_tags_of_a_doc_by_hand() -> None:
    doc = make_doc("ab|cd |ef", [(0, 2, "PER")])
    units = [0, 2, 3, 4, 5]
    assert tag_sequence(doc, units, set()) == ["B-PER", "I-PER", "I-PER", "O", "O"]
    assert tag_sequence(doc, units, {4}) == ["B-PER", "I-PER", "I-PER", "O"]
    assert tag_sequence(doc, units, {2}) == ["O", "O", "O", "O"]


def test_what_is_predicted_where_nothing_is_annotated_does_not_count() -> None:
    eg = make_example(
        ("a |b |c", [(0, 1, "PER"), (2, 3, "LOC")]), ("a |b |c", [(0, 1, "PER")])
    )
    eg.reference.set_ents([eg.reference.ents[0]], missing=[eg.reference[2:3]])
    scores = score_ner([eg])
    assert scores["ents_p"] == scores["seqeval_p"] == scores["ents_new_p"] == 1.0
    assert tag_paths([eg]) == ([["B-PER", "O"]], [["B-PER", "O"]])


def test_other_white_space_is_no_other_text() -> None:
    predicted = make_doc("a| , |b", [(0, 1, "PER"), (2, 3, "LOC")])
    reference = make_doc("a |, |b", [(0, 1, "PER"), (2, 3, "LOC")])
    scores = score_ner([Example(predicted, reference)])
    assert scores["ents_f"] == scores["seqeval_f"] == scores["ents_new_f"] == 1.0


def test_counts_are_kept_per_type_and_over_docs() -> None:
    gold = [["B-A", "I-A", "O", "B-B"], ["B-A"], ["O"], []]
    predicted = [["B-A", "I-A", "B-A", "O"], ["B-B"], ["B-C"], []]
    by_type = count_by_type(gold, predicted)
    assert {kind: counts(prf) for kind, prf in by_type.items()} == {
        "A": (1, 1, 1),
        "B": (0, 1, 1),
        "C": (0, 1, 0),
    }


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([], (0, 0, 0)),
        (["A"], (1, 2, 3)),
        (["A", "B"], (11, 22, 33)),
        (["B", "unseen"], (10, 20, 30)),
    ],
)
def test_types_are_pooled(types: list[str], expected: tuple[int, int, int]) -> None:
    by_type = {"A": PRFScore(tp=1, fp=2, fn=3), "B": PRFScore(tp=10, fp=20, fn=30)}
    assert counts(pool(by_type, types)) == expected
    assert counts(by_type["A"]) == (1, 2, 3)


@pytest.mark.parametrize(
    ("old_types", "old", "new"),
    [
        (["PER", "ORG"], (0.5, 1.0, 2 / 3), (1.0, 0.5, 2 / 3)),
        (["PER", "LOC"], (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)),
        (["PER", "ORG", "PHONE"], (2 / 3, 2 / 3, 2 / 3), (None, None, None)),
        ([], (None, None, None), (2 / 3, 2 / 3, 2 / 3)),
        (["LOC"], (None, None, None), (2 / 3, 2 / 3, 2 / 3)),
    ],
)
def test_old_and_new_types_are_scored_apart(
    old_types: list[str], old: tuple, new: tuple
) -> None:
    by_type = {
        "PER": PRFScore(tp=1),
        "ORG": PRFScore(fp=1),
        "PHONE": PRFScore(tp=1, fn=1),
    }
    scores = group_scores(by_type, old_types)
    assert list(scores) == [f"ents_{g}_{key}" for g in ("old", "new") for key in "prf"]
    assert [scores[f"ents_old_{key}"] for key in "prf"] == pytest.approx(list(old))
    assert [scores[f"ents_new_{key}"] for key in "prf"] == pytest.approx(list(new))


def test_old_types_reach_the_scores() -> None:
    eg = make_example(
        ("Anna |DHL |555", [(0, 1, "PER"), (1, 2, "ORG"), (2, 3, "PHONE")]),
        ("Anna |DHL |555", [(0, 1, "PER"), (2, 3, "PHONE")]),
    )
    scores = score_ner([eg], old_types=["PER", "ORG"])
    assert (scores["ents_old_p"], scores["ents_old_r"]) == (0.5, 1.0)
    assert scores["ents_new_f"] == 1.0


def test_scores_can_be_written_as_json() -> None:
    tokens = "Anna |DHL"
    eg = make_example((tokens, [(0, 1, "PER"), (1, 2, "ORG")]), (tokens, []))
    scores = score_ner([eg, make_example((tokens, []), (tokens, [(0, 1, "PER")]))])
    assert srsly.json_loads(srsly.json_dumps(scores)) == scores


def test_docs_without_annotation_are_not_scored() -> None:
    scored = make_example(("Anna |b", [(0, 1, "PER")]), ("Anna |b", [(0, 1, "PER")]))
    unknown = Doc(VOCAB, words=["Anna", "b"])
    skipped = Example(make_doc("Anna |b", [(1, 2, "ORG")]), unknown)
    assert score_ner(iter([scored, skipped])) == score_ner([scored])
    assert score_ner([scored])["ents_f"] == 1.0


@pytest.mark.parametrize(
    ("docs", "accuracy"), [([], None), ([""], None), (["a |b"], 1.0), (["", "a"], 1.0)]
)
def test_nothing_to_find_and_nothing_found(
    docs: list[str], accuracy: float | None
) -> None:
    scores = score_ner([make_example((doc, []), (doc, [])) for doc in docs])
    assert scores.pop("seqeval_accuracy") == accuracy
    assert scores.pop("seqeval_per_type") == {}
    assert len(scores) == 13
    assert set(scores.values()) == {None}


TAGS = ["O", "B-A", "I-A", "B-B", "I-B"]
tag_lists = st.lists(st.lists(st.sampled_from(TAGS), max_size=6), max_size=4)


def repair(path: list[str]) -> list[str]:
    """An inside tag that continues nothing becomes an opening one."""
    legal: list[str] = []
    for tag in path:
        before = legal[-1] if legal else "O"
        is_stray = tag[0] == "I" and tag[1:] != before[1:]
        legal.append("B" + tag[1:] if is_stray else tag)
    return legal


def doc_of_tags(path: list[str]) -> Doc:
    return Doc(VOCAB, words=["word"] * len(path), ents=path)


@settings(deadline=None)
@given(tag_lists, st.randoms(use_true_random=False))
def test_scores_equal_seqeval(gold: list[list[str]], random) -> None:
    gold = [repair(path) for path in gold]
    predicted = [  # about two tags of three are right
        repair([random.choice([tag, tag, random.choice(TAGS)]) for tag in path])
        for path in gold
    ]
    examples = [
        Example(doc_of_tags(got), doc_of_tags(wanted))
        for got, wanted in zip(predicted, gold, strict=True)
    ]
    scores = score_ner(examples)
    if not any(tag != "O" for path in [*gold, *predicted] for tag in path):
        assert scores["seqeval_f"] is None
        return
    options = {"zero_division": 0}
    expected = {
        "p": metrics.precision_score(gold, predicted, **options),
        "r": metrics.recall_score(gold, predicted, **options),
        "f": metrics.f1_score(gold, predicted, **options),
    }
    for prefix in ("seqeval", "ents", "ents_new"):
        ours = {key: scores[f"{prefix}_{key}"] for key in "prf"}
        assert ours == pytest.approx(expected), prefix
    accuracy = metrics.accuracy_score(gold, predicted)
    assert scores["seqeval_accuracy"] == pytest.approx(accuracy)
    report = metrics.classification_report(gold, predicted, output_dict=True, **options)
    names = {"p": "precision", "r": "recall", "f": "f1-score", "support": "support"}
    assert set(scores["seqeval_per_type"]) == set(report) & {"A", "B"}
    assert set(scores["ents_per_type"]) == set(report) & {"A", "B"}
    for kind, row in scores["seqeval_per_type"].items():
        assert row == pytest.approx({key: report[kind][names[key]] for key in names})
        spacy_row = scores["ents_per_type"][kind]
        assert spacy_row == pytest.approx({key: row[key] for key in "prf"})


@settings(deadline=None)
@given(tag_lists, st.randoms(use_true_random=False))
def test_tags_are_read_as_seqeval_reads_them(gold: list[list[str]], random) -> None:
    """Stray inside tags too."""
    predicted = [[random.choice([tag, random.choice(TAGS)]) for tag in p] for p in gold]
    by_type = count_by_type(gold, predicted)
    prf = pool(by_type, by_type)
    if not len(prf):
        return
    options = {"zero_division": 0}
    assert prf.precision == pytest.approx(
        metrics.precision_score(gold, predicted, **options)
    )
    assert prf.recall == pytest.approx(metrics.recall_score(gold, predicted, **options))
    assert prf.fscore == pytest.approx(seqeval_scores(gold, predicted)["seqeval_f"])


def test_scorer_is_registered() -> None:
    assert registry.scorers.get("retainer.ner_scorer.v1") is configure_ner_scorer
    assert configure_ner_scorer() is score_ner
