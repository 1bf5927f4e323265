"""Records and confidences; every way a run can end, and what is gone on with."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from conftest import add_ner
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language

from retainer import annotate as module
from retainer.annotate import (
    MAX_CHARS,
    MAX_TEXTS,
    Totals,
    annotate,
    confidences,
    fingerprint,
    split,
)
from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.partfile import PartFile
from retainer.texts import Text

SCRIPT = Path(__file__).parents[1] / "scripts" / "annotate.py"
TEXTS = [
    Text("Anna Weber sent a parcel to Lisbon.", {"id": 1}),
    Text(""),
    Text("Northway wartet in Bremen auf Anna", {"id": "\ud83d"}),
    Text(" \n"),
    Text("王芳在北京等快递员。"),
    Text("Курьер ждёт Анну в Казани"),
    Text("Call 555 01 99"),
]


@pytest.fixture(scope="module")
def nlp(checkpoint: Path) -> Language:
    """It finds Northway by a rule, and the checkpoint's entities round it."""
    nlp = blank_pipeline("xx")
    ruler = nlp.add_pipe("entity_ruler")
    add_ner(nlp, checkpoint)
    nlp.initialize()  # which takes a ruler's patterns away
    ruler.add_patterns([{"label": "COURIER", "pattern": "Northway"}])
    return nlp


@pytest.fixture(scope="module")
def folder(nlp: Language, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pipeline") / "model-best"
    nlp.to_disk(path)
    return path


def write(
    nlp: Language, output: Path, texts: list[Text] = TEXTS, style: str = "prodigy"
) -> Totals:
    """A whole run, or the rest of one."""
    part = PartFile(output, {})
    with part.open(restart=False):
        list(annotate(nlp, texts, part, style))
    return Totals(**part.state)


def read(output: Path) -> list[dict]:
    return [json.loads(line) for line in output.read_text().split("\n")[:-1]]


@pytest.fixture
def two_a_chunk(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_TEXTS", 2)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([0], [1]),
        ([1] * MAX_TEXTS, [MAX_TEXTS]),
        ([1] * (2 * MAX_TEXTS + 1), [MAX_TEXTS, MAX_TEXTS, 1]),
        ([MAX_CHARS, 1, MAX_CHARS - 2, 1], [1, 3]),
        ([1, 2 * MAX_CHARS, 1], [2, 1]),
    ],
)
def test_split(lengths: list[int], expected: list[int]) -> None:
    texts = [Text("a" * length) for length in lengths]
    chunks = list(split(texts))
    assert [len(chunk) for chunk in chunks] == expected
    assert [text for chunk in chunks for text in chunk] == texts


