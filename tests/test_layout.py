from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.columns import (
    count_columns,
    data_lines,
    find_separator,
    is_break,
    split_line,
)
from retainer.errors import UserError
from retainer.layout import Layout, ReadOptions, find_layout


def find(text: str, **options: str) -> Layout:
    layout = find_layout(lambda: text.split("\n"), "a.conll", ReadOptions(**options))
    assert layout is not None
    return layout


WORDS = ["the", "parcel", "is", "late", ",", "call", "us", "at", "noon", "today"]
OUTSIDE = "".join(f"{word} O\n" for word in WORDS)
FORMATS = {
    "conll2003": (
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nsays VBZ B-VP O\n\n. . O O",
        "space, 4 columns, token 1, tag 4, BIO",
    ),
    "conll2003-as-published": (
        "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nsays VBZ I-VP O\n. . O O",
        "space, 4 columns, token 1, tag 4, IOB1",
    ),
    "conll2003-without-entities": (
        "EU NNP B-NP O\nsays VBZ B-VP O\n. . O O",
        "space, 4 columns, token 1, tag 4, plain",
    ),
    "conll2002-spanish": (
        "Melbourne NP B-LOC\n( Fpa O\nAustralia NP B-LOC\n) Fpt O\n25 Z O",
        "space, 3 columns, token 1, tag 3, BIO",
    ),
    "conll2002-dutch": (
        "De Art O\ntekst N O\nvan Prep O\nhet Art O\nPuers N B-LOC",
        "space, 3 columns, token 1, tag 3, BIO",
    ),
    "conll2000-chunks-alone": (
        "a DT B-NP\nman NN I-NP\nleft VBD B-VP\n. . O",
        "space, 3 columns, token 1, tag 3, BIO",
    ),
    "wnut": (
        "@paul\tO\n#tag\tO\nEmpire\tB-geo-loc\nState\tI-geo-loc",
        "TAB, 2 columns, token 1, tag 2, BIO",
    ),
    "germeval": (
        "#\thttp://a.de [2009]\n1\tSchartau\tB-PER\tO\n2\tsagte\tO\tO\n"
        "3\tTages\tB-ORG\tB-LOC\n4\tspiegel\tI-ORG\tO",
        "TAB, 4 columns, token 2, tag 3 (tags in 4 too), BIO",
    ),
    "uner": (
        "# sent_id = w-1\n# text = Where is Iguazu?\n1\tWhere\tO\t-\tbk\n"
        "2\tis\tO\t-\tbk\n3\tIguazu\tB-LOC\t-\tbk\n4\t?\tO\t-\tbk",
        "TAB, 5 columns, token 2, tag 3, BIO",
    ),
    "uner-without-entities": (
        "# text = O vai\n1\tO\tO\t-\tBK\n2\tvai\tO\t-\tBK",
        "TAB, 5 columns, token 2, tag 3, plain",
    ),
    "uner-with-other-tags": (
        "1\tAnn\tB-PER\tB-OTH\tbk\n2\tis\tO\t-\tbk\n3\tBo\tB-PER\t-\tbk",
        "TAB, 5 columns, token 2, tag 3 (tags in 4 too), BIO",
    ),
    "conllu": (
        "1\tAnn\t_\tPROPN\tSpaceAfter=No\tB-PER\n2\t.\t_\tPUNCT\t_\tO",
        "TAB, 6 columns, token 2, tag 6, spacing 5, BIO",
    ),
    "index-from-0": (
        "0\tAnn\tB-PER\n1\tLi\tI-PER\n\n0\tleft\tO",
        "TAB, 3 columns, token 2, tag 3, BIO",
    ),
    "index-of-sentence-and-token": (
        "7-1\tAnn\tB-PER\n7-2\tLi\tI-PER\n\n8-1\tleft\tO",
        "TAB, 3 columns, token 2, tag 3, BIO",
    ),
    "index-with-colons": (
        "7:1\tAnn\tB-PER\n7:2\tLi\tI-PER\n\n8:1\tleft\tO",
        "TAB, 3 columns, token 2, tag 3, BIO",
    ),
    "sentence-numbers": (
        "".join(f"{5 + i // 4} {word} B-X\n" for i, word in enumerate(WORDS)),
        "space, 3 columns, token 2, tag 3, BIO",
    ),
    "numbers-are-words": (
        "5 CD B-NUM\n6 CD O",
        "space, 3 columns, token 1, tag 3, BIO",
    ),
    "numbers-and-tags-alone": (
        "1 B-NUM\n2 O",
        "space, 2 columns, token 1, tag 2, BIO",
    ),
    "tag-first": (
        "B-PER Ann\nI-PER Li\nO left",
        "space, 2 columns, token 2, tag 1, BIO",
    ),
    "tag-first-then-pos": (
        "B-PER Ann NNP\nI-PER Li NNP\nO left VBD",
        "space, 3 columns, token 2, tag 1, BIO",
    ),
    "plain": ("Ann PER\nLi PER\nleft O", "space, 2 columns, token 1, tag 2, plain"),
    "plain-in-small-letters": (
        "Ann person\nleft O",
        "space, 2 columns, token 1, tag 2, plain",
    ),
    "plain-without-outside": (
        "Ann PER\nLi PER",
        "space, 2 columns, token 1, tag 2, plain",
    ),
    "plain-behind-pos": (
        "Ann PROPN PER\nleft VERB O\n. PUNCT O",
        "space, 3 columns, token 1, tag 3, plain",
    ),
    "plain-before-pos": (
        "Ann PER PROPN\nleft O VERB\n. O PUNCT",
        "space, 3 columns, token 1, tag 2, plain",
    ),
    "no-entities": (OUTSIDE, "space, 2 columns, token 1, tag 2, plain"),
    "two-columns-the-fuller-one": (
        "Ann B-PER O\nin O O\nBonn B-LOC B-X",
        "space, 3 columns, token 1, tag 2 (tags in 3 too), BIO",
    ),
    "two-columns-alike": (
        "Ann B-PER B-X\nin O O",
        "space, 3 columns, token 1, tag 3 (tags in 2 too), BIO",
    ),
    "empty-last-column": (
        "Ann\tB-PER\t\nleft\tO\t",
        "TAB, 3 columns, token 1, tag 2, BIO",
    ),
    "tokens-like-tags": (
        "S-Bahn\tO\nU-Bahn\tO\nB-cell\tO",
        "TAB, 2 columns, token 1, tag 2, plain",
    ),
    "tokens-like-tags-and-entities": (
        "S-Bahn NN B-X\nU-Bahn NN I-X",
        "space, 3 columns, token 1, tag 3, BIO",
    ),
    "hash-tokens-alone": ("#1 B-X\n#2 O", "space, 2 columns, token 1, tag 2, BIO"),
    "hash-tokens-alone-in-iob1": (
        "#1 I-X\n#2 B-X",
        "space, 2 columns, token 1, tag 2, IOB1",
    ),
    "one-line": ("Ann B-X", "space, 2 columns, token 1, tag 2, BIO"),
    "bioes": ("a B-X\nb E-X\nc S-X", "space, 2 columns, token 1, tag 2, BIOES"),
    "bilou": ("a B-X\nb L-X", "space, 2 columns, token 1, tag 2, BILOU"),
    "bmes": ("a B-X\nb M-X\nc E-X", "space, 2 columns, token 1, tag 2, BMES"),
    "ragged": (
        OUTSIDE + "New York B-X\n",
        "space, 2 columns, token 1, tag 2, plain",
    ),
}


