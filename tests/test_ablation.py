"""Plans and their mistakes, sampling, intervals, tables, and a whole small grid."""

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import srsly
from spacy.scorer import PRFScore
from thinc.api import Config

from retainer.ablation import grid, measured, outputs, training
from retainer.ablation.bootstrap import f1, learnt_interval, lost_interval
from retainer.ablation.cells import Cell, group, spread
from retainer.ablation.corpora import (
    is_of,
    main_script,
    read_old,
    read_task,
    sample,
    write_train,
)
from retainer.ablation.outputs import to_csv
from retainer.ablation.plan import Old, Plan, Run, Task, read_plan
from retainer.ablation.plot import draw
from retainer.ablation.scores import Scores, arrays, figures, worst_of
from retainer.ablation.settings import configure, data_files, fill_in, put
from retainer.ablation.store import Store
from retainer.ablation.summary import to_markdown, wide, with_spread
from retainer.docbin import read_bin
from retainer.errors import UserError

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "ablate.py"
CONFIG = str(ROOT / "configs" / "mini.cfg")
SETTINGS = {
    "training.max_epochs": 1,
    "system.precision": "float32",
    "system.device": "cpu",
}
PLAN = {
    "config": CONFIG,
    "settings": SETTINGS,
    "old": {"files": "old", "limit": 2, "min_entities": 2},
    "tasks": {
        "phones": {
            "train": "train.conll",
            "test": {"latin": "test.conll", "rest": "test.conll"},
            "test_scripts": {"latin": "latin", "rest": "not latin"},
        }
    },
    "arms": {"plain": None},
}
SENTENCES = {
    "train": ["Call/ 555/PHONE now/", "Anna/ has/ 555/PHONE"] * 10,
    "test": ["Anna/PER calls/ 555/PHONE", "Анна/PER звонит/ 777/PHONE", "Bob/PER"],
    "old/de": ["Anna/PER wartet/ in/ Bremen/LOC", "Northway/ORG", "Bob/PER", "Nein/"],
    "old/fr": ["Anna/PER attend/", "Non/"],
}


def write_data(folder: Path) -> Path:
    """Example: "Anna/PER left/" is a sentence of two tokens."""
    for name, sentences in SENTENCES.items():
        blocks = []
        for sentence in sentences:
            pairs = [token.split("/") for token in sentence.split()]
            lines = [f"{word}\t{'B-' + kind if kind else 'O'}" for word, kind in pairs]
            blocks.append("\n".join(lines) + "\n")
        path = folder / f"{name}.conll"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(blocks), encoding="utf-8")
    return folder


def write_plan(folder: Path, **changes: Any) -> Path:
    path = folder / "plan.yml"
    srsly.write_yaml(path, PLAN | changes)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


# ------------------------------------------------------------------------- the plan


def test_plan_of_the_sample_is_a_plan() -> None:
    plan = read_plan(ROOT / "configs" / "ablation.yml")
    assert list(plan.arms) == ["plain", "default"]
    configure(plan, plan.runs()[0])


def test_runs_are_first_seeds_first(tmp_path: Path) -> None:
    tasks = dict.fromkeys(("a", "b"), PLAN["tasks"]["phones"])
    arms = {"plain": None, "joint": {"joint": 5, "tasks": ["b"], "seeds": [1]}}
    plan = read_plan(write_plan(tmp_path, seeds=[0, 1], tasks=tasks, arms=arms))
    names = [run.name for run in plan.runs()]
    assert names == ["a/plain/0", "b/plain/0", "a/plain/1", "b/plain/1", "b/joint/1"]
    assert [run.name for run in plan.runs(["b"], ["joint"])] == ["b/joint/1"]
    assert plan.runs(["a"], ["joint"]) == []


