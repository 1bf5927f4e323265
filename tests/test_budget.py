"""The limit that a run of tests can stand on, and the exit statuses of the script."""

import json
import runpy
from pathlib import Path

import pytest
from spacy.language import Language

from retainer.budget import check_limits, demand, describe_budget, judge
from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.pipelines import load_teacher

SCRIPT = Path(__file__).parents[1] / "scripts" / "report.py"
TEXT = "Anna Weber sent a parcel to Lisbon by Northway Freight ."
FORGETTING = {
    "by_file": {
        "de": {"lost": 3.5, "entities": 40},
        "fr": {"lost": 20.0, "entities": 1},
        "es": {"lost": -1.0, "entities": 30},
        "tl": {"lost": None, "entities": 0},
    }
}


@pytest.mark.parametrize(
    ("limit", "min_entities", "broken", "kept", "not_counted"),
    [
        (3.0, 0, ["de", "fr"], ["es"], ["tl"]),
        (3.5, 0, ["fr"], ["de", "es"], ["tl"]),  # what is allowed may be lost
        (3.0, 2, ["de"], ["es"], ["fr", "tl"]),
        (3.0, 30, ["de"], ["es"], ["fr", "tl"]),
        (3.0, 31, ["de"], [], ["fr", "es", "tl"]),
        (0.0, 41, [], [], ["de", "fr", "es", "tl"]),
        (100.0, 0, [], ["de", "fr", "es"], ["tl"]),
    ],
)
def test_files_are_judged(limit, min_entities, broken, kept, not_counted) -> None:
    budget = judge(FORGETTING, limit, min_entities)
    verdicts = [list(budget[key]) for key in ("broken", "kept", "not_counted")]
    assert verdicts == [broken, kept, not_counted]
    assert (budget["max_forgetting"], budget["min_entities"]) == (limit, min_entities)


def test_budget_is_described() -> None:
    assert describe_budget(judge(FORGETTING, 3.0, 2)) == (
        "At most 3 points of F1 may be lost by a file of the old domain: 1 of 2 files "
        "keep to that. They do not: de lost 3.50 points, of 40 gold entities. Not "
        "counted (no F1, or fewer than 2 gold entities of old types): fr lost 20.00 "
        "points, of 1 gold entity; tl has no F1, of 0 gold entities."
    )
    nothing = describe_budget(judge(FORGETTING, 3.0, 41))
    assert nothing.endswith(" No file counts, so nothing was checked.")
    assert "They do not" not in describe_budget(judge(FORGETTING, 20, 0))
    everything = {"by_file": {"es": FORGETTING["by_file"]["es"]}}
    assert describe_budget(judge(everything, 2.5, 0)) == (
        "At most 2.5 points of F1 may be lost by a file of the old domain: 1 of 1 "
        "files keep to that."
    )


def test_broken_budget_is_an_error() -> None:
    with pytest.raises(UserError) as error_info:
        demand(judge(FORGETTING, 3.0, 0), "out.html")
    assert str(error_info.value.desc).splitlines() == [
        "No file of the old domain was expected to lose more than 3 points of F1 "
        "(--max-forgetting), but 2 of 3 did. See in out.html what was lost; train with "
        "more weight on the teacher, or allow more.",
        "- de lost 3.50 points, of 40 gold entities",
        "- fr lost 20.00 points, of 1 gold entity",
    ]
    assert demand(judge(FORGETTING, 3.0, 41), "out.html") is None


@pytest.mark.parametrize(
    ("limit", "min_entities", "message"),
    [
        (-1.0, 0, r"0 up was expected for --max-forgetting, but -1.0 came"),
        (float("nan"), 0, r"--max-forgetting, but nan came"),
        (float("inf"), 0, r"A finite number .* for --max-forgetting, but inf came"),
        (None, -2, r"0 up was expected for --min-entities, but -2 came"),
    ],
)
def test_limits_below_nothing(limit, min_entities, message) -> None:
    with pytest.raises(UserError, match=message):
        check_limits(limit, min_entities)


@pytest.mark.parametrize(("limit", "min_entities"), [(None, 0), (0.0, 0), (2.5, 9)])
def test_limits_that_can_be_kept_to(limit, min_entities) -> None:
    assert check_limits(limit, min_entities) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory, checkpoint: Path) -> Path:
    """What the teacher finds as gold, a student that knows it and one that does not."""
    path = tmp_path_factory.mktemp("budget")
    teacher = load_teacher(str(checkpoint))
    teacher.to_disk(path / "same")
    empty = blank_pipeline("xx")
    ruler = empty.add_pipe("entity_ruler", name="transformer_ner")
    ruler.add_patterns([{"label": "PHONE", "pattern": "555"}])
    empty.to_disk(path / "empty")
    write_gold(teacher, path / "old" / "de.conll")
    return path


def write_gold(nlp: Language, path: Path) -> None:
    tags = [f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type else "O" for t in nlp(TEXT)]
    assert set(tags) != {"O"}
    words = (token.text for token in nlp(TEXT))
    lines = [f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)]
    path.parent.mkdir(parents=True)
    path.write_text("".join(lines))


def run_script(monkeypatch, folder, checkpoint, output, student, *args: str):
    """RETURNS: its exit status."""
    files = ["--new", folder / "old", "--old", folder / "old", "--output", output]
    models = ["--teacher", checkpoint, "--student", folder / student]
    monkeypatch.setattr("sys.argv", ["report.py", *map(str, [*models, *files]), *args])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return exit_info.value.code


@pytest.mark.parametrize(
    ("student", "args", "status"),
    [
        ("same", "", 0),
        ("same", "--max-forgetting 0", 0),
        ("empty", "", 0),
        ("empty", "--max-forgetting 99.9", 1),
        ("empty", "--max-forgetting 100", 0),
        ("empty", "--max-forgetting 0 --min-entities 1", 1),
        ("empty", "--max-forgetting 0 --min-entities 1000", 0),
    ],
)
def test_exit_status(
    monkeypatch, capsys, tmp_path, folder, checkpoint, student, args, status
) -> None:
    """Whatever it is, the report is written and its summary printed."""
    output = tmp_path / "out"
    options = args.split()
    assert (
        run_script(monkeypatch, folder, checkpoint, output, student, *options) == status
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["out.html", "out.json", "out.md"]
    said = capsys.readouterr()
    out, err = (" ".join(text.split()) for text in (said.out, said.err))
    assert out.startswith("| F1, points | teacher | student | lost |")
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf8"))
    assert ("budget" in report) == ("may be lost by a file" in out) == bool(args)
    assert ("out.html what was lost" in err) == bool(status)
    assert ("- de lost 100.00 points, of " in err) == bool(status)
    assert ("Not counted" in out) == ("1000" in args)
    markdown = (tmp_path / "out.md").read_text(encoding="utf8")
    assert ("may be lost by a file" in markdown) == bool(args)
    assert "Traceback" not in said.err


@pytest.mark.parametrize("option", ["--max-forgetting", "--min-entities"])
def test_nothing_is_read_before_a_mistake_is_told(
    monkeypatch, capsys, tmp_path, folder, checkpoint, option
) -> None:
    args = (folder, checkpoint, tmp_path / "out", "none")
    assert run_script(monkeypatch, *args, option, "-1") == 1
    assert f"expected for {option}, but -1" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
