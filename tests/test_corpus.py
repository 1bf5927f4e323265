from pathlib import Path

import pytest
from conftest import make_sentence
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin

from retainer.charspans import AnnotatedText
from retainer.conll import Sentence, format_sentence
from retainer.corpus import blank_pipeline, doc_from_sentence, doc_from_text, read_docs
from retainer.docbin import write_docs
from retainer.errors import UserError
from retainer.faults import FileLog
from retainer.labels import spans_from_tags

NLP = blank_pipeline("xx")


def make_doc(text: str) -> Doc:
    return doc_from_sentence(NLP, make_sentence(text))


def ents(doc: Doc) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in doc.ents]


def without_spaces(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    ("sentence", "tokens", "expected"),
    [
        ("Ann/B-PER|left/O|./O", "Ann left .", [("Ann", "PER")]),
        ("北京/B-LOC|市/I-LOC|很/O", "北 京 市 很", [("北京市", "LOC")]),
        ("Ann/B-PER|Li/B-PER", "Ann Li", [("Ann", "PER"), ("Li", "PER")]),
        ("a/I-X|b/I-X|c/B-X", "a b c", [("a b", "X"), ("c", "X")]),
        ("a/S-X|b/B-X|c/E-X", "a b c", [("a", "X"), ("b c", "X")]),
        ("a/PER|b/PER|c/LOC", "a b c", [("a b", "PER"), ("c", "LOC")]),
        ("l'/O|eau/B-X", "l' eau", [("eau", "X")]),
        ("10/B-X|:/O|30/B-Y", "10 : 30", [("10", "X"), ("30", "Y")]),
        ("New York/B-LOC|,/O", "New York ,", [("New York", "LOC")]),
        ("a/O| /O|b/B-X", "a b", [("b", "X")]),
        ("a/B-X| /I-X", "a", [("a", "X")]),
        (" a /B-X|b/O", "  a b", [("a", "X")]),
        ("a/B-X| /B-Y|b/O", "a b", [("a", "X")]),
        ("a/O|b/O", "a b", []),
    ],
)
def test_sentences_become_docs(sentence: str, tokens: str, expected: list) -> None:
    doc = make_doc(sentence)
    assert [token.text for token in doc if not token.is_space] == tokens.split()
    assert ents(doc) == expected
    assert {token.ent_iob_ for token in doc} <= {"B", "I", "O"}


@pytest.mark.parametrize(
    ("sentence", "n_cuts"),
    [
        ("Ann/B-PER|left/O", 0),
        ("l'/O|eau/B-X", 1),
        ("l'/B-Y|eau/B-X", 1),
        ("l'/B-X|eau/I-X", 0),
        ("d'/O|l'/B-X|eau/O", 2),
    ],
)
def test_cuts_are_counted(sentence: str, n_cuts: int) -> None:
    assert make_doc(sentence).user_data.get("n_cuts", 0) == n_cuts


def test_an_entity_of_white_space_is_told() -> None:
    log = FileLog("b.conll")
    doc = doc_from_sentence(NLP, make_sentence("a/O| /B-X|b/B-Y"), log)
    assert ents(doc) == [("b", "Y")]
    assert list(map(str, log.faults)) == ["b.conll:8: blank entity: X of ' '"]


def test_tokens_without_annotation_are_missing() -> None:
    doc = make_doc("Ann/B-PER|l'/-|eau/O|北京/-|in/O")
    assert [(t.text, t.ent_iob) for t in doc] == [
        *(("Ann", 3), ("l'", 0), ("eau", 2), ("北", 0), ("京", 0), ("in", 2))
    ]
    assert doc.user_data["n_missing"] == 3


@pytest.mark.parametrize(
    ("spaces", "text", "expected"),
    [
        (None, None, "Tel. +49 30 1"),
        ([True, False, False, False], None, "Tel. +49301"),
        (None, "Tel.  +49 30  1", "Tel.  +49 30  1"),
    ],
)
def test_the_text_is_what_the_file_says(spaces, text, expected: str) -> None:
    sentence = make_sentence("Tel./O|+49/B-X|30/I-X|1/I-X")
    sentence.spaces, sentence.text = spaces, text
    doc = doc_from_sentence(NLP, sentence)
    assert doc.text == expected
    assert [ent.text for ent in doc.ents] == [expected[4:].strip()]
    words = doc.user_data.get("words") or [(t.idx, t.idx + len(t)) for t in doc]
    assert [expected[a:b] for a, b in words if expected[a:b].strip()] == sentence.tokens


