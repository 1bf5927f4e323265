import json
from pathlib import Path

import pytest
from spacy.tokens import Doc, Span

from retainer.conll import read_conll
from retainer.corpus import blank_pipeline, read_docs
from retainer.docbin import write_docs
from retainer.errors import UserError
from retainer.export import tags_of, words_of, write_conll, write_records
from retainer.faults import FileLog, count_kinds
from retainer.formats import STYLES

NLP = blank_pipeline("xx")


def make_doc(
    *tokens: str,
    ents: list[tuple[int, int, str]] = (),
    missing: list[tuple[int, int]] = (),
    words: list[tuple[int, int]] | None = None,
) -> Doc:
    """No spaces. ents, missing: in tokens. words: in characters."""
    doc = Doc(NLP.vocab, words=list(tokens), spaces=[False] * len(tokens))
    spans = [doc[start:end] for start, end in missing]
    named = [Span(doc, *ent) for ent in ents]
    doc.set_ents(named, missing=spans, default="outside")
    doc.user_data["source"] = "a.jsonl:4"
    if words is not None:
        doc.user_data["words"] = words
    return doc


def tags(doc: Doc) -> tuple[list[str], list[str]]:
    log = FileLog("out")
    return tags_of(doc, words_of(doc), log), list(map(str, log.faults))


def write(folder: Path, *docs: Doc) -> tuple[str, FileLog]:
    log = FileLog("out")
    write_conll(docs, folder / "out.conll", log)
    return (folder / "out.conll").read_bytes().decode(), log


def test_words_are_the_tokens_but_for_white_space() -> None:
    doc = make_doc("Ann", " ", "\n", "\u3000", "left")
    assert words_of(doc) == [(0, 3), (6, 10)]
    assert words_of(make_doc()) == []


def test_words_of_the_file_come_first() -> None:
    doc = make_doc("l'", "eau", words=[[0, 5]])
    assert words_of(doc) == [(0, 5)]


@pytest.mark.parametrize(
    ("ents", "missing", "words", "expected", "faults"),
    [
        # the tokens: aa bb " " cc dd, at the characters 0 2 4 5 7
        ([], [], None, "O O O O", []),
        ([(0, 2, "X")], [], None, "B-X I-X O O", []),
        ([(0, 1, "X"), (1, 2, "X")], [], None, "B-X B-X O O", []),
        ([(0, 5, "X")], [], None, "B-X I-X I-X I-X", []),
        ([], [(1, 2)], None, "O - O O", []),
        ([(0, 1, "X")], [(1, 5)], None, "B-X - - -", []),
        ([], [(2, 3)], None, "O O O O", []),
        ([(0, 2, "X")], [], [(0, 4), (5, 9)], "B-X O", []),
        ([(0, 5, "X")], [], [(0, 9)], "B-X", []),
        ([], [(0, 2)], [(0, 4), (5, 9)], "- O", []),
        ([], [(0, 1)], [(0, 4), (5, 9)], "- O", []),
        ([], [(2, 3)], [(0, 9)], "-", []),
        (
            [(0, 1, "X")],
            [],
            [(0, 4), (5, 9)],
            "B-X O",
            ["annotation inside a token: X of 'aa'"],
        ),
        (
            [(1, 4, "X")],
            [],
            [(0, 4), (5, 9)],
            "B-X I-X",
            ["annotation inside a token: X of 'bb cc'"],
        ),
        (
            [(0, 1, "X"), (1, 2, "Y")],
            [],
            [(0, 4), (5, 9)],
            "B-X O",
            [
                "annotation inside a token: X of 'aa'",
                "two entities in one token: Y of 'bb'",
            ],
        ),
        (
            [(0, 1, "X"), (1, 5, "Y")],
            [],
            [(0, 4), (5, 9)],
            "B-X B-Y",
            [
                "annotation inside a token: X of 'aa'",
                "annotation inside a token: Y of 'bb ccdd'",
            ],
        ),
        (
            [(0, 1, "X")],
            [(1, 2)],
            [(0, 4), (5, 9)],
            "B-X O",
            ["annotation inside a token: X of 'aa'"],
        ),
        ([(2, 3, "X")], [], None, "O O O O", ["blank entity: X of ' '"]),
    ],
)
def test_tags_of_words(ents, missing, words, expected: str, faults: list[str]) -> None:
    doc = make_doc("aa", "bb", " ", "cc", "dd", ents=ents, missing=missing, words=words)
    assert tags(doc) == (
        expected.split(),
        [f"a.jsonl:4: {fault}" for fault in faults],
    )


def test_a_doc_that_nobody_annotated_has_no_tags() -> None:
    assert tags(NLP.make_doc("Ann left")) == (["-", "-"], [])


def test_a_doc_without_source_is_told_as_such() -> None:
    doc = make_doc("aa", "bb", ents=[(0, 1, "X")], words=[(0, 4)])
    del doc.user_data["source"]
    assert tags(doc)[1] == [
        "a document of unknown source: annotation inside a token: X of 'aa'"
    ]


def test_conll_is_written(tmp_path: Path) -> None:
    first = make_doc("Ann", " ", "left", ents=[(0, 1, "PER")])
    text, log = write(tmp_path, first, make_doc("北", "京", missing=[(0, 2)]))
    assert text == "Ann\tB-PER\nleft\tO\n\n北\t-\n京\t-\n\n"
    assert not log.faults


