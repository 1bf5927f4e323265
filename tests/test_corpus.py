from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin

from retainer.conll import Sentence, format_sentence
from retainer.corpus import (
    blank_pipeline,
    convert,
    doc_from_sentence,
    read_docs,
    write_docs,
)
from retainer.errors import UserError
from retainer.labels import spans_from_tags

NLP = blank_pipeline("xx")


def make_sentence(text: str) -> Sentence:
    """Example: "Ann/B-PER left/O" -> the tokens Ann and left, on the lines 7 and 8."""
    tokens, tags = zip(*(part.rsplit("/", 1) for part in text.split("|")), strict=True)
    lines = list(range(7, 7 + len(tokens)))
    return Sentence(list(tokens), list(tags), "a.conll", lines)


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
    ("sentence", "n_cuts", "n_repairs"),
    [
        ("Ann/B-PER|left/O", 0, 0),
        ("l'/O|eau/B-X", 1, 0),
        ("l'/B-Y|eau/B-X", 1, 0),
        ("l'/B-X|eau/I-X", 0, 0),
        ("d'/O|l'/B-X|eau/O", 2, 0),
        ("a/I-X|b/I-X|c/I-Y", 0, 2),
        ("a/E-X|b/L-X", 0, 2),
        ("a/X|b/O|c/X", 0, 0),
        ("a/O| /B-X|b/O", 0, 1),
        ("a/O| /I-X|b/O", 0, 1),
    ],
)
def test_cuts_and_repairs_are_counted(
    sentence: str, n_cuts: int, n_repairs: int
) -> None:
    data = make_doc(sentence).user_data
    assert (data["n_cuts"], data["n_repairs"]) == (n_cuts, n_repairs)


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


def test_convert_writes_one_file_and_counts_each(tmp_path: Path) -> None:
    first = write_conll(tmp_path / "a.conll", "Ann/B-PER|left/O", "l'/O|eau/I-X")
    second = write_conll(tmp_path / "b.txt", "北京/B-LOC")
    before = first.read_bytes(), second.read_bytes()
    output = tmp_path / "all.spacy"
    seen = []

    def track(docs):
        for doc in docs:
            seen.append(doc.text)
            yield doc

    for _ in range(2):  # the second time, the folder holds the output of the first
        counts = convert([tmp_path], output, "xx", track)
        assert [count.path for count in counts] == [first, second]
        assert [count.n_sentences for count in counts] == [2, 1]
        assert [count.n_tokens for count in counts] == [4, 2]
        assert [count.n_repairs for count in counts] == [1, 0]
        assert [count.n_cuts for count in counts] == [1, 0]
        assert [count.n_ents for count in counts] == [{"PER": 1, "X": 1}, {"LOC": 1}]
    assert seen == ["Ann left", "l'eau", "北京"] * 2
    assert [doc.text for doc in read_docs(output, NLP)] == seen[:3]
    assert (first.read_bytes(), second.read_bytes()) == before
    merged = convert([output], tmp_path / "merged.spacy", "xx")
    assert [(c.n_sentences, c.n_repairs, c.n_cuts) for c in merged] == [(3, 1, 1)]


def test_convert_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    source = write_conll(tmp_path / "a.conll", "a/O")
    with pytest.raises(UserError, match=r"as the output, .* but it is '.*a\.conll'"):
        convert([source], source, "xx")
    output = tmp_path / "a.spacy"
    convert([source], output, "xx")
    with pytest.raises(UserError, match=r"'.*a\.spacy' is given as both"):
        convert([source, output], output, "xx")
    with pytest.raises(UserError, match=r"language code .* 'qq' is none"):
        convert([source], output, "qq")
