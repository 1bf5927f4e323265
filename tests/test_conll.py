from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.conll import Sentence, find_words, format_sentence, read_conll
from retainer.errors import UserError
from retainer.faults import FileLog


def read(path: Path, data: str | bytes) -> list[Sentence]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_conll(path))


def pairs(sentences: list[Sentence]) -> list[list[tuple[str, str]]]:
    return [list(zip(s.tokens, s.tags, strict=True)) for s in sentences]


ONE = [[("a", "B-X"), ("b", "O")]]
TWO = [[("a", "B-X")], [("b", "O")]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\tB-X\nb\tO\n", ONE),
        ("a B-X\nb O\n", ONE),
        ("a   B-X\nb  O", ONE),
        ("  a B-X \nb O ", ONE),
        ("a NN B-NP B-X\nb VB B-VP O\n", ONE),
        ("a\tNN\t\tB-X\nb\tVB\t_\tO\n", ONE),
        ("a\tB-X \nb\t O\n", ONE),
        ("a\tB-X\r\nb\tO\r\n", ONE),
        ("\ufeffa\tB-X\nb\tO\n", ONE),
        ("\ufeff\n\na\tB-X\nb\tO\n\n\n", ONE),
        ("a\tB-X\n\nb\tO\n", TWO),
        ("a\tB-X\n \t \nb\tO\n", TWO),
        ("a B-X\r\n\t\r\nb O\r\n", TWO),
        ("a\tB-X\n-DOCSTART-\tO\nb\tO", TWO),
        ("-DOCSTART- -X- -X- O\n\na X B-X\n\nb Y O", TWO),
        ("a b\tPER\n", [[("a b", "I-PER")]]),
        (" \tO\n.\tO\n", [[(" ", "O"), (".", "O")]]),
        ("a\u00a0b O\n\u3000 O\n", [[("a\u00a0b", "O"), ("\u3000", "O")]]),
        ("a\u2028b\x85c\x0bd\tO\n", [[("a\u2028b\x85c\x0bd", "O")]]),
        ("a\rb\tO\n", [[("a\rb", "O")]]),
        ("# O\nO O\n", [[("#", "O"), ("O", "O")]]),
    ],
)
def test_text_is_read(tmp_path: Path, text: str, expected: list) -> None:
    assert pairs(read(tmp_path / "a.conll", text)) == expected


def test_each_token_knows_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    sentences = read(path, "-DOCSTART- O\n\na O\nb O\n\n\nc O\n")
    assert [sentence.lines for sentence in sentences] == [[3, 4], [7]]
    assert {sentence.path for sentence in sentences} == {str(path)}


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        *((tag, tag) for tag in ("O", "B-X", "I-X", "E-X", "S-X", "L-X", "U-X", "-")),
        *((tag, tag) for tag in ("B-GPE-LOC", "I-商品", "B-x.y", "B-1", "B-a b")),
        *(("M-X", "I-X"), ("W-X", "S-X")),
        *((tag, f"I-{tag}") for tag in ("PER", "work_of_art", "商品", "a.b", "B2")),
    ],
)
def test_tags_of_every_scheme_are_read(tmp_path: Path, tag: str, expected: str) -> None:
    assert read(tmp_path / "a.conll", f"a\tO\nb\t{tag}")[0].tags == ["O", expected]