def task_with(**changes: Any) -> dict[str, Any]:
    return {"tasks": {"phones": PLAN["tasks"]["phones"] | changes}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arm": {}}, "\narm: there is no such key; known are config, seeds"),
        ({"arms": {}}, "\narms: Dictionary should have at least 1 item"),
        ({"arms": {"a": {"lr": 1}}}, r"\narms\.a\.lr: .* known are settings, joint"),
        ({"arms": {"a/b": {}}}, r"\narms\.a/b\.\[key\]: String should match"),
        ({"arms": {"a": {"joint": "2"}}}, r"\narms\.a\.joint: .*integer, not '2'"),
        ({"arms": {"a": {"tasks": ["b"]}}}, r"arms\.a\.tasks, but there is 'b'"),
        ({"seeds": []}, "\nseeds: List should have at least 1 item"),
        ({"seeds": 0}, "\nseeds: .*valid list, not '0'"),
        ({"old": {"limit": 3}}, r"\nold\.files: is missing"),
        (task_with(limit=0), r"\ntasks\.phones\.limit: .*greater than or equal to 1"),
        (task_with(test={}), r"\ntasks\.phones\.test: .* at least 1 item"),
        (task_with(deb="a"), r"\ntasks\.phones\.deb: .* known are train, dev"),
        (task_with(test_scripts={"x": "latin"}), r"test_scripts, but there is 'x'"),
    ],
)
def test_mistakes_in_a_plan(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_plan(write_plan(tmp_path, **changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"'.*plan\.yml', but it cannot be read\. Can't read file"),
        ("arms: [", r"Invalid YAML"),
        ("a: 1\na: 2", "duplicate key"),
        ("- a", "\nthe whole: .*not"),
        ("", "\nthe whole: "),
    ],
)
def test_file_that_is_no_plan(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "plan.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_plan(path)


@pytest.mark.parametrize(
    ("tasks", "arms", "message"),
    [
        (["x"], [], r"tasks of the plan \(phones\) was expected in --task, .* 'x'"),
        ([], ["x"], r"arms of the plan \(plain\) was expected in --arm, .* 'x'"),
    ],
)
def test_unknown_task_or_arm(
    tmp_path: Path, tasks: list[str], arms: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_plan(write_plan(tmp_path)).runs(tasks, arms)


# ---------------------------------------------------------------------- the settings


def test_settings_replace_values_and_whole_sections(tmp_path: Path) -> None:
    loss = {"@misc": "retainer.CrossEntropy.v1"}
    settings = {"components.transformer_ner.loss": loss}
    arms = {"plain": {"settings": settings}}
    plan = read_plan(write_plan(tmp_path, arms=arms))
    config = configure(plan, Run(task="phones", arm="plain", seed=7))
    assert config["components"]["transformer_ner"]["loss"] == loss
    assert config["training"]["max_epochs"] == 1
    assert config["system"]["seed"] == 7
    assert config["training"]["seed"] == "${system.seed}"


def test_arms_build_on_the_plans_settings(tmp_path: Path) -> None:
    """And leave those of other arms alone."""
    replaced = {"components.transformer_ner.loss": {"weight": 1}}
    arms = {"a": {"settings": {"components.transformer_ner.loss.weight": 2}}, "b": {}}
    plan = read_plan(write_plan(tmp_path, settings=replaced, arms=arms))
    losses = [
        configure(plan, run)["components"]["transformer_ner"]["loss"]
        for run in plan.runs()
    ]
    assert losses == [{"weight": 2}, {"weight": 1}]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("training.max_epoch", r"no 'training.max_epoch': the section \[training\]"),
        ("trainin.max_epochs", "no 'trainin.max_epochs': the config has paths, system"),
        ("system.seed.x", r"the section \[system.seed\] has no section"),
        ("paths.train", "there is 'paths.train', which each run sets"),
        ("system.seed", "there is 'system.seed', which each run sets"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, key: str, message: str) -> None:
    arms = {"odd": {"settings": {key: 1}}}
    plan = read_plan(write_plan(tmp_path, arms=arms))
    with pytest.raises(UserError, match=rf"arms\.odd\.settings, but .*{message}"):
        configure(plan, plan.runs()[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "nothing is there"), ("[a\nb = ", "but .*Correct `config`")],
)
def test_config_that_cannot_be_read(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "no.cfg").write_text(text)
    plan = read_plan(write_plan(tmp_path, config=str(tmp_path / "no.cfg")))
    with pytest.raises(UserError, match=rf"(?s)no\.cfg', which the plan.*{message}"):
        configure(plan, plan.runs()[0])


def test_folder_of_the_data_is_filled_in() -> None:
    config = Config({"a": {"b": ["{data}/x.jsonl", 1, None], "c": "data"}})
    assert fill_in(config, Path("d")) == {
        "a": {"b": ["d/x.jsonl", 1, None], "c": "data"}
    }
    assert data_files(dict(config), Path("d")) == [Path("d/x.jsonl")]
    put(config, "a.c", 2, "here")
    assert config["a"]["c"] == 2


# ----------------------------------------------------------------------- the corpora


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(3, [0, 2, 4]), (4, [0, 1, 3, 4]), (6, [0, 1, 2, 3, 4, 5]), (1, [0])],
)
def test_sample_is_even(limit: int, expected: list[int]) -> None:
    assert sample(range(6), limit) == expected


