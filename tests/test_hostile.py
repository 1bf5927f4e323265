"""Files that people have and readers stumble over: read, repaired or refused.

As a script, it prints the table of them.
"""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from retainer.convert import convert
from retainer.corpus import blank_pipeline, read_docs
from retainer.errors import UserError
from retainer.faults import count_kinds

NLP = blank_pipeline("xx")


@dataclass
class Case:
    """data: the bytes of the file. n: its sentences. ents: (text, type) in order.

    faults: how many of each kind. refused: a part of the message, if it is not read.
    """

    data: str | bytes
    n: int = 1
    ents: list[tuple[str, str]] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    refused: str = ""


ANN = [("Ann Li", "PER")]
LINES = "Ann\tB-PER\nLi\tI-PER\nleft\tO\n"
MANY = LINES * 10  # so that one bad line is within what is tolerated


def record(**values) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def zipped(**files: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return stream.getvalue()


SPAN = {"start": 0, "end": 6, "label": "PER"}
CASES = {
    # ends of lines and of the file
    "crlf.conll": Case(LINES.replace("\n", "\r\n"), 1, ANN),
    "cr-alone.conll": Case(LINES.replace("\n", "\r"), 1, ANN),
    "no-last-newline.conll": Case(LINES.rstrip(), 1, ANN),
    "bom.conll": Case("\ufeff" + LINES, 1, ANN),
    "bom-then-blank.conll": Case("\ufeff\n\n" + LINES, 1, ANN),
    "blank-lines-of-blanks.conll": Case(LINES + " \t \n\n" + LINES, 2, ANN * 2),
    # tokens
    "nbsp.conll": Case("Ann\u00a0Li\tB-PER\nleft\tO\n", 1, [("Ann\u00a0Li", "PER")]),
    "ideographic-space.conll": Case("\u3000\tO\n京\tB-LOC\n", 1, [("京", "LOC")]),
    "line-separator.conll": Case("a\u2028b\tB-X\n", 1, [("a\u2028b", "X")]),
    "inner-spaces-tab.conll": Case("New York\tB-LOC\n", 1, [("New York", "LOC")]),
    "inner-spaces.conll": Case(
        "in O\n" * 4 + "New York B-LOC\n",
        1,
        [("New York", "LOC")],
        {"spaces in a token": 1},
    ),
    "hashes.conll": Case("# O\n#1 B-X\nis O\n", 1, [("#1", "X")]),
    "nul.conll": Case("a\x00b\tB-X\nc\tO\n", 1, [("a\x00b", "X")]),
    "emoji.conll": Case("👩‍👩‍👧\tO\nAnn\tB-PER\n", 1, [("Ann", "PER")]),
    "empty-token.conll": Case(MANY + "\tO\n", 1, ANN * 10, {"empty token": 1}),
    "blank-entity.conll": Case(MANY + " \tB-PER\n", 1, ANN * 10, {"blank entity": 1}),
    # columns
    "conll2003.conll": Case(
        "-DOCSTART- -X- -X- O\n\nAnn NNP B-NP B-PER\nLi NNP I-NP I-PER\n", 1, ANN
    ),
    "conll2003-without-entities.conll": Case("a DT B-NP O\nman NN I-NP O\n"),
    "germeval.tsv": Case(
        "#\thttp://a.b [2009]\n1\tAnn\tB-PER\tO\n2\tLi\tI-PER\tB-LAST\n", 1, ANN
    ),
    "index-first.tsv": Case("0\tAnn\tB-PER\n1\tLi\tI-PER\n\n0\ta\tO\n", 2, ANN),
    "sentence-numbers.tsv": Case(
        "".join(f"{i // 3}\t{line}\n" for i, line in enumerate(MANY.splitlines())),
        1,
        ANN * 10,
    ),
    "tag-first.conll": Case("B-PER Ann\nI-PER Li\nO left\n", 1, ANN),
    "conllu.conllu": Case(
        "# sent_id = 1\n# text = Ann Li's gone.\n"
        "1\tAnn\tann\tB-PER\t_\n2-3\tLi's\t_\t_\tSpaceAfter=Yes\n"
        "2\tLi\tli\tI-PER\t_\n3\t's\tbe\tO\t_\n3.1\tx\tx\tO\t_\n"
        "4\tgone\tgo\tO\tSpaceAfter=No\n5\t.\t.\tO\t_\n",
        1,
        [("Ann Li's", "PER")],
    ),
    "header.tsv": Case("token\ttag\n" + LINES, 1, ANN, {"header": 1}),
    "trailing-tabs.conll": Case(LINES.replace("\n", "\t\n"), 1, ANN),
    "ragged.conll": Case(
        "Ann x B-PER\nLi x I-PER\n" * 10 + "a x O more\n",
        1,
        ANN * 10,
        {"other columns": 1},
    ),
    "one-line-with-spaces.conll": Case(
        MANY + "a O\n", 1, ANN * 10, {"other separator": 1}
    ),
    "missing-tag.conll": Case(MANY + "left\n", 1, ANN * 10, {"missing tag": 1}),
    # tags
    "iob1.conll": Case("Ann I-PER\nLi I-PER\nBo B-PER\n", 1, [*ANN, ("Bo", "PER")]),
    "bioes.conll": Case("Ann B-PER\nLi E-PER\nBo S-PER\n", 1, [*ANN, ("Bo", "PER")]),
    "bilou.conll": Case("Ann B-PER\nLi L-PER\nBo U-PER\n", 1, [*ANN, ("Bo", "PER")]),
    "bmes.conll": Case("高 B-NAME\n小 M-NAME\n勇 E-NAME\n", 1, [("高小勇", "NAME")]),
    "plain.conll": Case("Ann PER\nLi PER\nleft O\n", 1, ANN),
    "illegal.conll": Case(
        "Ann B-PER\nleft O\nLi I-PER\n",
        1,
        [("Ann", "PER"), ("Li", "PER")],
        {"illegal transition": 1},
    ),
    "unfinished.conll": Case(
        "Ann B-PER\nleft O\nBo S-PER\n",
        1,
        [("Ann", "PER"), ("Bo", "PER")],
        {"unfinished entity": 1},
    ),
    "unreadable-tag.conll": Case(
        MANY + "Bo\tb-PER\n", 1, ANN * 10, {"unreadable tag": 1}
    ),
    "without-prefix.conll": Case(
        MANY + "Bo\tPER\n",
        1,
        [*ANN * 10, ("Bo", "PER")],
        {"tag without prefix": 1, "illegal transition": 1},
    ),
    "slip-of-a-type.conll": Case(
        MANY + "Bo\tB-PRE\n", 1, [*ANN * 10, ("Bo", "PRE")], {"rare type": 1}
    ),
    "spaces-in-a-type.conll": Case("Ann\tB-First Name\n", 1, [("Ann", "First Name")]),
    # compressed
    "gzip.conll.gz": Case(gzip.compress(LINES.encode()), 1, ANN),
    "gzip-by-another-name.conll": Case(gzip.compress(LINES.encode()), 1, ANN),
    "bzip2.conll.bz2": Case(bz2.compress(LINES.encode()), 1, ANN),
    "xz.conll.xz": Case(lzma.compress(LINES.encode()), 1, ANN),
    "zip.zip": Case(zipped(a=LINES), 1, ANN),
    # annotation tools
    "prodigy.jsonl": Case(record(text="Ann Li", spans=[SPAN], answer="accept"), 1, ANN),
    "rejected.jsonl": Case(
        record(text="no", spans=[], answer="reject")
        + record(text="Ann Li", spans=[SPAN]),
        1,
        ANN,
    ),
    "doccano.jsonl": Case(record(id=1, text="Ann Li", label=[[0, 6, "PER"]]), 1, ANN),
    "doccano-entities.jsonl": Case(
        record(
            text="Ann Li",
            entities=[{"id": 1, "label": "PER", "start_offset": 0, "end_offset": 6}],
        ),
        1,
        ANN,
    ),
    "label-studio.json": Case(
        json.dumps(
            [
                {
                    "data": {"text": "😀 Ann Li"},
                    "annotations": [
                        {
                            "result": [
                                {
                                    "type": "labels",
                                    "value": {
                                        "start": 3,
                                        "end": 9,
                                        "text": "Ann Li",
                                        "labels": ["PER"],
                                    },
                                }
                            ]
                        }
                    ],
                }
            ],
            indent=1,
        ),
        1,
        ANN,
        {"offsets in UTF-16": 1},
    ),
    "overlap.jsonl": Case(
        record(text="Ann Li", spans=[SPAN, {**SPAN, "end": 3, "label": "X"}]),
        1,
        ANN,
        {"overlapping spans": 1},
    ),
    "blank-edges.jsonl": Case(
        record(text=" Ann Li ", spans=[{**SPAN, "end": 8}]),
        1,
        ANN,
        {"span with blank edges": 1},
    ),
    "inside-a-word.jsonl": Case(
        record(text="Ann Lisa", spans=[SPAN]), 1, ANN, {"span inside a word": 1}
    ),
    "outside-the-text.jsonl": Case(
        record(text="Ann", spans=[{**SPAN, "start": 2}]),
        1,
        [],
        {"span outside the text": 1},
    ),
    "one-broken-record.jsonl": Case(
        record(text="Ann Li", spans=[SPAN]) * 20 + '{"text": "An\n',
        20,
        ANN * 20,
        {"broken record": 1},
    ),
    # refused
    "empty.conll": Case("", refused="holds no sentence"),
    "blank.conll": Case("\n \n", refused="holds no sentence"),
    "prose.txt": Case("We left.\nIt was a day in May.\n" * 9, refused="holds tags"),
    "chinese-prose.txt": Case("他住在北京。\n" * 9, refused="holds tags"),
    "parts-of-speech.conll": Case("a DET\nman NOUN\n. PUNCT\n", refused="holds tags"),
    "penn-tags.conll": Case("a DT\nman NN\nleft VBD\n" * 9, refused="holds tags"),
    "commas.csv": Case("Ann,B-PER\nleft,O\n", refused="not by commas"),
    "half-without-tag.conll": Case("Ann\tB-PER\nleft\n", refused=":2: missing tag"),
    "utf-16.conll": Case(LINES.encode("utf-16"), refused=":1 holds the byte 0xff"),
    "latin-1.conll": Case("a\tO\nbä\tO\n".encode("latin-1"), refused=":2 holds the"),
    "picture.txt": Case(b"\x89PNG\r\n\x1a\n\x00\x01" * 9, refused="UTF-8 text was"),
    "cut-off.conll.gz": Case(gzip.compress(MANY.encode())[:-9], refused="cannot be"),
    "broken-name.zip": Case(
        zipped(a=LINES)
        .replace(b"\x80\x01\x00\x00\x00\x00a", b"\x80\x01\x00\x00\x00\x00\xf8")
        .replace(
            b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x08"
        ),
        refused="cannot be read",
    ),
    "newer.zip": Case(
        zipped(a=LINES).replace(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\xeb"),
        refused="zip file version 23.5",
    ),
    "two-files.zip": Case(zipped(a=LINES, b=LINES), refused="but it has 2"),
    "unlabelled.jsonl": Case(record(text="Ann"), refused="1 texts without"),
    "type-of-a-dash.jsonl": Case(
        record(text="Ann Li", spans=[{**SPAN, "label": "-"}]), refused="and a label"
    ),
    "no-json.jsonl": Case("Ann\nLi\n", refused="no JSON"),
    "other-json.jsonl": Case(record(a=1), refused="under 'text'"),
    "cut-off.json": Case('[{"text": "Ann", "spans": []}, {', refused="cut-off.json:1"),
    "half-a-character.jsonl": Case(
        '{"text": "\\ud83d", "spans": []}', refused="half a character"
    ),
    "no.spacy": Case("no", refused="saved by spaCy"),
    "no.parquet": Case("no", refused="cannot be loaded"),
}


@pytest.mark.parametrize("name", CASES)
def test_hostile(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    data = case.data.encode() if isinstance(case.data, str) else case.data
    path, output = tmp_path / name, tmp_path / "out" / "out.spacy"
    path.write_bytes(data)
    if case.refused:
        with pytest.raises(UserError) as error_info:
            convert([path], output)
        assert case.refused in str(error_info.value)
        assert not output.parent.exists() or not list(output.parent.iterdir())
        return
    counts, faults = convert([path], output)
    docs = list(read_docs(output, NLP))
    assert [(ent.text, ent.label_) for doc in docs for ent in doc.ents] == case.ents
    assert (len(docs), count_kinds(faults)) == (case.n, case.faults)
    assert counts[0].log.layout
    assert path.read_bytes() == data
    if case.faults:
        output.unlink()
        with pytest.raises(UserError, match="Files without a fault were expected"):
            convert([path], output, strict=True)
        assert not list(output.parent.iterdir())


def test_there_are_many() -> None:
    assert len(CASES) > 60


def table() -> str:
    """Markdown: what became of each file, with counts."""
    lines = ["| file | outcome | sentences | entities | faults |"]
    lines.append("| --- | --- | ---: | ---: | --- |")
    for name, case in CASES.items():
        outcome = "refused" if case.refused else "repaired" if case.faults else "read"
        n, n_ents = ("", "") if case.refused else (case.n, len(case.ents))
        faults = ", ".join(f"{n} {kind}" for kind, n in case.faults.items())
        lines.append(f"| {name} | {outcome} | {n} | {n_ents} | {faults} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
