from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from retainer.forgotten import (
    CONTEXT,
    N_EXAMPLES,
    Forgotten,
    apart,
    char_spans,
    compare_entities,
    confusions,
    describe,
    example_of,
    fate_of,
    said_at,
    spread,
    without_gold,
)
from retainer.labels import spans_from_tags
from retainer.report import count
from retainer.scoring import pool

OLD = ["PER", "ORG"]
VOCAB = Vocab()


def make_doc(text: str) -> Doc:
    """Example: "Ann/B-PER left/O ?/-", where - is a token that nobody annotated."""
    words, tags = zip(*(part.rsplit("/", 1) for part in text.split()), strict=True)
    doc = Doc(VOCAB, words=words)
    annotate(doc, tags)
    return doc


def annotate(doc: Doc, tags: list[str]) -> None:
    spans = spans_from_tags(["O" if tag == "-" else tag for tag in tags])
    doc.set_ents(
        [Span(doc, *span) for span in spans],
        missing=[doc[i : i + 1] for i, tag in enumerate(tags) if tag == "-"],
        default="outside",
    )


def test_white_space_is_not_part_of_an_entity() -> None:
    doc = Doc(VOCAB, words=[" ", "Ann", "\n", "\t", "Bo"], spaces=[False] * 5)
    doc.ents = [Span(doc, 0, 3, "PER"), Span(doc, 3, 4, "PER"), Span(doc, 4, 5, "ORG")]
    assert char_spans(doc) == [(1, 4, "PER"), (6, 8, "ORG")]


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([], "O"),
        ([(0, 4, "ORG"), (12, 20, "ORG")], "O"),  # they touch its edges alone
        ([(4, 12, "PHONE")], "PHONE"),
        ([(4, 6, "ORG")], "ORG"),
        ([(4, 7, "ORG"), (8, 12, "LOC")], "LOC"),  # shares 4 characters, not 3
        ([(4, 8, "LOC"), (8, 12, "ORG")], "ORG"),  # as many: its own type
        ([(4, 8, "LOC"), (8, 12, "PER")], "LOC"),  # as many: the first
        ([(0, 30, "PER")], "PER"),
    ],
)
def test_what_is_said_of_an_entity(spans: list, said: str) -> None:
    assert said_at((4, 12, "ORG"), spans) == said


PER, LONGER, OTHER = (0, 3, "PER"), (0, 7, "PER"), (0, 3, "ORG")


@pytest.mark.parametrize(
    ("before", "after", "fate"),
    [
        ([PER], [PER], ("PER", "kept", "PER")),
        ([PER], [], ("PER", "lost", "O")),
        ([PER], [LONGER], ("PER", "lost", "PER")),
        ([PER], [OTHER], ("PER", "lost", "ORG")),
        ([], [PER], ("PER", "won", "PER")),
        ([OTHER], [PER], ("PER", "won", "PER")),
        ([], [], ("PER", "missed", "O")),
        ([LONGER], [OTHER], ("PER", "missed", "ORG")),
    ],
)
def test_fate(before: list, after: list, fate: tuple) -> None:
    assert fate_of(PER, before, after) == fate


@pytest.mark.parametrize(
    ("gold", "teacher", "n"),
    [
        ("a/O b/O c/O", "a/O b/O c/O", 1),
        ("a/O b/B-LOC c/O", "a/O b/O c/O", 0),  # gold has something there, of any type
        ("a/O b/O c/O", "a/B-PER b/O c/O", 0),
        ("a/O b/- c/O", "a/O b/O c/O", 0),
        ("a/- b/O c/B-LOC", "a/- b/O c/B-LOC", 0),
        ("a/O b/O c/B-LOC", "a/O b/O c/B-LOC", 1),
    ],
)
def test_found_where_there_is_nothing(gold: str, teacher: str, n: int) -> None:
    docs = [make_doc(gold)], [make_doc(teacher)], [make_doc("a/B-PHONE b/I-PHONE c/O")]
    fates = compare_entities(*docs, OLD).fates
    assert fates["O", "found", "PHONE"] == n
    is_annotated = "/-" not in gold
    assert fates["O", "wrong_after", "PHONE"] == is_annotated


def test_text_without_annotation() -> None:
    doc = make_doc("a/- b/O c/B-PER dd/-")
    assert without_gold(doc) == [(0, 1, ""), (6, 8, "")]
    spans = [(0, 2, "PER"), (2, 6, "ORG"), (7, 8, "PER")]
    assert list(apart(spans, without_gold(doc))) == [(2, 6, "ORG")]
    assert list(apart(spans, [])) == spans
    blank = Doc(VOCAB, words=["a", " ", "b"], spaces=[False] * 3)  # no gold at all
    assert without_gold(blank) == [(0, 1, ""), (2, 3, "")]


