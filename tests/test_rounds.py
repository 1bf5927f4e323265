"""Rounds: what each learns from, what is done again, what the tables say."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import spacy
from conftest import TAGS
from spacy.tokens import Doc

from retainer.checkpoint import load_config
from retainer.corpus import blank_pipeline
from retainer.docbin import read_bin
from retainer.errors import UserError
from retainer.rounds import running
from retainer.rounds.corpora import keep_types, read_files, share, write_corpora
from retainer.rounds.course import RESULT, Course, Round, parse_rounds, parse_settings
from retainer.rounds.plot import draw
from retainer.rounds.running import run_rounds
from retainer.rounds.summary import summarise, to_markdown

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "configs" / "mini.cfg")
SETTINGS = {
    "training.max_epochs": 1,
    "system.precision": "float32",
    "system.device": "cpu",
}
SENTENCES = {
    "train": [
        "Call/ 555/PHONE and/ Swiftline/COURIER",
        "Anna/PER left/ Depot/FACILITY",
    ]
    * 12,
    "dev": ["Call/ 777/PHONE or/ Northway/COURIER", "Anna/PER left/ Hub/FACILITY"],
    "test": ["Bob/PER calls/ 555/PHONE for/ Fastline/COURIER at/ Gate/FACILITY"],
    "old": ["Anna/PER wartet/ in/ Bremen/LOC", "Northway/ORG ruft/", "Nein/"],
}


def write_data(folder: Path) -> Path:
    """Example: "Anna/PER left/" is a sentence of two tokens."""
    folder.mkdir()
    for name, sentences in SENTENCES.items():
        blocks = []
        for sentence in sentences:
            pairs = [token.split("/") for token in sentence.split()]
            pairs = [pair if len(pair) == 2 else [*pair, ""] for pair in pairs]
            lines = [f"{word}\t{'B-' + kind if kind else 'O'}" for word, kind in pairs]
            blocks.append("\n".join(lines) + "\n")
        (folder / f"{name}.conll").write_text("\n".join(blocks), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def make_course(data: Path, checkpoint: Path, tmp_path: Path):
    def make(
        rounds=("COURIER", "PHONE"), base: str = str(checkpoint), **settings: Any
    ) -> Course:
        files = {part: [data / f"{part}.conll"] for part in SENTENCES} | {"replay": []}
        output, given = tmp_path / "out", SETTINGS | settings
        return Course(CONFIG, base, parse_rounds(rounds), files, output, given)

    return make


def entities(docs: list[Doc]) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for doc in docs for ent in doc.ents]


# ----------------------------------------------------------- what a round learns from


def test_sentences_are_dealt_out(data: Path) -> None:
    docs = read_files([data / "train.conll"])
    shares = [share(docs, number, 5) for number in range(1, 6)]
    assert [len(part) for part in shares] == [5, 5, 5, 5, 4]
    dealt = [id(doc) for part in shares for doc in part]
    assert sorted(dealt) == sorted(map(id, docs))
    assert [id(doc) for doc in share(docs, 2, 5)] == [id(doc) for doc in shares[1]]


def test_other_types_are_outside(data: Path) -> None:
    (doc, *_) = read_files([data / "test.conll"])
    assert doc.user_data["ent_lines"] == [1, 3, 5, 7]
    kept = keep_types(doc, ["COURIER", "FACILITY"])
    assert entities([kept]) == [("Fastline", "COURIER"), ("Gate", "FACILITY")]
    assert {token.ent_iob_ for token in kept} == {"O", "B"}
    assert kept.user_data["ent_lines"] == [5, 7]
    assert len(doc.ents) == 4
    assert doc.user_data["ent_lines"] == [1, 3, 5, 7]


def test_what_is_not_annotated_stays_so() -> None:
    doc = blank_pipeline("xx").make_doc("Anna met Bob here")
    doc.set_ents([doc.char_span(0, 4, "PER")], missing=[doc[1:3]], default="outside")
    kept = keep_types(doc, ["PHONE"])
    assert [token.ent_iob for token in kept] == [2, 0, 0, 2]


def test_corpora_of_a_round(make_course) -> None:
    course = make_course(["COURIER,PHONE", "FACILITY"])
    write_corpora(course, course.rounds[1:])
    vocab = blank_pipeline("xx").vocab
    texts = []
    for one in course.rounds[1:]:
        docs = list(read_bin(course.corpus(one, "train")).get_docs(vocab))
        assert len(docs) == 12
        assert {kind for _, kind in entities(docs)} == {*one.types}
        dev = list(read_bin(course.corpus(one, "dev")).get_docs(vocab))
        assert {kind for _, kind in entities(dev)} == {*one.types}
        texts += [doc.text for doc in docs]
    assert len(texts) == 24


def test_type_that_nobody_annotated(make_course) -> None:
    course = make_course(["COURIER", "PHONE,FAX"])
    with pytest.raises(UserError, match="of round 2, but there is none of FAX"):
        write_corpora(course, course.rounds[1:])


# ------------------------------------------------------------------ what is done again


def test_rounds_are_trained_each_on_the_one_before(
    data: Path, checkpoint: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    pipelines, output = tmp_path / "pipelines", tmp_path / "metrics" / "rounds"
    arguments = ["--config", CONFIG, "--base", checkpoint, "--output", output]
    arguments += ["--pipelines", pipelines, "--replay", data / "old.conll"]
    for part in SENTENCES:
        arguments += [f"--{part}", data / f"{part}.conll"]
    for key, value in SETTINGS.items():
        arguments += ["--set", f"{key}={value}"]
    arguments += ["--round", "COURIER", "--round", "PHONE, FACILITY"]

    assert run_script(*arguments) == 0
    said = capsys.readouterr().out
    assert said.count(": PER ") == 3
    assert "2 of 2 rounds are done." in said
    names = [
        f"{prefix}-{kind}"
        for kind in ("COURIER", "PHONE", "FACILITY")
        for prefix in "BI"
    ]
    folders = [pipelines / "1-COURIER", pipelines / "2-PHONE+FACILITY"]
    for folder, n_tags in zip(folders, [2, 6], strict=True):
        ner = spacy.load(folder / "pipeline").get_pipe("transformer_ner")
        assert set(ner.tags[len(TAGS) :]) == set(names[:n_tags])
        assert ner.tags[: len(TAGS)] == TAGS
        made = ["config.cfg", "pipeline", "result.json", "trained.json", "train.log"]
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            [*made, "usage.json"]
        )
    assert ner.cfg["old_types"] == ["PER", "ORG", "LOC", "COURIER"]
    assert ner.tags[len(TAGS) : len(TAGS) + 2] == names[:2]
    summary = json.loads(output.with_suffix(".json").read_text())
    assert [row["round"] for row in summary["types"].values()] == [0, 0, 0, 1, 2, 2]
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert said.endswith(output.with_suffix(".md").read_text())

    monkeypatch.setattr(running, "train_all", None)  # nothing is trained again
    (folders[1] / RESULT).unlink()
    assert run_script(*arguments) == 0
    again = capsys.readouterr().out
    assert again.count(": PER ") == 1  # but one was not scored
    assert again.partition("# Rounds")[2] == said.partition("# Rounds")[2]


def run_script(*arguments: str | Path) -> int | str | None:
    """In this process. RETURNS: the exit status."""
    script = str(ROOT / "scripts" / "rounds.py")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exit_info:
        patch.setattr("sys.argv", ["rounds.py", *map(str, arguments)])
        runpy.run_path(script, run_name="__main__")
    return exit_info.value.code


def fake(course: Course) -> None:
    """As if all had been done."""
    for one in course.rounds:
        course.folder(one).mkdir(parents=True, exist_ok=True)
        course.mark_trained(one, course.folder(one))
        course.write(one, {"PER": 1.0})


@pytest.mark.parametrize(
    ("changes", "n_kept"),
    [
        ({}, 3),
        ({"training.max_epochs": 2}, 1),
        ({"rounds": ["COURIER", "FACILITY"]}, 2),
        ({"rounds": ["FACILITY", "PHONE"]}, 1),
        ({"rounds": ["COURIER", "PHONE", "FACILITY"]}, 1),  # other shares
        ({"base": "another/checkpoint"}, 0),
    ],
)
def test_only_what_changed_is_done_again(
    make_course, monkeypatch, checkpoint, changes: dict, n_kept: int
) -> None:
    course = make_course()
    fake(course)
    config = load_config(str(checkpoint), None)
    monkeypatch.setattr("retainer.rounds.course.load_config", lambda *args: config)
    assert len(make_course(**changes).results()) == n_kept


@pytest.mark.parametrize(
    ("part", "n_kept", "n_trained"), [("train", 1, 1), ("dev", 1, 1), ("test", 0, 3)]
)
def test_changed_files(make_course, data, part, n_kept, n_trained) -> None:
    """Those that are scored alone are scored again alone."""
    fake(make_course())
    with (data / f"{part}.conll").open("a") as file:
        file.write("\nmore\tO\n")
    course = make_course()
    assert len(course.results()) == n_kept
    assert sum(map(course.is_trained, course.rounds)) == n_trained


def test_a_training_that_fails_leaves_nothing(make_course) -> None:
    course = make_course(["COURIER"], **{"training.max_steps": "many"})
    results = run_rounds(course, lambda docs, total: docs)
    assert set(next(results)["f1"]) == {"PER", "ORG", "LOC"}
    with pytest.raises(UserError, match="round 1, but it ended with 1(.|\n)*max_steps"):
        next(results)
    left = sorted(path.name for path in course.output.iterdir())
    assert left == ["0-base", "corpora"]
    assert len(course.results()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": ["COURIER", "PER"]}, "but PER is given more than once"),
        ({"rounds": ["COURIER", "COURIER"]}, "but COURIER is given more than once"),
        ({"rounds": ["COURIER,"]}, "Entity types with commas .* it is 'COURIER,'"),
        ({"base": "./nowhere"}, "'./nowhere' is not a folder"),
        ({"paths.dev": "x"}, "in --set, but there is 'paths.dev', which each round"),
        ({"training.max_epoch": 1}, "expected in --set, but it has no 'training.max_"),
    ],
)
def test_mistakes(make_course, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_course(**changes)


def test_replay_that_is_not_there(make_course, checkpoint, tmp_path) -> None:
    files = {part: [] for part in SENTENCES} | {"replay": [tmp_path / "none.txt"]}
    with pytest.raises(UserError, match="Texts to replay were expected at .*none.txt"):
        Course(CONFIG, str(checkpoint), [["A"]], files, tmp_path, {})


def test_settings() -> None:
    texts = ["a.b=0.5", "c=x=y", 'd=["e"]', "f="]
    expected = {"a.b": 0.5, "c": "x=y", "d": ["e"], "f": ""}
    assert parse_settings(texts) == expected
    with pytest.raises(UserError, match="expected in --set, but it is 'a.b'"):
        parse_settings(["a.b"])


# --------------------------------------------------------------------------- summary

RESULTS: list[dict[str, Any]] = [
    {"types": ["PER", "LOC"], "f1": {"PER": 80.0, "LOC": 60.0}},
    {"types": ["PHONE"], "f1": {"PER": 78.0, "LOC": 61.0, "PHONE": 50.0}},
    {"types": ["A|B"], "f1": {"PER": 79.0, "LOC": 51.0, "PHONE": 48.0, "A|B": None}},
]


def test_summary() -> None:
    summary = summarise(RESULTS)
    assert summary["types"] == {
        "PER": {"round": 0, "f1": [80.0, 78.0, 79.0], "lost": 1.0},
        "LOC": {"round": 0, "f1": [60.0, 61.0, 51.0], "lost": 9.0},
        "PHONE": {"round": 1, "f1": [50.0, 48.0], "lost": 2.0},
        "A|B": {"round": 2, "f1": [None], "lost": None},
    }
    first, second = summary["rounds"]
    assert first["new_f1"] == 50.0
    assert first["earlier"] == {
        "before": 70.0,
        "after": 69.5,
        "lost": 0.5,
        "worst": "PER",
        "by_type": {"PER": 2.0, "LOC": -1.0},
    }
    assert second["new_f1"] is None
    earlier = second["earlier"]
    assert (earlier["before"], earlier["after"]) == (63.0, 59.33)
    assert (earlier["lost"], earlier["worst"]) == (3.67, "LOC")


@pytest.mark.parametrize(
    "line",
    [
        "2 of 3 rounds are done.",
        "| type | base | 1: PHONE | 2: A\\|B | lost |",
        "| PER | 80.0 | 78.0 | 79.0 | 1.0 |",
        "| PHONE |  | 50.0 | 48.0 | 2.0 |",
        "| A\\|B |  |  | - | - |",
        "| 1: PHONE | 50.0 | 70.0 | 69.5 | 0.5 | PER: 2.0 |",
        "| 2: A\\|B | - | 63.0 | 59.3 | 3.7 | LOC: 10.0 |",
    ],
)
def test_markdown(line: str) -> None:
    text = to_markdown(summarise(RESULTS), 3)
    assert any(given.startswith(line) for given in text.splitlines())


def test_markdown_of_the_base_alone() -> None:
    text = to_markdown(summarise(RESULTS[:1]), 2)
    assert "0 of 2 rounds are done." in text
    assert "| PER | 80.0 | - |" in text
    assert "earlier" not in text


@pytest.mark.parametrize("n_results", [1, 3])
def test_picture(tmp_path: Path, n_results: int) -> None:
    path = tmp_path / "rounds.png"
    draw(summarise(RESULTS[:n_results]), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_names_of_rounds() -> None:
    assert Round(0, ("PER",)).name == "0-base"
    assert Round(2, ("PHONE", "FAX")).name == "2-PHONE+FAX"
