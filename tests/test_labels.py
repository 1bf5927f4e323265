from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.errors import UserError
from retainer.labels import (
    check_tags,
    check_unique,
    entity_types,
    extend_tags,
    legal_transitions,
    spans_from_tags,
    split_tag,
    tags_from_spans,
)

SCHEMES = {
    "BIO": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    "BIOES": ["O", *(f"{p}-{t}" for t in ("PER", "LOC") for p in "BIES")],
    "BILOU": ["O", *(f"{p}-{t}" for t in ("PER", "LOC") for p in "BILU")],
    "IO": ["O", "I-PER", "I-LOC"],
    "plain": ["O", "PER", "LOC"],
}


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("O", ("O", "")),
        ("B-PER", ("B", "PER")),
        ("U-PER", ("U", "PER")),
        ("B-GPE-LOC", ("B", "GPE-LOC")),
        ("PER", ("I", "PER")),
        ("X-PER", ("I", "X-PER")),
        ("B-", ("I", "B-")),
        ("B", ("I", "B")),
        ("-PER", ("I", "-PER")),
    ],
)
def test_a_tag_is_split(tag: str, parts: tuple[str, str]) -> None:
    assert split_tag(tag) == parts


def test_types_keep_the_order_of_first_sight() -> None:
    assert entity_types(["O", "B-PER", "I-LOC", "I-PER", "ORG"]) == [
        "PER",
        "LOC",
        "ORG",
    ]
    assert entity_types([]) == []


def test_tags_are_checked() -> None:
    check_tags(["B-PER", "O"], "here")
    with pytest.raises(UserError, match=r"in here, but B-PER is given more than once"):
        check_unique(["O", "B-PER", "B-PER"], "here")
    with pytest.raises(UserError, match=r"O is given more than once"):
        check_tags(["O", "O"], "here")
    with pytest.raises(UserError, match=r"in here, but there is no 'O' among \['A'\]"):
        check_tags(["A"], "here")


@pytest.mark.parametrize(
    ("tags", "types", "expected"),
    [
        (["O"], [], ["O"]),
        (["O"], ["ZIP", "CARD"], ["O", "B-CARD", "I-CARD", "B-ZIP", "I-ZIP"]),
        (["B-PER", "O", "I-PER"], {"PER"}, ["B-PER", "O", "I-PER"]),
        (["O", "PER"], ["PER", "ZIP"], ["O", "PER", "B-ZIP", "I-ZIP"]),
    ],
)
def test_tags_are_extended(
    tags: list[str], types: list[str], expected: list[str]
) -> None:
    assert extend_tags(tags, types) == expected


@pytest.mark.parametrize(
    ("path", "spans"),
    [
        ("", []),
        ("O O", []),
        ("B-PER I-PER O", [(0, 2, "PER")]),
        ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("I-PER I-PER", [(0, 2, "PER")]),
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("B-PER O I-PER", [(0, 1, "PER"), (2, 3, "PER")]),
        ("B-PER I-PER E-PER S-PER", [(0, 3, "PER"), (3, 4, "PER")]),
        ("E-PER I-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("B-PER L-PER U-PER U-PER", [(0, 2, "PER"), (2, 3, "PER"), (3, 4, "PER")]),
        ("PER PER O LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
    ],
)
def test_spans_are_read_from_tags(path: str, spans: list) -> None:
    assert spans_from_tags(path.split()) == spans


@pytest.mark.parametrize(
    ("scheme", "path"),
    [
        ("BIO", "B-PER I-PER I-PER O B-LOC B-LOC"),
        ("BIOES", "B-PER I-PER E-PER O S-LOC S-LOC"),
        ("BILOU", "B-PER I-PER L-PER O U-LOC U-LOC"),
        ("IO", "I-PER I-PER I-PER O I-LOC I-LOC"),
        ("plain", "PER PER PER O LOC LOC"),
    ],
)
def test_spans_are_written_in_the_scheme_of_the_tags(scheme: str, path: str) -> None:
    spans = [(0, 3, "PER"), (4, 5, "LOC"), (5, 6, "LOC")]
    assert tags_from_spans(6, spans, SCHEMES[scheme]) == path.split()


def test_each_type_is_written_in_its_own_scheme() -> None:
    tags = ["O", "PER", "B-ZIP", "I-ZIP"]
    spans = [(0, 2, "PER"), (2, 4, "ZIP")]
    assert tags_from_spans(4, spans, tags) == ["PER", "PER", "B-ZIP", "I-ZIP"]


def test_a_type_without_tags_is_written_as_bio() -> None:
    assert tags_from_spans(3, [(0, 2, "NEW")], ["O"]) == ["B-NEW", "I-NEW", "O"]


@st.composite
def disjoint_spans(draw, gap: int) -> tuple[int, list[tuple[int, int, str]]]:
    """gap: the least number of tokens between two spans."""
    spans, end = [], -gap
    for _ in range(draw(st.integers(0, 5))):
        start = end + gap + draw(st.integers(0, 2))
        end = start + draw(st.integers(1, 4))
        spans.append((start, end, draw(st.sampled_from(["PER", "LOC"]))))
    return max(0, end) + draw(st.integers(0, 2)), spans


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
def test_spans_survive_the_way_to_tags_and_back(scheme: str, data) -> None:
    # Schemes without an opening tag cannot tell two neighbours of one type apart.
    gap = 1 if scheme in ("IO", "plain") else 0
    n_tokens, spans = data.draw(disjoint_spans(gap))
    tags = SCHEMES[scheme]
    path = tags_from_spans(n_tokens, spans, tags)
    assert set(path) <= set(tags)
    assert spans_from_tags(path) == spans
    legal = legal_transitions(tags)
    steps = [-1, *map(tags.index, path)]
    assert all(legal[a, b] for a, b in pairwise(steps))


@pytest.mark.parametrize(
    ("tags", "rows"),
    [
        # one row per tag before, the last for the sentence's start
        ("O B-A I-A", ["110", "111", "111", "110"]),
        ("O I-A I-B", ["111", "111", "111", "111"]),
        ("O A B", ["111", "111", "111", "111"]),
        ("O B-A I-A B-B I-B", ["11010", "11110", "11110", "11011", "11011", "11010"]),
        ("O B-A I-A E-A S-A", ["11001", "11111", "11111", "11001", "11001", "11001"]),
        ("O B-A I-A L-A U-A", ["11001", "11111", "11111", "11001", "11001", "11001"]),
        ("I-A O B-A A", ["1111", "0110", "1111", "1111", "0110"]),
    ],
)
def test_legal_transitions(tags: str, rows: list[str]) -> None:
    expected = np.array([[mark == "1" for mark in row] for row in rows])
    np.testing.assert_array_equal(legal_transitions(tags.split()), expected)