@given(st.lists(st.sampled_from([0, 1, MAX_CHARS // 2, MAX_CHARS]), max_size=9))
def test_split_begins_anew_behind_each_chunk(lengths: list[int]) -> None:
    chunks = list(split(Text("a" * length) for length in lengths))
    for chunk_i in range(len(chunks)):
        rest = [text for chunk in chunks[chunk_i:] for text in chunk]
        assert list(split(rest)) == chunks[chunk_i:]


def test_records_are_in_the_order_of_the_texts(nlp, tmp_path, two_a_chunk) -> None:
    totals = write(nlp, tmp_path / "o.jsonl")
    records = read(tmp_path / "o.jsonl")
    assert [record["text"] for record in records] == [text.text for text in TEXTS]
    assert [record.get("meta") for record in records] == [text.meta for text in TEXTS]
    assert records[1]["spans"] == records[3]["spans"] == []
    docs = [nlp(text.text) for text in TEXTS]
    for doc, record in zip(docs, records, strict=True):
        spans = [(s["start"], s["end"], s["label"]) for s in record["spans"]]
        assert spans == [(e.start_char, e.end_char, e.label_) for e in doc.ents]
    assert totals.n_texts == 7
    assert totals.n_blank == 2
    assert totals.n_words == sum(map(len, docs))
    assert totals.n_ents == Counter(e.label_ for doc in docs for e in doc.ents)
    assert totals.n_ents["COURIER"] == 1
    assert totals.seconds > 0


def test_confidences_are_those_of_the_component(nlp, tmp_path) -> None:
    write(nlp, tmp_path / "o.jsonl")
    n_scores = 0
    for text, record in zip(TEXTS, read(tmp_path / "o.jsonl"), strict=True):
        doc = nlp(text.text)
        group = doc.spans[module.SPANS_KEY]
        bounds = [(span.start_char, span.end_char) for span in group]
        expected = dict(zip(bounds, group.attrs["scores"], strict=True))
        for span in record["spans"]:
            score = expected.get((span["start"], span["end"]))
            assert (score is None) == (span["label"] == "COURIER")
            assert span.get("score") == (score and pytest.approx(score, abs=1e-3))
            n_scores += score is not None
    assert n_scores > 3


def test_entities_without_the_component_have_no_confidence() -> None:
    nlp = blank_pipeline("xx")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "ORG", "pattern": "DHL"}])
    assert confidences(nlp("DHL and DHL")) == [None, None]
    assert confidences(nlp("")) == []


@pytest.mark.parametrize(
    ("style", "keys"),
    [
        ("prodigy", {"text", "tokens", "spans", "meta"}),
        ("doccano", {"text", "label", "scores", "meta"}),
        ("label-studio", {"data", "predictions"}),
    ],
)
def test_style(nlp, tmp_path, style: str, keys: set[str]) -> None:
    write(nlp, tmp_path / "o.jsonl", TEXTS[:1], style)
    assert set(read(tmp_path / "o.jsonl")[0]) == keys


def test_vocabulary_does_not_grow(nlp, tmp_path) -> None:
    write(nlp, tmp_path / "a.jsonl")
    before = len(nlp.vocab.strings)
    texts = [Text(f"new{i} words{i} for Anna{i}") for i in range(100)]
    assert write(nlp, tmp_path / "o.jsonl", texts).n_words == 400
    assert len(nlp.vocab.strings) == before


def test_text_longer_than_spacy_takes(nlp, tmp_path) -> None:
    nlp.max_length = 10
    assert write(nlp, tmp_path / "o.jsonl", [Text("Anna " * 3000)]).n_words == 3000


def test_no_text_at_all(nlp, tmp_path) -> None:
    with pytest.raises(UserError, match=r"At least one text .* holds none\. Name"):
        write(nlp, tmp_path / "o.jsonl", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("n_before", range(11))
def test_interrupted_at_any_step(
    nlp, tmp_path, monkeypatch, two_a_chunk, step: str, n_before: int
) -> None:
    """4 chunks: 9 of fsync, 6 of replace; above these numbers nothing happens."""
    write(nlp, tmp_path / "whole.jsonl")
    do, n_steps = getattr(os, step), 0

    def fail_once(*args) -> None:
        nonlocal n_steps
        n_steps += 1
        if n_steps == n_before + 1:
            raise KeyboardInterrupt
        do(*args)

    monkeypatch.setattr(os, step, fail_once)
    for _ in range(2):
        try:
            write(nlp, tmp_path / "o.jsonl")
            break
        except KeyboardInterrupt:
            assert not (tmp_path / "o.jsonl").exists()
    assert n_steps > n_before or n_steps == {"fsync": 9, "replace": 6}[step]
    expected = (tmp_path / "whole.jsonl").read_bytes()
    assert (tmp_path / "o.jsonl").read_bytes() == expected
    assert len(list(tmp_path.iterdir())) == 2


def interrupted(nlp: Language, output: Path, n_chunks: int) -> None:
    part = PartFile(output, {})
    with part.open(restart=False):
        list(islice(annotate(nlp, TEXTS, part, "prodigy"), n_chunks))


def test_totals_go_on(nlp, tmp_path, two_a_chunk) -> None:
    whole = write(nlp, tmp_path / "whole.jsonl")
    interrupted(nlp, tmp_path / "o.jsonl", 2)
    totals = write(nlp, tmp_path / "o.jsonl")
    assert vars(totals) | {"seconds": 0} == vars(whole) | {"seconds": 0}


@pytest.mark.parametrize(
    "texts",
    [TEXTS[1:], TEXTS[:3], [Text(TEXTS[0].text, {"id": 2}), *TEXTS[1:]], []],
)
def test_input_changed_before_the_end_of_the_part(
    nlp, tmp_path, two_a_chunk, texts: list[Text]
) -> None:
    interrupted(nlp, tmp_path / "o.jsonl", 2)
    message = r"first 4 texts .* '.*\.o\.jsonl\.part' .* they are others\. Restore"
    with pytest.raises(UserError, match=message):
        write(nlp, tmp_path / "o.jsonl", texts)
    assert len(read(tmp_path / ".o.jsonl.part")) == 4


def test_input_may_change_behind_the_end_of_the_part(
    nlp, tmp_path, two_a_chunk
) -> None:
    interrupted(nlp, tmp_path / "o.jsonl", 2)
    assert write(nlp, tmp_path / "o.jsonl", TEXTS[:5]).n_texts == 5
    assert [r["text"] for r in read(tmp_path / "o.jsonl")] == [
        text.text for text in TEXTS[:5]
    ]


def test_fingerprint_is_of_what_the_files_hold(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert fingerprint(copy) == fingerprint(folder)
    weights = copy / "transformer_ner" / "checkpoint" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert fingerprint(copy) != fingerprint(folder)


def run_script(monkeypatch, *args: str | Path) -> int | str | None:
    """The script in this process. RETURNS: its exit status."""
    monkeypatch.setattr("sys.argv", ["annotate.py", *map(str, args)])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return exit_info.value.code


def test_script(folder, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "a.csv").write_text("id,body\n1,Northway is late\n2,\n\n")
    args = (folder, tmp_path / "a.csv", tmp_path / "o.jsonl")
    options = ("--column", "body", "--style", "doccano")
    assert run_script(monkeypatch, *args, *options) == 0
    first, second = read(tmp_path / "o.jsonl")
    assert first["text"] == "Northway is late"
    assert [0, 8, "COURIER"] in first["label"]
    assert first["meta"] == {"id": "1"}
    assert second["label"] == []
    printed = capsys.readouterr().out
    for line in (
        r"Saved 2 texts to",
        r"Texts of white space alone: 1",
        r"Blank lines passed over: 1",
        r"COURIER 1",
        r"Words (tokens of the pipeline): 3 in",
    ):
        assert line in printed


def test_script_goes_on_after_a_fault(
    folder, tmp_path, monkeypatch, capsys, two_a_chunk
) -> None:
    path = tmp_path / "a.txt"
    args = (folder, path, tmp_path / "o.jsonl")
    path.write_bytes(b"a\nb\nc\n\xff\n")
    assert run_script(monkeypatch, *args) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "a.txt:4 holds the byte 0xff" in error
    assert "The same command goes on after the first 2 texts." in error
    path.write_bytes(b"a\nb\nc\nd\n")
    assert run_script(monkeypatch, *args, "--style", "doccano") == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "style 'prodigy', not 'doccano'" in error
    assert run_script(monkeypatch, *args) == 0
    assert "Going on after 2 texts" in capsys.readouterr().out
    assert [record["text"] for record in read(tmp_path / "o.jsonl")] == list("abcd")


def test_script_restarts(folder, tmp_path, monkeypatch, capsys, two_a_chunk) -> None:
    path = tmp_path / "a.txt"
    args = (folder, path, tmp_path / "o.jsonl")
    path.write_bytes(b"a\nb\n\xff\n")
    assert run_script(monkeypatch, *args) == 1
    path.write_bytes(b"c\n")
    assert run_script(monkeypatch, *args, "--restart", "--style", "doccano") == 0
    assert "Going on" not in capsys.readouterr().out
    assert [record["text"] for record in read(tmp_path / "o.jsonl")] == ["c"]


def test_script_is_interrupted(
    folder, tmp_path, monkeypatch, capsys, two_a_chunk
) -> None:
    (tmp_path / "a.txt").write_text("a\nb\nc\n")
    args = (folder, tmp_path / "a.txt", tmp_path / "o.jsonl")
    do, n_chunks = module._annotate_chunk, 0

    def interrupt(*args) -> bytes:
        nonlocal n_chunks
        n_chunks += 1
        if n_chunks == 2:
            raise KeyboardInterrupt
        return do(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_annotate_chunk", interrupt)
        assert run_script(patch, *args) == 130
    error = capsys.readouterr().err
    assert "Interrupted. The same command goes on after the first 2 texts.\n" in error
    assert not (tmp_path / "o.jsonl").exists()
    assert run_script(monkeypatch, *args) == 0
    assert len(read(tmp_path / "o.jsonl")) == 3


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("model-best", "a.txt", "o.csv"),
            "A .jsonl or .json file, which is not the input, was",
        ),
        (("model-best", "a.jsonl", "a.jsonl"), "which is not the input, was expected"),
        (("model-best", "none.txt", "o.jsonl"), "none.txt', but nothing is there."),
        (("none", "a.txt", "o.jsonl"), "A trained pipeline was expected at"),
    ],
)
def test_mistake(folder, tmp_path, monkeypatch, capsys, names, message) -> None:
    for name in ("a.txt", "a.jsonl"):
        (tmp_path / name).write_text('{"text": "a"}\n')
    (tmp_path / "model-best").symlink_to(folder)
    assert run_script(monkeypatch, *(tmp_path / name for name in names)) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "o.jsonl").exists()


def test_killed(folder, tmp_path, monkeypatch, capsys) -> None:
    lines = [f"Anna {i} sent it to Lisbon {i % 7}\n" for i in range(8 * MAX_TEXTS)]
    (tmp_path / "a.txt").write_text("".join(lines))
    args = (str(folder), str(tmp_path / "a.txt"))
    killed, about = tmp_path / "killed.jsonl", tmp_path / ".killed.jsonl.part.json"
    process = subprocess.Popen([sys.executable, SCRIPT, *args, killed])
    while process.poll() is None and not (
        about.exists() and json.loads(about.read_text())["n_bytes"]
    ):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not killed.exists()
    assert run_script(monkeypatch, *args, killed) == 0
    assert "Going on after" in capsys.readouterr().out
    assert run_script(monkeypatch, *args, tmp_path / "whole.jsonl") == 0
    assert killed.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