@pytest.mark.parametrize(
    "tag",
    ["B-", "-X", "B", "I", "o", "0", "_", "X-PER", "b-PER", "B--X", "B_PER.", "NN,"],
)
def test_other_tags_leave_the_token_unknown(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "a.conll"
    log = FileLog("name")
    path.write_text("a\tO\n" * 20 + f"b\t{tag}\n")
    assert next(read_conll(path, log=log)).tags == ["O"] * 20 + ["-"]
    assert [str(fault) for fault in log.faults] == [
        f"name:21: unreadable tag: {tag!r} of the token 'b'"
    ]
    with pytest.raises(UserError, match=r"a\.conll:2: unreadable tag") as info:
        read(path, f"a\tO\nb\t{tag}\n")
    assert repr(tag) in str(info.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", r"'.*a\.conll', but the file holds no sentence"),
        ("\ufeff\n \n", r"holds no sentence"),
        ("-DOCSTART- -X- O O\n", r"holds no sentence"),
        ("a O\n\nb\n", r"1 of 2 are faulty, .*\n.*a\.conll:3: missing tag: 'b'"),
        ("a\u00a0O\n", r"no column of it holds tags: .*:1 is 'a\\xa0O' .* 1 columns"),
        ("a b\na\tO\n", r"a\.conll:1: missing tag: 'a b'"),
        ("a\tO\nb\t\n", r"a\.conll:2: unreadable tag: '' of the token 'b'"),
        ("\tO\n", r"1 of 1 are faulty, .*\n.*a\.conll:1: empty token"),
        (b"a\tO\nb\xe4\tO\n", r"UTF-8 .*a\.conll:2 holds the byte 0xe4"),
        ("a\tO\n".encode("utf-16"), r"a\.conll:1 holds the byte 0xff"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, data, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.conll", data)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected at '.*none\.conll', but .* No such"):
        list(read_conll(tmp_path / "none.conll"))


column = st.text(st.characters(exclude_characters="\t\n\r", codec="utf-8"), min_size=1)
token = column.filter(lambda t: t[0] not in "\ufeff-")
tag = st.sampled_from(["O", "B-X", "I-X", "B-Y", "E-X"])
sentence = st.lists(st.tuples(token, tag), min_size=1, max_size=5)


@given(sentences=st.lists(sentence, min_size=1, max_size=5))
def test_what_is_written_is_read_again(tmp_path_factory, sentences: list) -> None:
    text = "".join(format_sentence(*zip(*pairs, strict=True)) for pairs in sentences)
    path = tmp_path_factory.getbasetemp() / "round.conll"
    assert pairs(read(path, text)) == sentences
    assert pairs(read(path, text.replace("\n", "\r\n"))) == sentences


CONLLU = """\
# newdoc
# text = Del mar, a 3  km.
1-2\tDel\t_\t_
1\tDe\tO\t_
2\tel\tB-X\t_
3\tmar\tI-X\tSpaceAfter=No
4\t,\tO\t_
4.1\tellipsis\tO\t_
5\ta\tO\t_
6\t3\tB-Y\t_
7\tkm\tI-Y\tSpaceAfter=No
8\t.\tO\t_

# text = something else
1\ta\tB-X\tSpaceAfter=No
2\tb\tO\t_
"""


def test_conllu_has_its_own_spaces_and_words(tmp_path: Path) -> None:
    path, log = tmp_path / "a.conllu", FileLog("name")
    path.write_text(CONLLU)
    first, second = read_conll(path, log=log)
    assert first.tokens == ["Del", "mar", ",", "a", "3", "km", "."]
    assert first.tags == ["B-X", "I-X", "O", "O", "B-Y", "I-Y", "O"]
    assert first.lines == [3, 6, 7, 9, 10, 11, 12]
    assert (first.text, second.text) == ("Del mar, a 3  km.", None)
    assert second.spaces == [False, True]
    assert dict(log.skipped) == {
        "comment lines": 3,
        "words inside a multiword token": 2,
        "empty nodes": 1,
        "-DOCSTART- lines": 0,
    }
    assert [str(fault) for fault in log.faults] == [
        "name:15: text and tokens differ: 'something else'"
    ]


def test_two_entities_in_one_token_are_told(tmp_path: Path) -> None:
    path, log = tmp_path / "a.conllu", FileLog("name")
    path.write_text("1-2\tab\t_\t_\n1\ta\tB-X\t_\n2\tb\tB-Y\t_\n3\tc\tO\t_\n")
    assert next(read_conll(path, log=log)).tags == ["B-X", "O"]
    assert [str(fault) for fault in log.faults] == [
        "name:3: two entities in one token: B-X and B-Y"
    ]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("to  DHL.", ["to", "DHL", "."], [(0, 2), (4, 7), (7, 8)]),
        (" a ", ["a"], [(1, 2)]),
        ("a b", ["a"], None),
        ("a b", ["b"], None),
        ("ab", ["a", "c"], None),
        ("", [], []),
    ],
)
def test_words_are_found_in_their_text(text: str, words: list, expected) -> None:
    assert find_words(text, words) == expected
