"""Every count was worked out by hand."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from retainer.inspection import inspect_corpus
from retainer.inspection.coverage import EDGES, measure_coverage, piece_counts
from retainer.inspection.entries import (
    Ent,
    Entry,
    entry_of,
    printable,
    script_of,
    snippet,
)
from retainer.inspection.findings import count, find, names, percent
from retainer.inspection.regime import (
    Tally,
    count_finds,
    evenly,
    find_regime,
    overlapping,
)
from retainer.inspection.repeats import bare, collect_uses, open_surfaces
from retainer.pipelines import load_teacher

TYPES = ("PER", "ORG", "LOC")


def make_doc(tagged: str, source: str | None = None) -> Doc:
    """Example: "Ann/PER Lee/PER left ?/-" where - is a token without annotation."""
    words, tags = [], []
    for item in tagged.split():
        word, _, tag = item.partition("/")
        words.append(word)
        tags.append(tag)
    doc = Doc(Vocab(), words=words)
    ents, start = [], 0
    for i in range(1, len(tags) + 1):
        if i == len(tags) or tags[i] != tags[start]:
            if tags[start] not in ("", "-"):
                ents.append(Span(doc, start, i, tags[start]))
            start = i
    missing = [doc[i : i + 1] for i, tag in enumerate(tags) if tag == "-"]
    doc.set_ents(ents, missing=missing, default="outside")
    if source is not None:
        line = int(source.rpartition(":")[2])
        doc.user_data["source"] = source
        doc.user_data["ent_lines"] = [line + ent.start for ent in ents]
    return doc


def inspect(**splits: list[str]) -> dict[str, Any]:
    """Without a checkpoint; each text a line of one file a split."""
    return inspect_corpus(
        {
            split: {
                f"{split}.conll": [
                    make_doc(t, f"{split}.conll:{i}")
                    for i, t in enumerate(texts, start=1)
                ]
            }
            for split, texts in splits.items()
        }
    )


def texts_of(figures: dict[str, Any]) -> list[str]:
    return [finding["text"] for finding in figures["findings"]]


class FakeTeacher:
    """Finds each of some words wherever it stands."""

    max_length = 1_000

    def __init__(self, known: dict[str, tuple[str, float]]):
        self.known, self.labels, self.texts = known, TYPES, []

    def get_pipe(self, name: str) -> "FakeTeacher":
        assert name == "transformer_ner"
        return self

    def make_doc(self, text: str) -> Doc:
        self.texts.append(text)
        return Doc(Vocab(), words=text.split())

    def predict(self, docs: list[Doc]) -> list[list[tuple[int, int, str, float]]]:
        return [
            [(t.i, t.i + 1, *self.known[t.text]) for t in doc if t.text in self.known]
            for doc in docs
        ]


def regime_of(teacher: FakeTeacher, texts: list[str], limit: int = 100, n_files=1):
    files = [f"{i % n_files}.conll" for i in range(len(texts))]
    entries = [
        entry_of(make_doc(text), file) for text, file in zip(texts, files, strict=True)
    ]
    return find_regime(teacher, entries, limit, lambda items, total: items)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Ann 北", "Latin"),
        ("東京へ", "Japanese"),
        ("東京カナ Ann", "Japanese"),
        ("東京", "Han"),
        ("서울 A", "Hangul"),
        ("Курьер DHL", "Cyrillic"),
        ("พัสดุ", "Thai"),
        ("طرد", "Arabic"),
        ("Ａｎｎ ﾊ", "Latin"),
        ("12 + 3!", "none"),
        ("", "none"),
        ("\ue000\x00", "none"),
    ],
)
def test_script(text: str, script: str) -> None:
    assert script_of(text) == script


def test_entry_knows_its_places() -> None:
    entry = entry_of(make_doc("in New/LOC York/LOC ?/-", "a.conll:7"), "a.spacy")
    assert entry == Entry(
        file="a.spacy",
        place="a.conll:7",
        text="in New York ? ",
        words=["in", "New", "York", "?"],
        starts=[0, 3, 7, 12],
        ents=[Ent(1, 3, "LOC", "a.conll:8")],
        missing={3},
    )
    assert entry.bounds(1, 3) == (3, 11)


def test_entity_without_lines_has_the_place_of_its_text() -> None:
    doc = make_doc("Ann/PER met Bob/PER", "a.conll:7")
    doc.user_data["ent_lines"] = [7]
    assert [ent.place for ent in entry_of(doc, "f").ents] == ["a.conll:7"] * 2
    assert entry_of(make_doc("Ann/PER"), "f").ents == [Ent(0, 1, "PER", "f")]


def test_snippet() -> None:
    entry = entry_of(make_doc("a" * 50 + " \x1b[1m/PER b"), "f")
    assert snippet(entry, 51, 55, "f:1") == {
        "before": "…" + "a" * 39 + " ",
        "entity": "\N{REPLACEMENT CHARACTER}[1m",
        "after": " b ",
        "place": "f:1",
    }


@given(st.text())
def test_what_is_shown_is_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)


@given(
    st.sets(st.integers(0, 20), max_size=8).map(sorted),
    st.integers(0, 20),
    st.integers(1, 5),
)
def test_overlapping(edges: list[int], start: int, length: int) -> None:
    spans = [(a, b, "X") for a, b in zip(edges[::2], edges[1::2], strict=False)]
    naive = [s for s in spans if s[0] < start + length and s[1] > start]
    assert overlapping(spans, start, start + length) == naive


@pytest.mark.parametrize(
    ("limit", "kept"), [(1, "a"), (2, "ac"), (4, "abcd"), (5, "abcde"), (9, "abcde")]
)
def test_evenly(limit: int, kept: str) -> None:
    assert evenly("abcde", limit) == list(kept)
    assert evenly([], limit) == []


def test_what_becomes_of_finds() -> None:
    """Ann Lee is exact, Rome has other bounds, Acme another type, Bob is open."""
    text = "Ann/PER Lee/PER in New/LOC Rome/LOC at Acme/FIRM with Bob and Eve/- ."
    entry = entry_of(make_doc(text), "f")
    tallies = {kind: Tally() for kind in TYPES}
    finds = [
        (0, 7, "PER", 0.9),
        (15, 19, "LOC", 0.8),
        (23, 27, "ORG", 0.99),
        (33, 36, "PER", 0.9),
        (33, 36, "LOC", 0.79),
        (41, 44, "PER", 1.0),
    ]
    assert [entry.text[start:end] for start, end, *_ in finds] == (
        ["Ann Lee", "Rome", "Acme", "Bob", "Bob", "Eve"]
    )
    count_finds(entry, finds, tallies)
    per, org, loc = tallies.values()
    examples = per.examples
    assert [example["entity"] for example in examples] == ["Bob"]
    assert per == Tally(
        gold=1,
        recalled=1,
        found=3,
        sure=3,
        exact=1,
        open=1,
        unknown=1,
        examples=examples,
    )
    assert loc == Tally(gold=1, recalled=1, found=2, sure=1, overlapping=1)
    assert (org.gold, org.recalled, org.sure, dict(org.confused)) == (
        0,
        0,
        1,
        {"FIRM": 1},
    )


def test_regime() -> None:
    """Half of the files annotates PER, none LOC; ORG is FIRM; text by text in turn."""
    known = {"Ann": ("PER", 0.9), "Rome": ("LOC", 0.9), "Acme": ("ORG", 0.9)}
    teacher = FakeTeacher(known | {"so": ("LOC", 0.5)})
    texts = ["Ann/PER in Rome", "Ann at Acme/FIRM so"] * 10
    regime = regime_of(teacher, texts, n_files=2)
    keys = ("verdict", "gold", "found", "sure", "exact", "other_type", "open")
    rows = {kind: tuple(row[k] for k in keys) for kind, row in regime["types"].items()}
    assert rows == {
        "PER": ("partly annotated", 10, 20, 20, 10, 0, 10),
        "ORG": ("absent", 0, 10, 10, 0, 10, 0),
        "LOC": ("not annotated", 0, 20, 10, 0, 0, 10),
    }
    assert regime["types"]["PER"]["share_annotated"] == 0.5
    assert regime["types"]["ORG"]["confusions"] == {"FIRM": 10}
    assert regime["verdict"] == "partly annotated"
    assert (regime["texts"], regime["asked"]) == (20, 20)
    assert (regime["share_sure"], regime["share_recalled"]) == (0.8, 1.0)
    assert {file: row["PER"] for file, row in regime["files"].items()} == {
        "0.conll": {"gold": 10, "open": 0, "verdict": "annotated"},
        "1.conll": {"gold": 0, "open": 10, "verdict": "not annotated"},
    }
    examples = regime["types"]["LOC"]["examples"]
    assert (
        examples
        == [{"before": "Ann in ", "entity": "Rome", "after": " ", "place": "0.conll"}]
        * 5
    )


def test_teacher_is_asked_about_a_sample_of_raw_text() -> None:
    teacher = FakeTeacher({})
    regime = regime_of(teacher, [f"text{i} Ann/PER" for i in range(6)], limit=3)
    assert teacher.texts == ["text0 Ann ", "text2 Ann ", "text4 Ann "]
    assert (regime["texts"], regime["asked"]) == (6, 3)
    assert regime["types"]["PER"]["gold"] == 3
    assert regime["share_sure"] is None


def test_text_too_long_for_the_teacher_is_left_out() -> None:
    teacher = FakeTeacher({})
    assert regime_of(teacher, ["a " * 501, "b"])["asked"] == 1
    assert teacher.texts == ["b "]


def test_splits_and_types() -> None:
    figures = inspect(
        train=["Ann/PER Lee/PER is here ?/-", "在 北 京/LOC"], dev=["Rome/LOC ."]
    )
    train = figures["splits"]["train"]
    assert train == {
        "texts": 2,
        "tokens": 8,
        "entities": 2,
        "scripts": {"Latin": 1, "Han": 1},
        "blank_texts": 0,
        "texts_without_entities": 0,
        "entities_per_1000_tokens": 250,
        "o": 4,
        "o_share": 0.5,
        "missing": 1,
        "missing_share": 0.125,
        "files": {
            "train.conll": {key: train[key] for key in ("texts", "tokens", "entities")}
            | {"scripts": {"Latin": 1, "Han": 1}}
        },
    }
    assert figures["types"] == {
        "LOC": {"train": 1, "dev": 1},
        "PER": {"train": 1, "dev": 0},
    }
    assert (figures["regime"], figures["unseen"]) == (None, None)
    assert "Train has fewer than 20 entities of LOC (1) and PER (1)." in texts_of(
        figures
    )
    assert "dev has no PER to measure." in texts_of(figures)
    assert any(text.startswith("1 token of train (12%)") for text in texts_of(figures))


def test_type_that_only_dev_has() -> None:
    found = texts_of(inspect(train=["a"], dev=["Rome/LOC"]))
    assert "Train has no LOC, which occur in dev." in found


def test_corpus_without_text() -> None:
    figures = inspect_corpus({"train": {"a.spacy": [Doc(Vocab())]}, "dev": {}})
    assert figures["splits"]["train"]["o_share"] is None
    assert figures["splits"]["dev"]["texts"] == 0
    assert figures["lengths"]["splits"]["train"]["histogram"] == [1]
    assert texts_of(figures) == ["1 blank text in train."]


def test_lengths_in_tokens() -> None:
    lengths = inspect(train=["a", "a b c d e", "a b c d f", "a b"])["lengths"]
    assert (lengths["unit"], lengths["window"]) == ("tokens", None)
    assert lengths["edges"] == [0, 1, 2, 3, 4, 6]
    assert lengths["splits"]["train"] == {
        "median": 3.5,
        "p95": 5,
        "max": 5,
        "several_windows": 0,
        "histogram": [0, 1, 1, 0, 2],
    }
    assert lengths["longest"] == {"length": 5, "place": "train.conll:2"}
    assert sorted(set(EDGES)) == EDGES


@pytest.fixture(scope="module")
def teacher(checkpoint: Path) -> Language:
    return load_teacher(str(checkpoint))


def test_pieces_of_tokens(teacher: Language) -> None:
    """As many as the tokenizer makes of the text; none of control characters."""
    tokenizer = teacher.get_pipe("transformer_ner").model.shims[0].tokenizer
    entry = entry_of(Doc(Vocab(), words=["Anna", " ", "ждёт", "\x01", "ß", "."]), "f")
    ((sizes, unknown),) = piece_counts(tokenizer, [entry])
    encoded = [
        tokenizer(word, add_special_tokens=False)["input_ids"] if word.strip() else []
        for word in entry.words
    ]
    assert sizes == [len(ids) for ids in encoded]
    assert unknown == [ids.count(tokenizer.unk_token_id) for ids in encoded]
    assert (sizes[1], sizes[3], unknown[4]) == (0, 0, 1)
    assert list(piece_counts(tokenizer, [entry_of(Doc(Vocab()), "f")])) == [([], [])]


def test_what_the_checkpoint_cannot_see(teacher: Language) -> None:
    docs = [make_doc("Anna/PER ß/X waits \x01/Y \x01"), make_doc(" ".join(["."] * 100))]
    entries = [entry_of(doc, f"f:{i}") for i, doc in enumerate(docs)]
    lengths, unseen = measure_coverage(
        {"train": entries}, teacher, lambda items, total: items
    )
    assert (
        lengths["window"]
        == teacher.get_pipe("transformer_ner").model.attrs["window"] - 2
    )
    assert lengths["splits"]["train"]["several_windows"] == 1
    keys = ("tokens", "no_pieces", "no_pieces_blank", "unknown_pieces", "entities")
    assert [unseen[key] for key in keys] == [105, 2, 0, 1, 3]
    assert (unseen["entities_unseen"], unseen["entities_unknown"]) == (1, 1)
    assert unseen["scripts"]["Latin"]["unknown_pieces"] == 1
    assert unseen["scripts"]["none"]["tokens"] == 102
    assert unseen["top_no_pieces"] == [
        {"token": "�", "code_points": "U+0001", "count": 2, "place": "f:0"}
    ]
    assert [row["token"] for row in unseen["top_unknown_pieces"]] == ["ß"]


def test_entity_longer_than_a_window(teacher: Language) -> None:
    texts = {"train": [entry_of(make_doc(" ".join(["./ORG"] * 70) + " ."), "f:1")]}
    lengths, _ = measure_coverage(texts, teacher, lambda items, total: items)
    assert lengths["long_entities"] == 1
    (example,) = lengths["long_entity_examples"]
    assert (example["type"], example["place"]) == ("ORG", "f:1")
    assert example["pieces"] > lengths["window"]
    assert len(example["entity"]) == 81


def test_duplicates_and_leaks() -> None:
    figures = inspect(
        train=["Ann/PER left .", "ann/PER left.", "Ann left .", "Bob ran", "x"],
        dev=["bob  RAN", "BobRan/ORG", "y"],
        test=["y", "z"],
    )
    rows = figures["duplicates"]
    assert {split: row["texts"] for split, row in rows.items()} == {
        "train": 2,
        "dev": 1,
        "test": 0,
    }
    assert rows["train"]["contradicting"] == rows["dev"]["contradicting"] == 1
    assert rows["train"]["examples"] == [
        {
            "text": "Ann left . ",
            "readings": 2,
            "places": [f"train.conll:{line}" for line in (1, 2, 3)],
        }
    ]
    leaks = {
        pair: tuple(row[key] for key in ("texts", "of", "share", "contradicting"))
        for pair, row in figures["leaks"].items()
    }
    assert leaks == {
        "train-dev": (2, 3, 0.6667, 1),
        "train-test": (0, 2, 0.0, 0),
        "dev-test": (1, 2, 0.5, 0),
    }
    found = texts_of(figures)
    assert (
        "2 of 3 dev texts (67%) are also in train: remove them from one of the two."
        in found
    )
    assert "2 texts of train repeat others." in found


@given(st.text())
def test_bare_text(text: str) -> None:
    assert bare(f" {text}\n") == bare(text) == bare("\u2003".join(text.split()))


def test_seen_entities() -> None:
    figures = inspect(
        train=["New/LOC York/LOC", "Ann/PER"],
        dev=["new/LOC york/LOC", "New/LOC", "Ann/LOC", "Ann/PER ANN/ORG"],
    )
    dev = figures["seen_entities"]["dev"]
    assert dev == {
        "entities": 5,
        "seen": 2,
        "share": 0.4,
        "types": {
            "LOC": {"entities": 3, "seen": 1, "share": 0.3333},
            "ORG": {"entities": 1, "seen": 0, "share": 0.0},
            "PER": {"entities": 1, "seen": 1, "share": 1.0},
        },
    }


def test_conflicts() -> None:
    conflicts = inspect(
        train=[
            "Bay/ORG Co/ORG",
            "BAY/ORG co/ORG or Bay Co",
            "May/PER may may",
            "bay/LOC",
        ],
        dev=["Bay/LOC Co/LOC", "a Bay Co ?/-", "bay Co/-"],
    )["conflicts"]
    assert conflicts["types"] == {
        "surfaces": 1,
        "entities": 1,
        "top": [
            {
                "surface": "Bay Co",
                "types": {"ORG": 2, "LOC": 1},
                "open": 2,
                "open_splits": {"train": 1, "dev": 1},
                "places": {
                    "LOC": ["dev.conll:1"],
                    "O": ["train.conll:2", "dev.conll:2"],
                    "ORG": ["train.conll:1", "train.conll:2"],
                },
            }
        ],
    }
    opened = conflicts["open"]
    assert (opened["surfaces"], opened["occurrences"]) == (2, 3)
    assert opened["ambiguous_surfaces"] == 1
    assert [row["surface"] for row in opened["top"]] == ["Bay Co", "bay"]


WORDS = st.lists(st.sampled_from("ab"), max_size=8)


@given(
    WORDS,
    st.sets(st.integers(0, 7)),
    st.sets(st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "b", "a")])),
)
def test_open_surfaces(words, taken, known) -> None:
    """As the slow way: at each free place the longest that fits."""
    starts = list(range(0, 2 * len(words), 2))
    entry = Entry("f", "f", " ".join(words), words, starts, [], taken)
    by_first: dict[str, list[int]] = {}
    for surface in sorted(known, key=len, reverse=True):
        by_first.setdefault(surface[0], []).append(len(surface))
    expected, i = [], 0
    while i < len(words):
        fits = [
            s
            for s in known
            if tuple(words[i : i + len(s)]) == s and not taken & {*range(i, i + len(s))}
        ]
        best = max(fits, key=len, default=None)
        expected += [best] if best else []
        i += len(best or "x")
    assert list(open_surfaces(entry, dict.fromkeys(known), by_first)) == expected


def test_white_space_tokens_do_not_part_a_surface() -> None:
    doc = Doc(Vocab(), words=["New", "  ", "York", "new", "york"])
    doc.set_ents([Span(doc, 0, 3, "LOC")], default="outside")
    uses = collect_uses({"train": [entry_of(doc, "f")]})
    assert uses["new", "york"].n_open == 1


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (None, "-"),
        (0, "0%"),
        (1.0, "100%"),
        (0.5, "50%"),
        (0.004, "0.4%"),
        (0.0001, "<0.1%"),
    ],
)
def test_percent(part: float | None, shown: str) -> None:
    assert percent(part) == shown


def test_plain_words() -> None:
    assert names(["a", "b", "c"]) == "a, b and c"
    assert names(["a"]) == "a"
    assert (count(1, "entity"), count(2000, "entity")) == ("1 entity", "2,000 entities")
    assert count(0, "text") == "0 texts"


def findings_of(regime: dict[str, Any]) -> list[dict[str, str]]:
    return find(inspect(train=["a"]) | {"regime": regime})


def test_findings_of_the_regime() -> None:
    known = {"Ann": ("PER", 0.9), "Rome": ("LOC", 0.9), "Acme": ("ORG", 0.9)}
    texts = ["Ann/PER in Rome", "Ann at Acme/FIRM"] * 20
    found = findings_of(regime_of(FakeTeacher(known), texts, n_files=2))
    assert found[0]["text"] == "The old types are partly annotated over all: see each."
    starts = [(finding["level"], finding["text"][:48]) for finding in found[1:]]
    assert starts == [
        ("warning", "PER: partly annotated. In 40 train texts, 20 ent"),
        ("note", "ORG: absent. In 40 train texts, 0 entities annot"),
        ("warning", "LOC: not annotated. In 40 train texts, 0 entitie"),
        ("warning", "Unlike the whole, 0.conll has PER annotated."),
        ("warning", "Unlike the whole, 1.conll has PER not annotated."),
        ("warning", "20 of 20 ORG that the teacher is sure of have ot"),
    ]
    assert "If that is the same, call it ORG in the corpus." in found[-1]["text"]


@pytest.mark.parametrize(
    ("sure", "word", "sign"),
    [
        (0.5, "Ann", "it is sure of 0% of what it finds and surely finds 0% of 20 "),
        (0.9, "Bob", "it surely finds 0% of 20 annotated entities"),
    ],
)
def test_teacher_that_reads_badly(sure: float, word: str, sign: str) -> None:
    known = {word: ("PER", sure)}
    found = findings_of(regime_of(FakeTeacher(known), ["Ann/PER"] * 20))
    assert any(f"reads these texts badly: {sign}" in item["text"] for item in found)


def test_other_findings() -> None:
    texts = [f"Ann/PER {i}" for i in range(20)]
    figures = inspect(train=["Ann/PER"], dev=texts, test=["Ань"] * 20)
    found = texts_of(figures)
    assert any(
        text.startswith("100% of the entities of dev stand in") for text in found
    )
    assert "20 texts of test in Cyrillic script, none of train." in found


def test_findings_about_pieces(teacher: Language) -> None:
    docs = [make_doc("\x01/PER ß/ORG"), make_doc(" ".join(["./X"] * 200))]
    figures = inspect_corpus({"train": {"f": docs}}, teacher)
    found = texts_of(figures)
    assert any(text.startswith("Texts longer than a window of ") for text in found)
    assert any(text.startswith("1 entity longer than a window") for text in found)
    assert any("see 1 token other than white space, nor 1 whole" in t for t in found)
    assert any(text.startswith("1 token (0.5%) with characters") for text in found)


def test_blank_texts_are_nowhere(nlp_blank: Language) -> None:
    docs = [nlp_blank("  "), nlp_blank(""), nlp_blank("  ")]
    for doc in docs:
        doc.set_ents([], default="outside")
    figures = inspect_corpus({"train": {"f": docs}, "dev": {"g": docs}})
    assert figures["leaks"]["train-dev"]["texts"] == 0
    assert figures["duplicates"]["train"]["texts"] == 0
    assert figures["splits"]["train"]["blank_texts"] == 3


def test_progress_can_be_shown(teacher: Language) -> None:
    totals = []

    def track(items, total):
        totals.append(total)
        return items

    splits = {
        "train": {"f": [make_doc("a"), make_doc("b")]},
        "dev": {"g": [make_doc("c")]},
    }
    inspect_corpus(splits, teacher, 1, track)
    assert totals == [1, 2, 1]