@pytest.mark.parametrize("limit", [None, 6, 100])
def test_sample_of_all(limit: int | None) -> None:
    assert sample(range(6), limit) == list(range(6))


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Улица Abc 12345678", "cyrillic"),
        ("Ул Abc", "latin"),
        ("ab вг", None),
        ("12", None),
        ("北京 a", "cjk"),
    ],
)
def test_main_script(text: str, script: str | None) -> None:
    assert main_script(text) == script
    assert is_of(text, "Latin") == (script == "latin")
    assert is_of(text, "not latin") == (script != "latin")


def texts(docs: list) -> list[str]:
    return [doc.text for doc in docs]


def test_every_tenth_sentence_is_held_out(data: Path) -> None:
    task = Task(**PLAN["tasks"]["phones"], limit=3)
    corpora = read_task("phones", task, data)
    assert (len(corpora.train), len(corpora.dev)) == (3, 2)
    assert texts(corpora.test["latin"]) == ["Anna calls 555", "Bob"]
    assert texts(corpora.test["rest"]) == ["Анна звонит 777"]


def test_train_of_one_script(data: Path) -> None:
    files = {"train": ["test.conll"], "dev": ["test.conll"], "test": {"a": ["old"]}}
    corpora = read_task("a", Task(**files, script="cyrillic", test_limit=5), data)
    assert texts(corpora.train) == texts(corpora.dev) == ["Анна звонит 777"]
    assert len(corpora.test["a"]) == 5
    with pytest.raises(UserError, match="in train of the task 'a', but there is none"):
        read_task("a", Task(**files, script="thai"), data)


def test_joint_training_takes_what_is_not_scored(data: Path, tmp_path: Path) -> None:
    old = read_old(Old(files=["old"], limit=2), data)
    assert texts(old.scored["de"]) == ["Anna wartet in Bremen", "Northway"]
    assert {name: texts(docs) for name, docs in old.rest.items()} == {
        "de": ["Bob", "Nein"],
        "fr": [],
    }
    task = read_task("phones", Task(**PLAN["tasks"]["phones"]), data)
    write_train(task, old, 1, tmp_path / "joint.spacy")
    assert len(read_bin(tmp_path / "joint.spacy")) == len(task.train) + 1
    all_scored = read_old(Old(files=["old"]), data)
    with pytest.raises(UserError, match="`joint`, but there are none"):
        write_train(task, all_scored, 1, tmp_path / "none.spacy")


# --------------------------------------------------------------------- the intervals


