import json
from pathlib import Path

import pytest
from conftest import make_sentence
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from test_mistakes import run_script

from retainer.conll import format_sentence
from retainer.convert import convert
from retainer.corpus import blank_pipeline, read_docs
from retainer.docbin import write_docs
from retainer.errors import UserError
from retainer.export import write_conll, write_records
from retainer.faults import FileLog, count_kinds
from retainer.formats import STYLES
from retainer.layout import ReadOptions

NLP = blank_pipeline("xx")


def write(path: Path, *sentences: str) -> Path:
    made = [make_sentence(text) for text in sentences]
    path.write_text("".join(format_sentence(s.tokens, s.tags) for s in made), "utf-8")
    return path


def read(path: Path) -> list[Doc]:
    return list(read_docs(path, NLP))


def test_one_file_is_written_and_each_counted(tmp_path: Path) -> None:
    first = write(tmp_path / "a.conll", "Ann/B-PER|left/O", "l'/O|eau/I-X")
    second = write(tmp_path / "b.txt", "北京/B-LOC|很/-", "a/O")
    before = first.read_bytes(), second.read_bytes()
    output = tmp_path / "all.spacy"
    seen = []

    def track(docs):
        for doc in docs:
            seen.append(doc.text)
            yield doc

    for _ in range(2):  # the second time, the folder holds the output of the first
        counts, faults = convert([tmp_path], output, "xx", track)
        assert [count.path for count in counts] == [first, second]
        assert [count.n_sentences for count in counts] == [2, 2]
        assert [count.n_tokens for count in counts] == [4, 4]
        assert [count.n_missing for count in counts] == [0, 1]
        assert [count.n_cuts for count in counts] == [1, 0]
        assert [count.n_ents for count in counts] == [{"PER": 1, "X": 1}, {"LOC": 1}]
        [fault] = faults
        assert str(fault) == f"{first}:5: illegal transition: I-X behind O"
        assert {count.log.layout for count in counts} == {
            "TAB, 2 columns, token 1, tag 2, BIO"
        }
    assert seen == ["Ann left", "l'eau", "北京很", "a"] * 2
    assert [doc.text for doc in read(output)] == seen[:4]
    assert (first.read_bytes(), second.read_bytes()) == before
    merged, _ = convert([output], tmp_path / "merged.spacy", "xx")
    assert [(c.n_sentences, c.n_missing, c.n_cuts) for c in merged] == [(4, 1, 1)]


def test_a_rare_type_is_seen_over_all_files(tmp_path: Path) -> None:
    write(tmp_path / "a.conll", "Ann/B-PER", "Bo/B-PER")
    write(tmp_path / "b.conll", "a/O|Li/B-PRE")
    _, faults = convert([tmp_path], tmp_path / "out.spacy")
    place = f"{tmp_path / 'b.conll'}:2"
    assert list(map(str, faults)) == [
        f"{place}: rare type: 'PRE' is there once, beside 'PER'"
    ]


def test_entities_that_changed_since_have_the_place_of_their_doc(tmp_path) -> None:
    write(tmp_path / "a.conll", "Ann/B-PER|left/O", "Bo/B-PER")
    convert([tmp_path / "a.conll"], tmp_path / "a.spacy")
    docs = read(tmp_path / "a.spacy")
    docs[1].set_ents([], default="outside")
    docs[0].set_ents([Span(docs[0], i, i + 1, "PRE") for i in (0, 1)])
    write_docs(docs, tmp_path / "b.spacy")
    counts, _ = convert([tmp_path / "b.spacy"], tmp_path / "c.spacy")
    assert counts[0].n_ents == {"PRE": 2}
    assert counts[0].places == {"PRE": f"{tmp_path / 'a.conll'}:1"}


def test_strict_writes_nothing_when_there_is_a_fault(tmp_path: Path) -> None:
    source = write(tmp_path / "a.conll", "Ann/B-PER|Li/O|Bo/I-PER")
    output = tmp_path / "a.spacy"
    with pytest.raises(UserError, match=r"there are 1\. .*\n.*:3: illegal transition"):
        convert([source], output, strict=True)
    assert list(tmp_path.iterdir()) == [source]
    convert([source], output)
    assert output.exists()


def test_what_is_said_of_a_file_is_used(tmp_path: Path) -> None:
    source = tmp_path / "a.tsv"
    source.write_bytes("Müller\tB-X\tI-Y\n".encode("latin-1"))
    options = ReadOptions("1", "-1", "tab", "IOB1", "latin-1")
    counts, faults = convert([source], tmp_path / "a.spacy", options=options)
    assert not faults
    assert counts[0].log.layout == "TAB, 3 columns, token 1, tag 3, IOB1"
    doc = read(tmp_path / "a.spacy")[0]
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Müller", "Y")]


