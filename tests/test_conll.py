from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.conll import Sentence, find_files, format_sentence, read_conll
from retainer.errors import UserError


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
        ("a b\tPER\n", [[("a b", "PER")]]),
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
    "tag",
    [
        "O",
        "B-X",
        "I-X",
        "E-X",
        "S-X",
        "L-X",
        "U-X",
        "PER",
        "B-GPE-LOC",
        "work_of_art",
        "I-商品",
        "商品",
        "B-x.y",
        "B-1",
    ],
)
def test_tags_of_every_scheme_are_read(tmp_path: Path, tag: str) -> None:
    assert read(tmp_path / "a.conll", f"a\t{tag}")[0].tags == [tag]


@pytest.mark.parametrize(
    "tag",
    ["B-", "-X", "B", "I", "o", "0", "_", "X-PER", "b-PER", "B--X", "B_PER.", "NN,"],
)
def test_other_tags_are_refused(tmp_path: Path, tag: str) -> None:
    with pytest.raises(UserError, match=r"a\.conll:2 has '.+' for the token") as info:
        read(tmp_path / "a.conll", f"a\tO\nb\t{tag}\n")
    assert repr(tag) in str(info.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", r"'.*a\.conll', but the file holds no sentence"),
        ("\ufeff\n \n", r"holds no sentence"),
        ("-DOCSTART- -X- O O\n", r"holds no sentence"),
        ("a O\n\nb\n", r"a space and a tag were expected, but .*a\.conll:3 is 'b'"),
        ("a\u00a0O\n", r"a\.conll:1 is 'a\\xa0O'"),
        ("a b\na\tO\n", r"\(line 2 has one, so all need it\), but .*:1 is 'a b'"),
        ("a\tO\nb\t\n", r"a TAB and a tag were expected .*:2 is 'b\\t'"),
        ("a\tO\n\tO\n", r"before the first TAB, but .*a\.conll:2 is '\\tO'"),
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
tag = st.sampled_from(["O", "B-X", "I-X", "PER"])
sentence = st.lists(st.tuples(token, tag), min_size=1, max_size=5)


@given(sentences=st.lists(sentence, min_size=1, max_size=5))
def test_what_is_written_is_read_again(tmp_path_factory, sentences: list) -> None:
    text = "".join(format_sentence(*zip(*pairs, strict=True)) for pairs in sentences)
    path = tmp_path_factory.getbasetemp() / "round.conll"
    assert pairs(read(path, text)) == sentences
    assert pairs(read(path, text.replace("\n", "\r\n"))) == sentences


def test_folders_are_expanded(tmp_path: Path) -> None:
    for name in ("b.conll", "a.TXT", "c.spacy", "d.tsv", "e.iob", "f.bio"):
        (tmp_path / name).touch()
    for name in ("g.json", ".h.conll", "i"):
        (tmp_path / name).touch()
    (tmp_path / "j.conll").mkdir()
    found = find_files([tmp_path / "g.json", tmp_path, tmp_path / "b.conll"])
    names = ["g.json", "a.TXT", "b.conll", "c.spacy", "d.tsv", "e.iob", "f.bio"]
    assert [path.name for path in found] == names


def test_inputs_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected at '.*none', but nothing is there"):
        find_files([tmp_path / "none"])
    with pytest.raises(UserError, match=r"in the folder '.*', but it holds none"):
        find_files([tmp_path])