def sentences_of(right: int, wrong: int) -> np.ndarray:
    """(1, N, 3): one entity each, found, or found as something else."""
    return np.array([[[1, 0, 0]] * right + [[0, 1, 1]] * wrong])


def test_f1_of_counts() -> None:
    assert f1(np.array([[1, 0, 1], [0, 1, 0]])).tolist() == [
        pytest.approx(66.667, 1e-3),
        0,
    ]
    assert np.isnan(f1(np.zeros((2, 3)))).all()


def test_interval_is_that_of_a_proportion() -> None:
    """F1 is then the share of right ones, whose standard error is known."""
    low, high = learnt_interval([sentences_of(240, 160)])
    error = 1.96 * 100 * (0.6 * 0.4 / 400) ** 0.5  # 4.8
    assert (low, high) == pytest.approx((60 - error, 60 + error), abs=0.6)


def test_interval_of_certain_figures() -> None:
    assert learnt_interval([sentences_of(50, 0)] * 2) == (100, 100)
    assert learnt_interval([np.zeros((2, 5, 3))]) is None
    assert learnt_interval([]) is None
    assert lost_interval([], []) is None


def test_interval_of_a_loss_is_paired() -> None:
    """What sentences do to both alike is no loss; one file counts as the other."""
    same = sentences_of(30, 20)
    assert lost_interval([same, same], [same, same]) == (0, 0)
    halves = [sentences_of(40, 0), sentences_of(40, 0)]
    assert lost_interval(halves, [halves[0], sentences_of(0, 40)]) == (50, 50)


def test_interval_leaves_out_files_without_entities() -> None:
    empty = np.zeros((1, 5, 3))
    found = sentences_of(40, 0)
    assert lost_interval([found, empty], [sentences_of(0, 40), empty]) == (100, 100)


def test_interval_is_over_seeds_too() -> None:
    """Two seeds that are sure of 0 and 100: means of 0, 50 and 100."""
    seeds = np.concatenate([sentences_of(20, 0), sentences_of(0, 20)])
    assert learnt_interval([seeds]) == (0, 100)
    many = np.concatenate([seeds] * 50)
    low, high = learnt_interval([many])
    assert (low, high) == pytest.approx((40.2, 59.8), abs=1.1)  # 1.96 * 50 / 100 ** 0.5


def test_interval_is_always_the_same() -> None:
    counts = [sentences_of(30, 20)]
    assert learnt_interval(counts) == learnt_interval(counts)


# ------------------------------------------------------------------- scores, summary


def counted(tp: int, fp: int = 0, fn: int = 0) -> PRFScore:
    return PRFScore(tp=tp, fp=fp, fn=fn)


BEFORE = Scores(
    old={"de": [{"PER": counted(2)}, {"LOC": counted(1, 1)}], "fr": [{}]},
    test={"a": [{"PER": counted(1)}]},
)
AFTER = Scores(
    old={"de": [{"PER": counted(1, 0, 1)}, {"LOC": counted(1)}], "fr": [{}]},
    test={"a": [{"PER": counted(0, 0, 1), "PHONE": counted(1, 0, 1)}]},
)
TYPES = ["PER", "LOC"], ["PHONE"]


def test_figures() -> None:
    found = figures(BEFORE, AFTER, *TYPES, min_entities=3)
    assert found["new"]["f1"] == found["new"]["by_test"]["a"]["f1"] == 66.67
    assert found["old_in_new"] == {"before": 100.0, "after": 0.0, "lost": 100.0}
    de = {"before": 85.71, "after": 80.0, "lost": 5.71, "entities": 3}
    fr = {"before": None, "after": None, "lost": None, "entities": 0}
    assert found["old"] == {
        **{"mean_before": 85.71, "mean_after": 80.0, "lost_mean": 5.71},
        **{"lost_worst": 5.71, "worst_file": "de"},
        "by_file": {"de": de, "fr": fr},
    }
    assert worst_of({"de": de}, 4) == {"lost_worst": None, "worst_file": None}