def test_the_script_says_what_it_did(tmp_path, monkeypatch, capsys) -> None:
    source = tmp_path / "a.conll"
    source.write_text("# a\n" + "Ann\tB-PER\n\n" * 40 + "a\tO\nb\tI-PER\nc\n")
    files = (source, tmp_path / "a.jsonl", "--style", "doccano")
    faults = tmp_path / "faults.txt"
    assert run_script(monkeypatch, "convert.py", *files, "--faults", faults) == 0
    lines = [
        f"{source}:83: illegal transition: I-PER behind O",
        f"{source}:84: missing tag: 'c'",
    ]
    assert faults.read_text().splitlines() == lines
    shown = capsys.readouterr().out.splitlines()
    assert set(lines) < set(shown)
    assert any("PER 41" in line and "2 columns" in line for line in shown)
    assert "passed over 1 comment lines" in " ".join(shown)
    last = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[-1])
    assert last["label"] == [[2, 3, "PER"]]
    assert last["missing"] == [[4, 5]]
    assert run_script(monkeypatch, "convert.py", *files, "--strict") == 1
    assert capsys.readouterr().err.endswith("\n".join([*lines, ""]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tag_column": "3"}, "A column from 1 to 2, .* but it is '3'"),
        ({"token_column": "0"}, "A column from 1 to 2, .* but it is '0'"),
        ({"token_column": "2"}, "one column alone"),
        ({"separator": ","}, "A separator of tab, space was expected, .* ','"),
        ({"scheme": "IOB3"}, "A scheme of BIO, .* 'IOB3'"),
    ],
)
def test_what_cannot_be_of_a_file_is_refused(tmp_path, options, message) -> None:
    source = write(tmp_path / "a.conll", "Ann/B-PER")
    with pytest.raises(UserError, match=message):
        convert([source], tmp_path / "a.spacy", options=ReadOptions(**options))


def test_outputs_that_cannot_be_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.conll", "a/O")
    with pytest.raises(UserError, match=r"ends in .* as the output, .* '.*a\.doc'"):
        convert([source], tmp_path / "a.doc")
    with pytest.raises(UserError, match=r"'.*a\.conll' is given as both"):
        convert([source], source)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.conll").touch()
    with pytest.raises(UserError, match=r"'.*a\.conll' is all that there is"):
        convert([tmp_path / "new"], tmp_path / "new" / "a.conll")
    with pytest.raises(UserError, match=r"language code .* 'qq' is none"):
        convert([source], tmp_path / "a.spacy", "qq")
    with pytest.raises(UserError, match=r"style of prodigy, .* it is 'brat'"):
        convert([source], tmp_path / "a.jsonl", style="brat")
    assert sorted(tmp_path.iterdir()) == [source, tmp_path / "new"]


def round_trips(source: Path, folder: Path) -> list[bytes]:
    """Through .spacy, and from there through each kind of record, back to CoNLL."""
    docs = folder / "docs.spacy"
    write_docs(read_docs(source, NLP), docs, is_plain=True)
    paths = [docs]
    for style, suffix in zip(STYLES, (".jsonl", ".ndjson", ".json"), strict=True):
        paths.append(folder / f"{style}{suffix}")
        write_records(read(docs), paths[-1], style)
    results = []
    for path in paths:
        log = FileLog("out")
        write_conll(read_docs(path, NLP, log=log), folder / "out.conll", log)
        assert count_kinds(log.faults) == {}, path
        results.append((folder / "out.conll").read_bytes())
    return results


WORDS = st.text(
    st.characters(exclude_characters="\t\n\r", codec="utf-8"), min_size=1, max_size=6
) | st.sampled_from(["北京", "กำ", "l'", "O", "#", "-", "…", " ", "\u3000", "a b"])


@st.composite
def corpora(draw) -> str:
    """Legal BIO; a word that is white space or has some at its edges is O."""
    text = "Ann\tB-X\n\n"
    sentence = st.lists(WORDS, min_size=1, max_size=6)
    for words in draw(st.lists(sentence, min_size=1, max_size=4)):
        previous = "O"
        for word in words:
            tags = ["O"]
            if word.strip() == word:
                tags += ["-", "B-X", "B-Y"]
                tags += [f"I-{previous[2:]}"] if previous not in "O-" else []
            previous = draw(st.sampled_from(tags))
            text += f"{word}\t{previous}\n"
        text += "\n"
    return text


@settings(max_examples=1000, deadline=None)
@given(corpus=corpora())
def test_random_corpora_come_back_identical(tmp_path_factory, corpus: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "round"
    folder.mkdir(exist_ok=True)
    source = folder / "a.conll"
    source.write_bytes(corpus.encode())
    assert set(round_trips(source, folder)) == {corpus.encode()}
