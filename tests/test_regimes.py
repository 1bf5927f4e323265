"""Every count was worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.regimes import SURE, Regime, open_spans, overall, verdict_of

TEACHER_TAGS = ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]
ORDER = ["not annotated", "partly annotated", "annotated"]
COUNTS = st.integers(min_value=0, max_value=200)


def rows_of(said: str) -> np.ndarray:
    """Example: "B-PER O B-LOC?" -> a sure PER, and a LOC of less than SURE"""
    rows = []
    for name in said.split():
        p = SURE + 0.1 * (-1 if name.endswith("?") else 1)
        row = np.full(len(TEACHER_TAGS), (1 - p) / (len(TEACHER_TAGS) - 1))
        row[TEACHER_TAGS.index(name.rstrip("?"))] = p
        rows.append(np.log(row))
    return np.array(rows).reshape(-1, len(TEACHER_TAGS))


def gold_of(tags: str) -> list[str | None]:
    """Example: "B-PER - O" -> ["B-PER", None, "O"]"""
    return [None if tag == "-" else tag for tag in tags.split()]


def regime_of(*texts: tuple[str, str]) -> Regime:
    """texts: the gold tags, and what the teacher says."""
    regime = Regime.of(TEACHER_TAGS)
    for gold, said in texts:
        regime.add(gold_of(gold), TEACHER_TAGS, rows_of(said))
    return regime


@pytest.mark.parametrize(
    ("gold", "n_open", "n_texts", "verdict"),
    [
        (0, 0, 0, "absent"),
        (0, 4, 10, "absent"),
        (0, 5, 10, "not annotated"),
        (5, 0, 0, "annotated"),
        (5, 4, 1000, "absent"),
        (0, 10, 1000, "not annotated"),
        (8, 2, 100, "annotated"),
        (79, 21, 100, "partly annotated"),
        (2, 8, 100, "partly annotated"),
        (19, 81, 100, "not annotated"),
    ],
)
def test_verdict(gold: int, n_open: int, n_texts: int, verdict: str) -> None:
    assert verdict_of(gold, n_open, n_texts) == verdict


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_more_gold_is_no_less_annotated(
    gold: int, more: int, n_open: int, n_texts: int
) -> None:
    before = verdict_of(gold, n_open, n_texts)
    after = verdict_of(gold + more, n_open, n_texts)
    if before != "absent":
        assert ORDER.index(after) >= ORDER.index(before)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], "absent"),
        (["absent", "absent"], "absent"),
        (["annotated", "absent"], "annotated"),
        (["not annotated", "not annotated"], "not annotated"),
        (["annotated", "not annotated"], "partly annotated"),
        (["annotated", "partly annotated"], "partly annotated"),
    ],
)
def test_overall_verdict(verdicts: list[str], expected: str) -> None:
    assert overall(verdicts) == expected


@given(st.lists(st.sampled_from([*ORDER, "absent"])))
def test_overall_verdict_feels_neither_order_nor_number(verdicts: list[str]) -> None:
    assert overall(verdicts) == overall([*verdicts[::-1], *verdicts, "absent"])


# gold tags, what the teacher says, open finds
FINDS = {
    "nothing": ("O O O", "O O O", {}),
    "annotated": ("B-PER I-PER O", "B-PER I-PER O", {}),
    "open": ("O O O", "B-PER I-PER O", {"PER": 1}),
    "two of one type": ("O O O", "B-PER B-PER O", {"PER": 2}),
    "two types": ("O O O", "B-PER O B-LOC", {"PER": 1, "LOC": 1}),
    "not sure": ("O O O", "B-PER? O B-LOC", {"LOC": 1}),
    "sure on average": ("O O O O", "B-PER I-PER? I-PER O", {"PER": 1}),
    "touches its own type": ("O B-PER O", "B-PER I-PER O", {}),
    "touches another type": ("O B-CAR I-CAR", "B-PER I-PER O", {}),
    "beside an entity": ("O B-CAR I-CAR", "B-PER O O", {"PER": 1}),
    "no gold there": ("- - O", "B-PER I-PER B-LOC", {"LOC": 1}),
    "a token without gold inside": ("O - O", "B-PER I-PER I-PER", {"PER": 1}),
    "no gold at all": ("- - -", "B-PER I-PER B-LOC", {}),
}


@pytest.mark.parametrize("name", FINDS)
def test_open_finds(name: str) -> None:
    gold, said, expected = FINDS[name]
    assert regime_of((gold, said)).open == {"PER": 0, "LOC": 0, **expected}


def test_gold_entities_of_all_types_are_counted() -> None:
    regime = regime_of(
        ("B-PER I-PER B-PER", "O O O"), ("O B-CAR -", "O O O"), ("- - -", "O O O")
    )
    assert regime.gold == {"PER": 2, "CAR": 1}
    assert regime.n_texts == 3
    assert list(regime.verdicts) == ["PER", "LOC"]


def test_what_the_teacher_cannot_see_is_passed_by() -> None:
    regime = Regime.of(TEACHER_TAGS)
    rows = rows_of("B-PER O B-LOC")
    rows[[0, 1]] = -np.inf
    rows[[0, 1], 2] = 0.0
    regime.add(gold_of("O B-CAR O"), TEACHER_TAGS, rows)
    assert (regime.gold, regime.open) == ({"CAR": 1}, {"PER": 0, "LOC": 1})


def test_a_text_without_tokens() -> None:
    regime = Regime.of(TEACHER_TAGS)
    regime.add([], TEACHER_TAGS, np.zeros((0, 5)))
    assert (regime.n_texts, regime.gold, regime.confidences) == (1, {}, {})


@pytest.mark.parametrize(
    ("n_gold", "n_open", "verdict", "annotated"),
    [
        (8, 2, "annotated", {"PER"}),
        (7, 3, "partly annotated", set()),
        (1, 9, "not annotated", set()),
        (2, 2, "absent", set()),
    ],
)
def test_verdicts(n_gold: int, n_open: int, verdict: str, annotated: set) -> None:
    texts = [("B-PER O", "B-PER O")] * n_gold + [("O O", "B-PER O")] * n_open
    regime = regime_of(*texts)
    assert regime.verdicts == {"PER": verdict, "LOC": "absent"}
    assert regime.annotated == annotated
    assert regime.describe() == (
        f"PER {verdict} ({n_gold} annotated, {n_open} open), "
        "LOC absent (0 annotated, 0 open)"
    )


def test_before_any_text_nothing_is_annotated() -> None:
    regime = Regime.of(TEACHER_TAGS)
    assert regime.verdicts == {"PER": "absent", "LOC": "absent"}
    assert regime.annotated == set()
    assert Regime.of(["O"]).annotated == set()


def test_regimes_share_no_counts() -> None:
    regime_of(("B-PER O", "B-LOC O"))
    assert regime_of() == Regime.of(TEACHER_TAGS)


def test_open_spans_name_tokens_tags_and_confidence() -> None:
    """The second token, which the teacher cannot see, is no part of the first span."""
    rows = rows_of("B-PER O I-PER? B-LOC?")
    rows[1] = [-np.inf, -np.inf, 0.0, -np.inf, -np.inf]
    per, loc = open_spans(["O"] * 4, TEACHER_TAGS, rows)
    assert (per.type, per.tokens.tolist(), per.tags) == (
        "PER",
        [0, 2],
        ["B-PER", "I-PER"],
    )
    assert (loc.type, loc.tokens.tolist(), loc.tags) == ("LOC", [3], ["B-LOC"])
    assert [per.confidence, loc.confidence] == pytest.approx([SURE, SURE - 0.1])


@pytest.mark.parametrize(
    ("said", "thresholds"),
    [
        ([], {}),
        (["O O"], {}),
        (["B-PER O"], {"PER": 0.9}),
        (["B-PER O", "B-PER? O"], {"PER": 0.8}),
        (["B-PER? B-PER?", "B-PER O"], {"PER": 0.7}),
        (["B-PER B-LOC?", "B-PER? B-LOC?", "B-PER O"], {"PER": 0.9, "LOC": 0.7}),
    ],
)
def test_thresholds_are_medians(said: list[str], thresholds: dict) -> None:
    """Of all open finds, the unsure ones among them, type by type."""
    regime = regime_of(*[("O O", text) for text in said])
    assert regime.thresholds == pytest.approx(thresholds)


def test_what_is_annotated_sets_no_threshold() -> None:
    regime = regime_of(("B-PER O", "B-PER B-LOC"), ("B-CAR O", "B-PER? O"))
    assert regime.thresholds == pytest.approx({"LOC": 0.9})