@pytest.mark.parametrize(("text", "expected"), FORMATS.values(), ids=FORMATS)
def test_formats_are_recognised(text: str, expected: str) -> None:
    assert str(find(text)) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_line_ends_and_blank_lines_change_nothing(name: str) -> None:
    text, expected = FORMATS[name]
    assert str(find(f"\n\n{text}\n \t\n\n")) == expected


@pytest.mark.parametrize(
    ("name", "index", "has_ranges", "is_simple"),
    [
        ("conll2003", None, False, True),
        ("uner", 0, True, False),
        ("germeval", 0, True, False),
        ("index-from-0", 0, True, False),
        ("index-of-sentence-and-token", 0, False, False),
        ("numbers-are-words", None, False, True),
        ("conllu", 0, True, False),
    ],
)
def test_the_index(name: str, index, has_ranges: bool, is_simple: bool) -> None:
    layout = find(FORMATS[name][0])
    assert (layout.index, layout.has_ranges) == (index, has_ranges)
    assert layout.is_simple is is_simple


@pytest.mark.parametrize(
    ("misc", "spacing"),
    [
        ("SpaceAfter=No", 2),
        ("a=b|SpaceAfter=No|c", 2),
        ("NoSpaceAfter", 2),
        ("SpaceAfter=Yes", None),
        ("xSpaceAfter=No", None),
    ],
)
def test_the_column_of_spaces(misc: str, spacing: int | None) -> None:
    assert find(f"a\tB-X\t{misc}\nb\tO\t_").spacing == spacing


