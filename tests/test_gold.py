import logging

import numpy as np
import pytest
from spacy.tokens import Doc, Span
from spacy.training import Example

from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.gold import check_examples, gold_ids
from retainer.losses import NO_GOLD

VOCAB = blank_pipeline("xx").vocab
BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-GPE-LOC", "I-GPE-LOC"]
BIOES = ["O", "B-PER", "I-PER", "E-PER", "S-PER", "S-LOC", "B-LOC", "E-LOC"]
Ents = list[tuple[int, int, str]]


def make_doc(tokens: str) -> Doc:
    """Example: "New |York|." has the text "New York."."""
    pieces = tokens.split("|") if tokens else []
    words = [piece.removesuffix(" ") for piece in pieces]
    return Doc(VOCAB, words=words, spaces=[piece.endswith(" ") for piece in pieces])


def make_example(predicted: str, reference: str, ents: Ents, **user_data) -> Example:
    doc = make_doc(reference)
    doc.set_ents([Span(doc, *ent) for ent in ents], default="outside")
    doc.user_data.update(user_data)
    return Example(make_doc(predicted), doc)


def read_gold(eg: Example, tags: list[str]) -> str:
    """The tags by name; - where there is none."""
    ids = gold_ids(eg, {tag: i for i, tag in enumerate(tags)})
    assert ids.dtype == np.int64
    return " ".join("-" if i == NO_GOLD else tags[i] for i in ids)


@pytest.mark.parametrize(
    ("reference", "ents", "predicted", "expected"),
    [
        pytest.param(
            "Anna |Weber |in |Bremen",
            [(0, 2, "PER"), (3, 4, "LOC")],
            "Anna |Weber |in |Bremen",
            "B-PER I-PER O B-LOC",
            id="equal",
        ),
        pytest.param(
            "Anna-Lena |in |Bremen",
            [(0, 1, "PER"), (2, 3, "LOC")],
            "Anna|-|Lena |in |Bre|men",
            "B-PER I-PER I-PER O B-LOC I-LOC",
            id="entities-are-split",
        ),
        pytest.param(
            "Anna|-|Lena |in |Bremen",
            [(0, 3, "PER"), (4, 5, "LOC")],
            "Anna-Lena |in |Bremen",
            "B-PER O B-LOC",
            id="an-entity-is-joined",
        ),
        pytest.param(
            "to-day |in |Bre|men",
            [(2, 4, "LOC")],
            "to|-|day |in |Bremen",
            "O O O O B-LOC",
            id="others-are-split",
        ),
        pytest.param(
            "to|-|day |in |Bremen",
            [(4, 5, "LOC")],
            "to-day |in |Bremen",
            "O O B-LOC",
            id="others-are-joined",
        ),
        pytest.param(
            "New |York|-|based |Anna",
            [(0, 2, "LOC"), (4, 5, "PER")],
            "New |York-based |Anna",
            "- - B-PER",
            id="an-entity-ends-inside-a-token",
        ),
        pytest.param(
            "pre|-|Bremen |Anna",
            [(2, 3, "LOC"), (3, 4, "PER")],
            "pre-Bremen |Anna",
            "- B-PER",
            id="an-entity-starts-inside-a-token",
        ),
        pytest.param(
            "Anna|/|Bob |in",
            [(0, 1, "PER"), (2, 3, "PER")],
            "Anna/Bob |in",
            "- O",
            id="two-entities-in-a-token",
        ),
        pytest.param(
            "ab|cd|ef |x",
            [(1, 2, "PER")],
            "abc|def |x",
            "- - O",
            id="tokens-cross",
        ),
        pytest.param(
            "Anna |Bob|Eve",
            [(0, 1, "PER"), (1, 2, "PER"), (2, 3, "PER")],
            "Anna |B|ob|Eve",
            "B-PER B-PER I-PER B-PER",
            id="neighbours-of-one-type",
        ),
        pytest.param(
            "Anna |Weber",
            [(0, 2, "PER")],
            "Anna |  |Weber",
            "B-PER I-PER I-PER",
            id="white-space-inside",
        ),
        pytest.param(
            "Anna |in", [(0, 1, "PER")], "Anna |\n|in", "B-PER O O", id="white-space"
        ),
        pytest.param(
            "a |b", [(0, 2, "GPE-LOC")], "a |b", "B-GPE-LOC I-GPE-LOC", id="dash"
        ),
        pytest.param("", [], "", "", id="empty"),
    ],
)
def test_gold_under_mismatched_tokens(
    reference: str, ents: Ents, predicted: str, expected: str
) -> None:
    assert read_gold(make_example(predicted, reference, ents), BIO) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (BIO, "B-PER I-PER I-PER O B-LOC"),
        (BIOES, "B-PER I-PER E-PER O S-LOC"),
        (["O", "I-PER", "I-LOC"], "I-PER I-PER I-PER O I-LOC"),
        (["PER", "LOC", "O"], "PER PER PER O LOC"),
        (["B-LOC", "I-PER", "B-PER", "O"], "B-PER I-PER I-PER O B-LOC"),
    ],
)
def test_gold_has_the_scheme_of_the_tags(tags: list[str], expected: str) -> None:
    tokens = "a |b |c |d |e"
    eg = make_example(tokens, tokens, [(0, 3, "PER"), (4, 5, "LOC")])
    assert read_gold(eg, tags) == expected