def test_counts_by_sentence_add_up() -> None:
    kept = arrays(BEFORE, AFTER, *TYPES)
    assert kept["old_before:de"].tolist() == [[2, 0, 0], [1, 1, 0]]
    assert kept["old_after:de"].tolist() == [[1, 0, 1], [1, 0, 0]]
    assert kept["old_in_new_after:a"].tolist() == [[0, 0, 1]]
    assert kept["new:a"].tolist() == [[1, 0, 1]]
    assert round(float(f1(kept["old_after:de"].sum(0))), 2) == 80.0


def result_of(task: str, arm: str, seed: int, new: float, lost: float) -> dict:
    by_test = {name: {"f1": new, "entities": 40} for name in ("en", "ru")}
    small = {"before": 50.0, "after": 40.0, "lost": 10.0, "entities": 9}
    by_file = {
        "de": {"before": 80.0, "after": 80 - lost, "lost": lost, "entities": 400},
        "tl": small,
    }
    return {
        **{"task": task, "arm": arm, "seed": seed, "digest": "d"},
        **{"seconds": 10.0 + seed, "cpu_seconds": 20.0, "peak_mb": 1500.0},
        "new": {"f1": new, "p": new, "r": new, "entities": 80}
        | {"by_type": {"PHONE": {"f1": new}}, "by_test": by_test},
        "old_in_new": {"before": 60.0, "after": 61.0, "lost": -1.0},
        "old": {
            **{"mean_before": 65.0, "mean_after": 65 - lost, "lost_mean": lost},
            **{"lost_worst": lost, "worst_file": "de", "by_file": by_file},
        },
    }


RESULTS = [
    result_of("a", "plain", 0, 30.0, 8.0),
    result_of("a", "plain", 1, 32.0, 10.0),
    result_of("a", "joint", 0, 40.0, -1.0),
    result_of("b", "plain", 0, 50.0, 2.0),
]


@pytest.fixture(scope="module")
def plan() -> Plan:
    task = {"train": ["x"], "test": {"en": ["x"], "ru": ["x"]}}
    values = {"config": "c", "seeds": [0, 1], "old": {"files": ["old"]}}
    tasks = {"tasks": {"a": task, "b": task}, "arms": {"plain": {}, "joint": {}}}
    return Plan.model_validate(values | tasks)


@pytest.fixture(scope="module")
def cells() -> dict[str, dict[str, Cell]]:
    counts = {
        "new:en": sentences_of(5, 0)[0],
        "old_before:de": sentences_of(5, 0)[0],
        "old_after:de": sentences_of(0, 5)[0],
    }
    return group(RESULTS, lambda result: counts)


@pytest.mark.parametrize(
    "line",
    [
        "| plain | 2 | 31.0 ± 1.4 [100.0, 100.0] | 9.0 ± 1.4 [100.0, 100.0] | de 9.0 "
        "| 60.0 → 61.0 ± 0.0 | 10 | 20 | 1,500 |",
        "| joint | 1 | 40.0 [100.0, 100.0] | -1.0 [100.0, 100.0] | de -1.0 "
        "| 60.0 → 61.0 | 10 | 20 | 1,500 |",
        "Failed: b/joint/1.",
        "| file | plain | joint (1 of 2 tasks) |",
        "| de (400; 80.0) | 5.5 | -1.0 |",
        "| de (400; 80.0) | **9.0 ± 1.4** | **-1.0** |",
        "| tl † (9; 50.0) | 10.0 ± 0.0 | 10.0 |",
        "| de (400; 80.0) | **2.0** |",
        "| test (entities) | plain | joint |",
        "| ru (40) | 31.0 ± 1.4 | 40.0 |",
    ],
)
def test_summary_says(cells: dict, plan: Plan, line: str) -> None:
    assert line in to_markdown(cells, plan, 8, ["b/joint/1"]).splitlines()