LINES = [  # gold, teacher, student
    ("Ann/B-PER Lee/I-PER", "Ann/B-PER Lee/I-PER", "Ann/B-PER Lee/I-PER"),  # kept
    ("Ann/B-PER Lee/I-PER", "Ann/B-PER Lee/I-PER", "Ann/B-PER Lee/O"),
    ("Ann/B-PER Lee/I-PER", "Ann/B-PER Lee/I-PER", "Ann/O Lee/O"),
    ("Ann/B-PER Lee/I-PER", "Ann/B-PER Lee/I-PER", "Ann/O Lee/B-ORG"),
    ("DHL/B-ORG is/O", "DHL/B-ORG is/O", "DHL/B-COURIER is/O"),
    ("DHL/B-ORG is/O", "DHL/O is/O", "DHL/B-ORG is/B-PHONE"),  # won, found
    ("DHL/B-ORG is/O", "DHL/O is/B-PER", "DHL/O is/B-PER"),  # missed
    ("Oslo/B-LOC is/O", "Oslo/O is/O", "Oslo/B-ORG is/O"),  # no old type
]


@pytest.fixture(scope="module")
def forgotten() -> Forgotten:
    columns = ([make_doc(line[i]) for line in LINES] for i in range(3))
    return compare_entities(*columns, OLD)


def test_fates_are_counted(forgotten: Forgotten) -> None:
    assert forgotten.fates == {
        ("PER", "kept", "PER"): 1,
        ("PER", "lost", "PER"): 1,
        ("PER", "lost", "O"): 1,
        ("PER", "lost", "ORG"): 1,
        ("ORG", "lost", "COURIER"): 1,
        ("ORG", "won", "ORG"): 1,
        ("ORG", "missed", "O"): 1,
        ("O", "found", "PHONE"): 1,
        ("O", "wrong_before", "PER"): 1,
        ("O", "wrong_after", "PER"): 2,
        ("O", "wrong_after", "ORG"): 2,
        ("O", "wrong_after", "COURIER"): 1,
        ("O", "wrong_after", "PHONE"): 1,
    }


def test_counts_are_described(forgotten: Forgotten) -> None:
    per = {
        **{"entities": 4, "kept": 1, "lost": 3, "won": 0, "missed": 0, "net_lost": 3},
        **{"wrong_before": 1, "wrong_after": 2},
        "became": {
            **{"nothing": 1, "other_bounds": 1},
            **{"old_types": {"ORG": 1}, "new_types": {}},
        },
    }
    org = {
        **{"entities": 3, "kept": 0, "lost": 1, "won": 1, "missed": 1, "net_lost": 0},
        **{"wrong_before": 0, "wrong_after": 2},
        "became": {
            **{"nothing": 0, "other_bounds": 0},
            **{"old_types": {}, "new_types": {"COURIER": 1}},
        },
    }
    assert describe(forgotten.fates, OLD) == {
        **{"entities": 7, "kept": 1, "lost": 4, "won": 1, "missed": 1, "net_lost": 3},
        **{"wrong_before": 1, "wrong_after": 4},
        "became": {
            **{"nothing": 1, "other_bounds": 1},
            **{"old_types": {"ORG": 1}, "new_types": {"COURIER": 1}},
        },
        "by_type": {"PER": per, "ORG": org},
        "found_in_nothing": {"PHONE": 1},
    }


def test_confusions_add_up_over_files(forgotten: Forgotten) -> None:
    files = {"de": forgotten.fates, "fr": forgotten.fates, "es": Counter()}
    made = confusions(files, OLD)
    assert made["all"] == describe(forgotten.fates + forgotten.fates, OLD)
    assert list(made["by_file"]) == ["de", "fr", "es"]
    assert made["by_file"]["es"]["entities"] == 0
    assert confusions({}, OLD)["all"] == describe(Counter(), OLD)


@pytest.mark.parametrize(
    ("first", "behind", "text", "start"),
    [
        (0, 3, "x" * (3 + CONTEXT) + "…", 0),
        (CONTEXT, CONTEXT + 3, "x" * (3 + 2 * CONTEXT) + "…", CONTEXT),
        (397, 400, "…" + "x" * (CONTEXT + 3), CONTEXT + 1),
        (200, 203, "…" + "x" * (3 + 2 * CONTEXT) + "…", CONTEXT + 1),
    ],
)
def test_example_shows_the_surroundings(
    first: int, behind: int, text: str, start: int
) -> None:
    lost = (first, behind, "PER")
    example = example_of("x" * 400, lost, [lost], [lost, (0, 400, "LOC")], [])
    assert example["text"] == text
    assert example["entity"] == {"start": start, "end": start + 3, "label": "PER"}
    assert example["gold"] == [example["entity"]]
    shown = {"start": int(text[0] == "…"), "end": len(text.rstrip("…")), "label": "LOC"}
    assert example["teacher"] == [example["entity"], shown]
    assert (example["student"], example["became"]) == ([], "O")