def test_type_that_no_tag_stands_for() -> None:
    eg = make_example("Anna |at |5 |55", "Anna |at |5 |55", [(2, 4, "PHONE")])
    message = (
        r"One of the tags O, PER was expected, but the example 'Anna at 5 55' has "
        r"B-PHONE, I-PHONE\. Call add_label first"
    )
    with pytest.raises(UserError, match=message):
        gold_ids(eg, {"O": 0, "PER": 1})


def test_reference_without_annotation_says_nothing() -> None:
    eg = Example(make_doc("Anna |in |Bremen"), make_doc("Anna |in |Bremen"))
    assert read_gold(eg, BIO) == "- - -"


def test_reference_with_gaps_says_nothing_there() -> None:
    reference = make_doc("Anna |in |Bremen |ab|cd")
    reference.set_ents(
        [Span(reference, 0, 1, "PER")],
        outside=[reference[1:2], reference[3:4]],
        default="missing",
    )
    eg = Example(make_doc("Anna |in |Bremen |ab|cd"), reference)
    assert read_gold(eg, BIO) == "B-PER O - O -"
    eg = Example(make_doc("Anna |in |Bre|men |abcd"), reference)
    assert read_gold(eg, BIO) == "B-PER O - - -"


ORIGIN = {"source": "corpus/a.conll:7", "ent_lines": [9, 12]}


@pytest.mark.parametrize(
    ("user_data", "where"),
    [
        (ORIGIN, r" at corpus/a\.conll:12"),
        (ORIGIN | {"source": "C:\\a.conll:7"}, r" at C:\\a\.conll:12"),
        ({"source": "corpus/a.spacy: document 3"}, r" at corpus/a\.spacy: document 3"),
        (ORIGIN | {"ent_lines": [9]}, r" at corpus/a\.conll:7"),
        ({"ent_lines": [9, 12]}, ""),
        ({}, ""),
    ],
)
def test_unknown_type_is_named_with_its_place(user_data: dict, where: str) -> None:
    ents = [(0, 1, "PER"), (2, 3, "PHONE")]
    eg = make_example("Anna |at |555", "Anna |at |555", ents, **user_data)
    message = (
        r"A type that is among \['LOC', 'PER'\] was expected, but 'PHONE' came"
        + where
        + r" \('555'\)\. Correct the tag"
    )
    with pytest.raises(UserError, match=message):
        check_examples([eg], {"PER", "LOC"})


@pytest.mark.parametrize("known", [None, {"PER", "PHONE", "LOC"}])
def test_types_of_all_examples_are_seen(
    known: set[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    examples = [
        make_example("Anna |x", "Anna |x", [(0, 1, "PER")]),
        make_example("x", "x", []),
        make_example("Anna |555", "Anna |555", [(0, 1, "PER"), (1, 2, "PHONE")]),
    ]
    assert check_examples(iter(examples), known) == {"PER", "PHONE"}
    assert check_examples([], known) == set()
    assert not caplog.records


def test_examples_without_annotation_have_no_types() -> None:
    eg = Example(make_doc("Anna |in"), make_doc("Anna |in"))
    assert check_examples([eg], {"PER"}) == set()


def test_lost_entities_are_counted_once_a_run(caplog: pytest.LogCaptureFixture) -> None:
    examples = [
        make_example("New |York-based", "New |York|-|based", [(0, 2, "LOC")]),
        make_example("Anna |x", "Anna |x", [(0, 1, "PER")]),
        make_example("Anna/Bob", "Anna|/|Bob", [(0, 1, "PER"), (2, 3, "PER")]),
        make_example("B|ob |x", "Bob |x", [(0, 1, "PER")]),
    ]
    with caplog.at_level(logging.WARNING, logger="spacy"):
        assert check_examples(examples, None) == {"LOC", "PER"}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("3 of 5 entities do not start and end where")