def test_summary_is_well_formed(cells: dict, plan: Plan) -> None:
    text = to_markdown(cells, plan, 8, [])
    assert text.startswith("# Ablation\n\n4 of 8 runs are done. F1 is in points")
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1
    assert to_markdown({}, plan, 8, []).startswith("# Ablation\n\n0 of 8 runs")


@pytest.mark.parametrize(
    ("values", "text"),
    [([30.0, 32.0], "31.0 ± 1.4"), ([30.0], "30.0"), ([None], "-"), ([], "-")],
)
def test_spread(values: list, text: str) -> None:
    assert with_spread(values) == text
    assert (spread(values) is None) == ("±" not in text)


def test_csv_has_every_column() -> None:
    rows = [wide(RESULTS[0]), wide(RESULTS[2]) | {"old_zh_lost": 1.5}]
    first, second = csv.DictReader(to_csv(rows).splitlines())
    assert first["old_de_lost"] == "8.0"
    assert (first["new_test_ru_f1"], first["new_type_PHONE_f1"]) == ("30.0", "30.0")
    assert (first["old_zh_lost"], second["old_zh_lost"]) == ("", "1.5")


def test_picture(cells: dict, tmp_path: Path) -> None:
    draw(cells, tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_picture_of_nothing_to_count(tmp_path: Path) -> None:
    result = result_of("a", "plain", 0, 1.0, 1.0)
    result["new"]["f1"] = result["old"]["mean_before"] = None
    draw({"a": {"plain": Cell([result], None, None)}}, tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").is_file()


# ------------------------------------------------------------------------- trainings


def test_a_command_is_measured_by_itself(tmp_path: Path) -> None:
    """Its memory is not that of the process that started it, which is larger here."""
    code = "import sys; x = bytearray(60_000_000); sys.exit(3)"
    command = [sys.executable, "-I", measured.__file__, str(tmp_path / "u.json")]
    run = subprocess.run([*command, sys.executable, "-I", "-c", code])
    assert run.returncode == 3
    usage = json.loads((tmp_path / "u.json").read_text())
    assert 57 < usage["peak_mb"] < 120
    assert 0 < usage["cpu_seconds"] < 60
    assert 0 < usage["seconds"] < 60


def test_status_of_a_command_that_was_killed(tmp_path: Path) -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    command = [sys.executable, "-I", measured.__file__, str(tmp_path / "u.json")]
    run = subprocess.run([*command, sys.executable, "-I", "-c", code])
    assert run.returncode == 128 + signal.SIGKILL


def test_closing_ends_the_trainings(tmp_path: Path, monkeypatch) -> None:
    """Those that are running, and those that are waiting never begin."""
    started = []

    def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen:
        seconds = 0 if folder.name == "first" else 60
        command = [sys.executable, "-c", f"import time; time.sleep({seconds})"]
        process = subprocess.Popen(command, start_new_session=True)
        started.append((process, environment["OMP_NUM_THREADS"]))
        return process

    monkeypatch.setattr(training, "start", start)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    names = ["first", "second", "third"]
    begun = time.perf_counter()
    trained = training.train_all(names, lambda name: tmp_path / name, jobs=1)
    assert next(trained) == ("first", 0)
    trained.close()
    assert time.perf_counter() - begun < 30
    assert len(started) <= 2
    assert all(process.poll() is not None for process, _ in started)
    assert started[0][1] == "1"


@pytest.mark.parametrize(
    ("jobs", "given", "expected"),
    [(1, None, 4), (2, None, 2), (3, "", 1), (9, None, 1), (1, "2", 2), (2, "8", 2)],
)
def test_cores_are_shared_out(
    monkeypatch, jobs: int, given: str | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert training.threads_of_each(jobs) == expected


# -------------------------------------------------------------------------- the grid


def run_script(*arguments: str | Path) -> int | str | None:
    """In this process. RETURNS: the exit status."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exit_info:
        patch.setattr("sys.argv", ["ablate.py", *map(str, arguments)])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return exit_info.value.code


def test_grid_goes_on_where_it_ended(
    tmp_path: Path, checkpoint: Path, capsys, monkeypatch
) -> None:
    """A failing arm leaves the others; what is done and unchanged is not done again."""
    data, output = write_data(tmp_path / "data"), tmp_path / "out"
    loss = {"components.transformer_ner.loss": {"@misc": "retainer.Nothing.v1"}}
    arms: dict[str, Any] = {"plain": None, "other": {"settings": loss}}
    arguments = ["--teacher", checkpoint, "--data", data, "--output", output]

    status = run_script(write_plan(tmp_path, arms=arms), *arguments, "--jobs", 2)
    said = capsys.readouterr()
    assert status == 1
    assert "1 of 2 failed" in said.err
    assert "retainer.Nothing.v1" in said.err
    assert "phones/plain/0: new F1 " in said.out
    assert "1 of 2 runs are done." in said.out
    assert "Failed: phones/other/0." in said.out
    plain, other = (output / "runs" / "phones" / arm / "0" for arm in arms)
    names = ["config.cfg", "counts.npz", "result.json", "train.log", "usage.json"]
    assert sorted(path.name for path in plain.iterdir()) == names
    assert not (other / "result.json").exists()
    first = (plain / "result.json").stat().st_mtime_ns

    arms["other"] = {"joint": 1}
    status = run_script(write_plan(tmp_path, arms=arms), *arguments, "--keep")
    said = capsys.readouterr()
    assert (status, said.out.count(": new F1 ")) == (0, 1)
    assert (plain / "result.json").stat().st_mtime_ns == first
    assert (other / "training" / "model-best").is_dir()
    rows = list(csv.DictReader((output / "results.csv").read_text().splitlines()))
    assert [row["arm"] for row in rows] == ["plain", "other"]
    assert rows[0]["old_de_before"] == rows[1]["old_de_before"] != ""
    result = json.loads((other / "result.json").read_text())
    assert list(result["new"]["by_type"]) == ["PHONE"]
    assert result["peak_mb"] > 100
    joint = output / "corpora" / "phones" / "train-joint-1.spacy"
    assert len(read_bin(joint)) == 19
    assert (output / "pareto.png").is_file()

    monkeypatch.setattr(grid, "load_teacher", None)  # not even that is needed
    monkeypatch.setattr(outputs, "can_plot", lambda: False)
    status = run_script(write_plan(tmp_path, arms=arms), *arguments)
    said = capsys.readouterr()
    assert (status, said.out.count(": new F1 ")) == (0, 0)
    note, _, summary = said.out.partition("# Ablation")
    assert "No pareto.png: it needs `pip install retainer[plots]`" in note
    assert summary.lstrip().startswith("2 of 2 runs are done.")
    assert said.out == note + (output / "summary.md").read_text()


@pytest.fixture
def store_of(tmp_path: Path, checkpoint: Path, data: Path):
    def make(**changes: Any) -> Store:
        plan = read_plan(write_plan(tmp_path, **changes))
        return Store(plan, str(checkpoint), data, tmp_path / "out")

    return make


def fake_result(store: Store, run: Run) -> None:
    """As if it had been trained."""
    folder = store.prepare(run)
    (folder / "training").mkdir()
    (folder / "usage.json").write_text('{"seconds": 1, "peak_mb": 1, "cpu_seconds": 1}')
    counts = arrays(BEFORE, AFTER, *TYPES)
    store.write(run, figures(BEFORE, AFTER, *TYPES, 1), counts, keep=False)


def test_what_was_interrupted_leaves_nothing(store_of, monkeypatch) -> None:
    """No processes, no folders but of what is done."""
    store = store_of(seeds=[0, 1])
    done, begun = store.runs
    fake_result(store, done)

    def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen:
        (folder / "training").mkdir()
        processes.append(subprocess.Popen(["sleep", "60"], start_new_session=True))
        interrupted.set()
        return processes[0]

    def interrupt(futures: Any) -> None:
        assert interrupted.wait(30)
        raise KeyboardInterrupt

    processes: list[subprocess.Popen] = []
    interrupted = threading.Event()
    monkeypatch.setattr(training, "start", start)
    monkeypatch.setattr(training, "as_completed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(grid.train_runs(store, [begun]))
    assert processes[0].poll() is not None
    assert not store.folder(begun).exists()
    assert list(store.results()) == [done]


@pytest.mark.parametrize(
    ("changes", "n_kept"),
    [
        ({}, 2),
        ({"old": PLAN["old"] | {"min_entities": 3}}, 2),
        ({"old": PLAN["old"] | {"limit": 1}}, 0),
        ({"settings": SETTINGS | {"training.max_epochs": 2}}, 0),
        ({"arms": {"a": {"joint": 1}, "b": None}}, 1),
        ({"arms": {"a": {"settings": {"training.dropout": 0.1}}, "b": None}}, 1),
        ({"arms": {"a": None, "c": None}}, 1),
        (task_with(limit=5), 0),
    ],
)
def test_only_what_changed_is_done_again(store_of, changes: dict, n_kept: int) -> None:
    arms = {"arms": {"a": None, "b": None}}
    before = store_of(**arms)
    for run in before.runs:
        fake_result(before, run)
    assert len(before.results()) == 2
    assert len(store_of(**(arms | changes)).results()) == n_kept


def test_changed_data_are_trained_on_again(store_of, data: Path) -> None:
    before = store_of()
    fake_result(before, before.runs[0])
    (data / "unlabelled.txt").write_text("other")
    assert len(store_of().results()) == 1
    changed = (data / "train.conll").read_text().replace("555", "777")
    (data / "train.conll").write_text(changed)
    assert store_of().results() == {}


def test_files_of_settings_count_too(store_of, data: Path) -> None:
    settings = {"settings": SETTINGS | {"paths.vectors": "{data}/replay"}}
    (data / "replay").mkdir()
    before = store_of(**settings)
    fake_result(before, before.runs[0])
    config = (before.folder(before.runs[0]) / "config.cfg").read_text()
    assert f'vectors = "{data}/replay"' in config
    assert len(store_of(**settings).results()) == 1
    (data / "replay" / "texts.jsonl").write_text("{}")
    assert store_of(**settings).results() == {}


def test_worst_file_is_that_of_the_plan_as_it_is(store_of) -> None:
    before = store_of()
    fake_result(before, before.runs[0])
    after = store_of(old=PLAN["old"] | {"min_entities": 4})
    (result,) = after.results().values()
    assert result["old"]["worst_file"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (task_with(train="none.conll"), r"expected at '.*none\.conll', but nothing"),
        ({"old": {"files": ["none"]}}, r"expected at '.*none', but nothing"),
        (
            {"settings": {"paths.vectors": "{data}/none.jsonl"}},
            r"'.*none\.jsonl', which the plan names, .*: No such file",
        ),
    ],
)
def test_missing_files(store_of, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        store_of(**changes)


def test_no_run_is_left(tmp_path: Path, data: Path, capsys) -> None:
    tasks = dict.fromkeys(("a", "b"), PLAN["tasks"]["phones"])
    arms = {"plain": None, "joint": {"tasks": ["b"]}}
    path = write_plan(tmp_path, tasks=tasks, arms=arms)
    options = ["--teacher", "x", "--data", data, "--output", tmp_path / "out"]
    assert run_script(path, *options, "--task", "a", "--arm", "joint") == 1
    assert "Correct --task or --arm" in capsys.readouterr().err