def test_annotated_texts_become_docs() -> None:
    log = FileLog("a.jsonl")
    text = AnnotatedText("Ann  Lisa", [(0, 3, "PER"), (5, 7, "X")], "a.jsonl", 4)
    doc = doc_from_text(NLP, text, log)
    assert [t.text for t in doc if not t.is_space] == ["Ann", "Li", "sa"]
    assert doc.text == text.text
    assert ents(doc) == [("Ann", "PER"), ("Li", "X")]
    assert doc.user_data["source"] == "a.jsonl:4"
    assert list(doc.user_data["ent_lines"]) == [4, 4]
    detail = "X of 'Li' in 'Lisa'"
    assert list(map(str, log.faults)) == [f"a.jsonl:4: span inside a word: {detail}"]
    text.words = [(0, 3), (5, 7), (7, 9)]
    doc = doc_from_text(NLP, text, log)
    assert doc.user_data["words"] == text.words
    assert len(log.faults) == 1  # the file's own tokens end there


def test_docs_know_file_and_lines() -> None:
    doc = make_doc("a/O|b/B-X|c/I-X| /B-X|d/I-Y")
    assert doc.user_data["source"] == "a.conll:7"
    assert doc.user_data["ent_lines"] == [8, 11]


def test_tokens_are_those_of_use_unless_an_entity_ends_inside_one() -> None:
    doc = make_doc(
        "他/O|住/O|在/O|DHL/B-ORG|大厦/I-ORG|。/O|Tel/O|:/O|+49-30/B-TEL|a.b/O"
    )
    assert [t.text for t in doc] == [t.text for t in NLP.make_doc(doc.text)]


token = st.text("abZ1.,'\"-(。北京กำ่ \u00a0", min_size=1, max_size=4)
tag = st.sampled_from(["O", "O", "B-X", "I-X", "B-Y", "I-Y", "S-X", "E-X"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(token, tag), min_size=1, max_size=12))
def test_no_entity_is_lost(pairs: list[tuple[str, str]]) -> None:
    tokens, tags = map(list, zip(*pairs, strict=True))
    sentence = Sentence(tokens, tags, "a", list(range(len(tokens))))
    doc = doc_from_sentence(NLP, sentence)
    spans = [s for s in spans_from_tags(tags) if "".join(tokens[s[0] : s[1]]).strip()]
    expected = [(without_spaces("".join(tokens[a:b])), kind) for a, b, kind in spans]
    assert [(without_spaces(text), kind) for text, kind in ents(doc)] == expected
    assert without_spaces(doc.text) == without_spaces("".join(tokens))
    assert doc.user_data["ent_lines"] == [start for start, _, _ in spans]


def write_conll(path: Path, *sentences: str) -> Path:
    made = [make_sentence(text) for text in sentences]
    path.write_text("".join(format_sentence(s.tokens, s.tags) for s in made), "utf-8")
    return path


def test_files_of_both_kinds_are_read_alike(tmp_path: Path) -> None:
    source = write_conll(tmp_path / "a.conll", "Ann/B-PER|left/O", "北/B-LOC|京/I-LOC")
    docs = list(read_docs(source, NLP))
    target = tmp_path / "new" / "folder" / "a.spacy"
    write_docs(docs, target)
    again = list(read_docs(target, NLP))
    assert [doc.to_json() for doc in again] == [doc.to_json() for doc in docs]
    assert [doc.user_data for doc in again] == [
        {**doc.user_data, "ent_lines": (line,)}
        for doc, line in zip(docs, [1, 4], strict=True)
    ]
    assert [path.name for path in target.parent.iterdir()] == ["a.spacy"]


def test_docs_of_others_are_named_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "a.spacy"
    DocBin(docs=[NLP("a"), NLP("b")]).to_disk(path)
    sources = [doc.user_data["source"] for doc in read_docs(path, NLP)]
    assert sources == [f"{path}: document 1", f"{path}: document 2"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.spacy"
    write_docs([NLP("old")], path)

    def fail():
        yield NLP("new")
        raise UserError("broken")

    with pytest.raises(UserError, match="broken"):
        write_docs(fail(), path)
    assert [doc.text for doc in read_docs(path, NLP)] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"no zlib", None])
def test_a_broken_spacy_file_is_named(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "a.spacy"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=r"expected in '.*a\.spacy', but it cannot be"):
        list(read_docs(path, NLP))


@pytest.mark.parametrize("is_plain", [True, False])
def test_the_short_way_of_writing_loses_nothing(tmp_path: Path, is_plain: bool) -> None:
    docs = [make_doc("Ann/B-PER|l'/-|eau/B-X|北京/O"), NLP.make_doc("")]
    write_docs(docs, tmp_path / "a.spacy", is_plain=is_plain)
    again = list(read_docs(tmp_path / "a.spacy", blank_pipeline("xx")))
    for doc, expected in zip(again, docs, strict=True):
        assert doc.to_json() == expected.to_json()
        assert [t.ent_iob for t in doc] == [t.ent_iob for t in expected]
        assert [t.whitespace_ for t in doc] == [t.whitespace_ for t in expected]