TRUE, OTHER = {"O", "B-PER", "I-PER"}, 19 * "left O\n"
PERSONS = 3 * "Ann B-PER\nLi I-PER\n"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("Ann B-PER\nLi I-PER\nx O", TRUE),
        ("Ann\tB-PER \nLi\tI-PER\nx\t O", TRUE),
        ("Ann B-PER\nLi I-PER", TRUE),
        (PERSONS + "Bo PER\nx ORG\ny o\nz _\nt -", TRUE | {"PER"}),
        ("Ann PER\nx ORG\ny O", {"O", "PER", "ORG"}),
        (19 * "Ann PER\n" + "x O\nBo per\n", {"O", "PER"}),
        (18 * "Ann PER\n" + "x O\nBo per\n", {"O", "PER", "per"}),
        (OTHER + "Bo per\n", {"O", "per"}),
        (99 * OTHER + "Bo per\nx PER\n", {"O", "per", "PER"}),
        (OTHER + "Bo b-PER\n", {"O"}),
        (OTHER, {"O"}),
    ],
)
def test_the_tags_that_can_be_read(text: str, tags: set[str]) -> None:
    assert find(text).tags == tags


def test_tags_of_unusual_lines_are_tags() -> None:
    layout = find(FORMATS["conll2003"][0])
    expected = {"B-ORG": True, "O": True, "I-LOC": True, "ORG": False, "-": False}
    assert {tag: layout.is_tag(tag) for tag in expected} == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "TAB, 4 columns, token 1, tag 4 (tags in 3 too), BIO"),
        ({"tag_column": "3"}, "TAB, 4 columns, token 1, tag 3, BIO"),
        ({"tag_column": "-2"}, "TAB, 4 columns, token 1, tag 3, BIO"),
        ({"tag_column": "2"}, "TAB, 4 columns, token 1, tag 2, plain"),
        (
            {"token_column": "2"},
            "TAB, 4 columns, token 2, tag 4 (tags in 3 too), BIO",
        ),
        (
            {"tag_column": "1", "token_column": "-1"},
            "TAB, 4 columns, token 4, tag 1, plain",
        ),
        (
            {"scheme": "BMES"},
            "TAB, 4 columns, token 1, tag 4 (tags in 3 too), BMES",
        ),
        (
            {"separator": "space"},
            "space, 4 columns, token 1, tag 4 (tags in 3 too), BIO",
        ),
    ],
)
def test_what_is_given_is_not_looked_for(options: dict, expected: str) -> None:
    text = "Ann\tPROPN\tB-PER\tB-X\nleft\tVERB\tO\tO"
    assert str(find(text, **options)) == expected


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a O", {"tag_column": "3"}, r"from 1 to 2, or -1 .* 'a\.conll', .* it is '3'"),
        ("a O", {"tag_column": "-3"}, r"A column from 1 to 2, .* it is '-3'"),
        ("a O", {"tag_column": "0"}, r"A column from 1 to 2, .* it is '0'"),
        ("a O", {"token_column": "ner"}, r"A column from 1 to 2, .* it is 'ner'"),
        ("a O", {"token_column": "2"}, r"each line has one column alone"),
        ("B-X\nO", {}, r"each line has one column alone: a\.conll:1 is 'B-X'"),
        ("We left\nIt was", {}, r"no column of it holds tags: .* is 'We left'"),
        ("\n\na DET\nman NOUN", {}, r"a\.conll:3 is 'a DET' \(2 lines, most with 2"),
        ("PER Ann\nO left", {}, r"holds tags: .* Name the column of tags"),
        ("Ann,B-PER\nleft,O", {}, r"separated by TABs or spaces, not by commas"),
        ("Ann", {}, r"\(1 lines, most with 1 columns\)\. Name"),
    ],
)
def test_what_has_no_layout_is_refused(text: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find(text, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ","}, r"A separator of tab, space was expected, .* is ','"),
        ({"scheme": "IOB2"}, r"A scheme of BIO, .* was expected, .* is 'IOB2'"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ReadOptions(**options)


@pytest.mark.parametrize("text", ["", "\n \t\n", "-DOCSTART- -X- O"])
def test_a_file_without_data_has_no_layout(text: str) -> None:
    assert find_layout(lambda: text.split("\n"), "a", ReadOptions()) is None


token = st.text("abcXYZ019.,#", min_size=1, max_size=5)
tag = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC"])
rows = st.lists(st.tuples(token, tag), min_size=1, max_size=30)


@given(rows=rows, separator=st.sampled_from([" ", "\t", "  "]))
def test_token_and_tag_are_found_in_every_order(rows: list, separator: str) -> None:
    rows = [("Ann", "B-PER"), *rows]
    text = "\n".join(separator.join(row) for row in rows)
    layout = find(text)
    assert (layout.token, layout.tag, layout.width) == (0, 1, 2)
    swapped = "\n".join(separator.join(reversed(row)) for row in rows)
    layout = find(swapped)
    assert (layout.token, layout.tag, layout.width) == (1, 0, 2)


@pytest.mark.parametrize(
    ("line", "separator", "cells"),
    [
        (" a  O ", " ", ["a", "O"]),
        ("a \t O", " ", ["a", "O"]),
        (" a \tO", "\t", [" a ", "O"]),
        ("a\t\tO\t", "\t", ["a", "", "O", ""]),
        ("a\u00a0b\u3000\u2028 O", " ", ["a\u00a0b\u3000\u2028", "O"]),
    ],
)
def test_lines_are_split(line: str, separator: str, cells: list[str]) -> None:
    assert split_line(line, separator) == cells


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", True),
        (" \t ", True),
        ("-DOCSTART- O", True),
        ("\u3000", False),
        ("\u00a0", False),
        (" -DOCSTART- O", False),
        ("a O", False),
    ],
)
def test_breaks(line: str, expected: bool) -> None:
    assert is_break(line) is expected