@pytest.mark.parametrize(
    ("token", "written", "is_told"),
    [
        ("a\tb", "a b", True),
        ("a\nb", "a b", True),
        ("a\r\nb", "a\r b", True),
        ("a\n\n\tb", "a   b", True),
        ("-DOCSTART-", " -DOCSTART-", True),
        ("-DOCSTART-x", " -DOCSTART-x", True),
        ("x-DOCSTART-", "x-DOCSTART-", False),
        ("a\u2028b", "a\u2028b", False),
        ("a\rb", "a\rb", False),
        ("a b", "a b", False),
        ("#", "#", False),
        ("\ufeff", "\ufeff", False),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_every_token_comes_back_on_its_line(
    tmp_path, token: str, written: str, is_told: bool, is_first: bool
) -> None:
    tokens = (token, "x") if is_first else ("x", token)
    bounds = [(0, len(tokens[0])), (len(tokens[0]), len(token) + 1)]
    doc = make_doc(*tokens, ents=[(0, 2, "X")], words=bounds)
    text, log = write(tmp_path, doc)
    detail = f"a.jsonl:4: unwritable text: {token!r}"
    assert list(map(str, log.faults)) == [detail] * is_told
    assert text.count("\n") == 3
    [sentence] = read_conll(tmp_path / "out.conll")
    assert sentence.tokens == [written if t == token else t for t in tokens]
    assert sentence.tags == ["B-X", "I-X"]


@pytest.mark.parametrize("label", ["a\tb", "a\nb", "a\t\n b"])
def test_every_type_stays_on_its_line(tmp_path: Path, label: str) -> None:
    text, log = write(tmp_path, make_doc("Ann", "x", ents=[(0, 1, label)]))
    written = label.replace("\t", " ").replace("\n", " ")
    assert text == f"Ann\tB-{written}\nx\tO\n\n"
    assert [fault.kind for fault in log.faults] == ["unwritable text"]


@pytest.mark.parametrize("start", ["\ufeff", "PK\x03\x04", "BZh91AY&SY"])
def test_what_a_file_of_text_cannot_begin_with(tmp_path: Path, start: str) -> None:
    doc = make_doc(f"{start}a", words=[(0, len(start) + 1)])
    text = f"{start}a\tO\n\n"
    assert write(tmp_path, doc, doc)[0] == f"\ufeff{text}{text}"
    again = [sentence.tokens for sentence in read_conll(tmp_path / "out.conll")]
    assert again == [[f"{start}a"]] * 2


def test_texts_without_a_token_are_left_out_and_told(tmp_path: Path) -> None:
    docs = [make_doc(), make_doc(" \n"), make_doc("\ufeffa", words=[(0, 2)])]
    text, log = write(tmp_path, *docs)
    assert text == "\ufeff\ufeffa\tO\n\n"
    assert count_kinds(log.faults) == {"text without a token": 2}


def test_strict_writes_nothing_that_conll_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.jsonl:4: text without a token: ' '"):
        write_conll([make_doc(" ")], tmp_path / "a.conll", FileLog("a"), strict=True)
    assert not list(tmp_path.iterdir())


def fail():
    yield make_doc("new")
    raise UserError("broken")


@pytest.mark.parametrize(
    "write_to",
    [
        lambda docs, path: write_conll(docs, path, FileLog("out")),
        lambda docs, path: write_records(docs, path, "prodigy"),
    ],
)
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, write_to) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(UserError, match="broken"):
        write_to(fail(), path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


DOCS = [
    make_doc("北", "😀\u2028", ents=[(0, 1, "LOC")]),
    make_doc("a", "\n", "b", missing=[(0, 1)]),
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson"])
def test_records_are_a_line_each(tmp_path: Path, style: str, name: str) -> None:
    write_records(DOCS, tmp_path / name, style)
    data = (tmp_path / name).read_bytes().decode()
    lines = data.split("\n")
    assert lines.pop() == ""
    texts = [record.get("data", record)["text"] for record in map(json.loads, lines)]
    assert texts == ["北😀\u2028", "a\nb"]
    assert "北😀\u2028" in data


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("name", ["a.json", "a.JSON"])
def test_or_one_list(tmp_path: Path, style: str, n: int, name: str) -> None:
    write_records(DOCS[:n], tmp_path / name, style)
    records = json.loads((tmp_path / name).read_bytes())
    texts = [record.get("data", record)["text"] for record in records]
    assert texts == ["北😀\u2028", "a\nb"][:n]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_records_are_read_again(tmp_path: Path, style: str, name: str) -> None:
    write_records(DOCS, tmp_path / name, style)
    log = FileLog("a")
    again = list(read_docs(tmp_path / name, NLP, log=log))
    assert [doc.text for doc in again] == [doc.text for doc in DOCS]
    assert [[(e.text, e.label_) for e in doc.ents] for doc in again] == [
        [("北", "LOC")],
        [],
    ]
    assert [token.text for token in again[1] if token.ent_iob == 0] == ["a"]
    assert not log.faults


def test_a_file_without_a_blank_line_is_one_long_sentence(tmp_path: Path) -> None:
    """What is done again for each word of a text would take minutes here."""
    source, docs = tmp_path / "a.conll", tmp_path / "a.spacy"
    source.write_text("Ann\tB-X\nleft\tO\nl'\tO\neau\tB-Y\n" * 25_000 + "\n")
    write_docs(read_docs(source, NLP), docs, is_plain=True)
    write_conll(read_docs(docs, NLP), tmp_path / "b.conll", FileLog("b"))
    assert (tmp_path / "b.conll").read_bytes() == source.read_bytes()