def test_examples_name_their_places() -> None:
    docs = [make_doc("a/O Ann/B-PER and/O DHL/B-ORG") for _ in range(2)]
    docs[0].user_data = {"source": "a.conll:1", "ent_lines": [2, 4]}
    nothing = [make_doc("a/O Ann/O and/O DHL/O") for _ in docs]
    forgotten = compare_entities(docs, docs, nothing, OLD)
    places = [(e["entity"]["label"], e["place"]) for e in forgotten.examples]
    expected = [("PER", "a.conll:2"), ("ORG", "a.conll:4"), ("PER", ""), ("ORG", "")]
    assert places == expected
    assert forgotten.examples[1]["text"] == "a Ann and DHL "
    assert forgotten.examples[1]["entity"] == {"start": 10, "end": 13, "label": "ORG"}


def test_a_file_gives_few_examples_of_a_kind() -> None:
    gold = [make_doc("Ann/B-PER")] * (N_EXAMPLES + 5) + [make_doc("DHL/B-ORG")]
    nothing = [make_doc("x/O")] * len(gold)
    forgotten = compare_entities(gold, gold, nothing, OLD)
    labels = Counter(example["entity"]["label"] for example in forgotten.examples)
    assert labels == {"PER": N_EXAMPLES, "ORG": 1}
    assert forgotten.fates["PER", "lost", "O"] == N_EXAMPLES + 5


def lost_in(file: str, label: str, became: str, n: int = 1) -> list[dict]:
    entity = {"label": label}
    row = {"domain": "old", "file": file, "entity": entity, "became": became}
    return [row | {"n": i} for i in range(n)]


def test_examples_are_spread() -> None:
    many = [
        *lost_in("de", "PER", "O", 50),
        *lost_in("de", "ORG", "O", 50),
        *lost_in("de", "ORG", "PHONE", 1),
        *lost_in("fr", "PER", "O", 5),
        *lost_in("es", "LOC", "PER", 1),
    ]
    chosen = spread(many, 9)
    files = Counter(example["file"] for example in chosen)
    assert files == {"de": 4, "fr": 4, "es": 1}
    labels = Counter(e["entity"]["label"] for e in chosen if e["file"] == "de")
    assert labels["ORG"] >= 2
    assert "PHONE" in {example["became"] for example in chosen}
    assert [many.index(example) for example in chosen] == sorted(
        many.index(example) for example in chosen
    )
    assert spread(many, 9) == chosen
    assert len(spread(many, 200)) == len(many)
    assert spread([], 9) == []


TAGS = ["O", "O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-PHONE", "I-PHONE"]


@st.composite
def three_docs(draw) -> list[Doc]:
    """Gold, teacher and student on one text, each with tokens of its own."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
    words = [draw(st.sampled_from(["ab cd ", "abc", " ", "\n", "d"])) for _ in sizes]
    text = "".join(words)
    docs = []
    for tags in ([*TAGS, "-"], TAGS, TAGS):
        cuts = draw(st.sets(st.integers(1, len(text)), max_size=len(text)))
        bounds = sorted({0, len(text)} | cuts)
        parts = [text[a:b] for a, b in pairwise(bounds)]
        doc = Doc(VOCAB, words=parts, spaces=[False] * len(parts))
        annotate(doc, [draw(st.sampled_from(tags)) for _ in parts])
        docs.append(doc)
    return docs


@given(st.lists(three_docs(), max_size=3))
@settings(max_examples=150, deadline=None)
def test_net_loss_is_the_change_of_true_positives(docs: list[list[Doc]]) -> None:
    """By type, as `scoring` counts them: all that F1 is made of is the same."""
    gold, teacher, student = zip(*docs, strict=True) if docs else ([], [], [])
    fates = compare_entities(gold, teacher, student, OLD).fates
    before, after = count(teacher, gold), count(student, gold)
    table = describe(fates, OLD)
    for kinds, row in [(OLD, table), *(([k], table["by_type"][k]) for k in OLD)]:
        first, second = pool(before, kinds), pool(after, kinds)
        assert row["kept"] + row["lost"] == first.tp
        assert row["kept"] + row["won"] == second.tp
        assert row["net_lost"] == first.tp - second.tp
        assert row["entities"] == first.tp + first.fn == second.tp + second.fn
        assert (row["wrong_before"], row["wrong_after"]) == (first.fp, second.fp)
        became = row["became"]
        places = became["nothing"] + became["other_bounds"]
        others = [*became["old_types"].values(), *became["new_types"].values()]
        assert places + sum(others) == row["lost"]
    found = sum(table["found_in_nothing"].values())
    assert found <= pool(after, after).fp