def test_lines_of_data_know_number_and_sentence() -> None:
    lines = ["# text = a", "a O", "b O", "", "-DOCSTART- O", "# c", "#c O", "c O"]
    expected = [(2, "a O", True), (3, "b O", False), (8, "c O", True)]
    assert list(data_lines(lines)) == expected
    assert [line_i for line_i, _, _ in data_lines(lines, "")] == [1, 2, 3, 6, 7, 8]


@pytest.mark.parametrize(
    ("lines", "separator"),
    [
        (["a\tO", "b O"], "\t"),
        (["a\tO", "b O", "c O"], " "),
        (["# a\tb", "# c\td", "b O"], " "),
        ([], "\t"),
    ],
)
def test_the_separator_of_most_lines(lines: list[str], separator: str) -> None:
    assert find_separator(lines) == separator


def test_columns_are_counted() -> None:
    lines = ["", "a X O", "b X O", "more than three cells", "", "a Y B-X", "one"]
    columns = count_columns(lines, " ")
    assert columns.width == 3
    assert columns.cells == [{"a": 2, "b": 1}, {"X": 2, "Y": 1}, {"O": 2, "B-X": 1}]
    assert columns.firsts == {"a"}
    assert (columns.n, columns.example) == (5, (2, "a X O"))
    assert count_columns([""], " ") is None


def test_a_tie_goes_to_the_wider_lines() -> None:
    assert count_columns(["a", "a O"], " ").width == 2


@given(st.lists(st.sampled_from(["a O", "b c O", "d"]), min_size=1, max_size=2000))
def test_counting_in_chunks_counts_each_line_once(lines: list[str]) -> None:
    columns = count_columns(lines, " ")
    widths = Counter(len(line.split()) for line in lines)
    n, width = max((n, width) for width, n in widths.items())
    assert (columns.width, columns.n) == (width, len(lines))
    assert {cells.total() for cells in columns.cells} == {n}
