"""project.yml: each step lists what it reads and writes, and the workflow runs."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import srsly
from conftest import make_checkpoint
from spacy.cli.init_config import fill_config
from spacy.util import load_config

ROOT = Path(__file__).parents[1]
PACKAGE = Path("components/retainer")
PROJECT = srsly.read_yaml(ROOT / "project.yml")
STEPS = {step["name"]: step for step in PROJECT["commands"]}
# what spaCy's own commands load of the package, by entry point
PIPELINE = ["factory", "network", "listener", "tokenizer", "scoring"]
PIPELINE += ["losses", "background", "decoding", "teacher", "replay", "config", "guard"]
RUN_PIPELINES = {
    f"scripts/{name}.py"
    for name in ("report", "inspect_corpus", "ablate", "optimise", "rounds")
}
SENTENCES = {
    "train": "Anna\tB-PER\nwaits\tO\nfor\tO\nNorthway\tB-COURIER\nFreight\tI-COURIER\n",
    "dev": "Swiftline\tB-COURIER\nfound\tO\nPetra\tB-PER\n\ncall\tO\n555\tB-PHONE\n",
    "old": "Petra\tB-PER\nis\tO\nin\tO\nLisbon\tB-LOC\n.\tO\n",
}


def imports_of(path: Path) -> set[Path]:
    """The modules of the package that a file imports, and the packages above them."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = path.parents[node.level - 1]
        elif (node.module + ".").startswith("retainer."):
            base = PACKAGE.parent
        else:
            continue
        parts = (node.module or "").split(".") if node.module else []
        for names in (parts, *([*parts, alias.name] for alias in node.names)):
            for n in range(1, len(names) + 1):
                module = base.joinpath(*names[:n])
                found |= {module.with_suffix(".py"), module / "__init__.py"}
    return {p for p in found if (ROOT / p).is_file() and p != PACKAGE / "__init__.py"}


def closure(paths: set[Path]) -> set[Path]:
    found: set[Path] = set()
    todo = set(paths)
    while todo:
        found |= todo
        todo = set().union(*map(imports_of, todo)) - found
    return found


def code_of(step: dict) -> set[Path]:
    """Every .py file that a step runs."""
    scripts, modules = set(), set()
    for line in step["script"]:
        words = shlex.split(line)
        scripts |= {Path(w) for w in words if w.startswith("scripts/")}
        if words[:3] == ["python", "-m", "spacy"] and words[3] != "package":
            modules |= {PACKAGE / f"{name}.py" for name in PIPELINE}
        if RUN_PIPELINES & set(words):
            modules |= {PACKAGE / f"{name}.py" for name in PIPELINE}
        if words[-1] == ".":  # builds the package itself
            modules |= {p.relative_to(ROOT) for p in (ROOT / PACKAGE).rglob("*.py")}
    return closure(scripts | modules)


def paths_of(step: dict) -> set[str]:
    """Every path that a step names, variables left as they are."""
    words = {w for line in step["script"] for w in shlex.split(line)}
    is_path = re.compile(
        r"(scripts|corpus|configs|training|metrics|packages|base)(/.*)?$"
        r"|\$\{vars\.(config|base|train|dev|test|old|replay)\}$"
    )
    return {word for word in words if is_path.match(word)}


@pytest.mark.parametrize("name", [name for name in STEPS if name != "clean"])
def test_step_lists_its_code(name):
    deps = set(STEPS[name].get("deps", []))
    assert {path.as_posix() for path in code_of(STEPS[name])} <= deps


@pytest.mark.parametrize("name", [name for name in STEPS if name != "clean"])
def test_step_lists_its_data(name):
    """A path is a dep or an output, or lies above or below one."""
    step = STEPS[name]
    listed = [*step.get("deps", []), *step["outputs"]]
    for path in paths_of(step):
        near = [p for p in listed if p.startswith(path) or path.startswith(p)]
        assert near, path


@pytest.mark.parametrize("name", [name for name in STEPS if name != "clean"])
def test_no_dep_is_a_folder_of_code(name):
    """Its checksum would change with __pycache__."""
    assert not {"scripts", "components", PACKAGE.as_posix(), "."} & set(
        STEPS[name].get("deps", [])
    )


def test_workflow_has_every_step():
    steps = PROJECT["workflows"]["all"]
    others = {"run-arms", "train-rounds", "clean", "fetch", "optimise"}
    assert set(steps) == set(STEPS) - others
    assert PROJECT["workflows"]["ablate"] == [*steps[:2], "run-arms"]
    assert PROJECT["workflows"]["rounds"] == [*steps[:2], "train-rounds"]
    assert PROJECT["workflows"]["finetune"] == [steps[0], *steps[2:]]
    assert steps[-1] == "report"  # ends by printing its summary


def test_configs_differ_where_they_say():
    """mini.cfg and xlmr.cfg hold the same keys; few values differ."""
    small, large = (
        dict(line.split(" = ", 1) for line in keyed_lines(ROOT / "configs" / name))
        for name in ("mini.cfg", "xlmr.cfg")
    )
    assert list(small) == list(large)
    assert {key for key in small if small[key] != large[key]} == {
        "[paths] base",
        "[system] max_batch_pieces",
        "[components.transformer_ner.model] freeze",
        "[training] max_epochs",
        "[training.optimizer.learn_rate] initial_rate",
    }
    assert large["[training.optimizer.learn_rate] initial_rate"] == "0.00003"
    assert large["[training] max_epochs"] == "3"
    assert large["[training.batcher] size"] == "16"


def keyed_lines(path: Path) -> list[str]:
    """Settings as `[section] key = value`."""
    section, lines = "", []
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif " = " in line and not line.startswith("#"):
            lines.append(f"{section} {line}")
    return lines


@pytest.mark.parametrize("config", ["mini.cfg", "xlmr.cfg", "shared.cfg"])
def test_config_is_complete(config, tmp_path):
    """Nothing is left to fill in: no setting has a hidden default."""
    path = ROOT / "configs" / config
    _, filled = fill_config(tmp_path / "filled.cfg", path, silent=True)
    assert dict(filled) == dict(load_config(path))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project with a corpus and a checkpoint of its own."""
    path = tmp_path_factory.mktemp("project")
    for name in ("configs", "scripts", "components"):
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, path / name, ignore=ignore)
    shutil.copytree(ROOT / "corpus" / "templates", path / "corpus" / "templates")
    for name in ("project.yml", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, path)
    for name, text in SENTENCES.items():
        (path / f"{name}.conll").write_text(text)
    make_checkpoint("xlm-roberta", path / "checkpoint")
    return path


def run_project(project: Path, workflow: str) -> str:
    """RETURNS: what it printed."""
    variables = {
        **{"base": "checkpoint", "device": "cpu", "seed": 3},
        **{"train": "train.conll", "dev": "dev.conll", "test": "dev.conll"},
        "old": "old.conll",
    }
    run = subprocess.run(
        [sys.executable, "-m", "spacy", "project", "run", workflow, "."]
        + [part for k, v in variables.items() for part in (f"--vars.{k}", str(v))],
        cwd=project,
        capture_output=True,
        encoding="utf8",
        env={**os.environ, "SPACY_CONFIG_OVERRIDES": "--training.max_epochs 1"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_workflow_runs_then_skips_then_reruns(project):
    """End to end on files and a checkpoint of one's own."""
    output = run_project(project, "finetune")
    assert "| new types, new domain |" in output.splitlines()[-1]
    scores = json.loads((project / "metrics" / "test.json").read_text())
    assert {"ents_f", "ents_per_type", "seqeval_f", "seqeval_accuracy"} <= set(scores)
    report = json.loads((project / "metrics" / "report.json").read_text())
    assert list(report["forgetting"]["by_file"]) == ["old"]
    assert report["new_types"] == ["COURIER"]
    assert report["unknown_types"] == {"PHONE": 1}
    assert len(list((project / "packages").glob("*.whl"))) == 2

    steps = PROJECT["workflows"]["finetune"]
    assert run_project(project, "finetune").count("nothing changed") == len(steps)

    with (project / "scripts" / "report.py").open("a") as file:
        file.write("\n")
    output = run_project(project, "finetune")
    assert output.count("nothing changed") == len(steps) - 1
    assert "| new types, new domain |" in output.splitlines()[-1]


def test_package_installs_and_loads_by_name(project, tmp_path):
    """Beside nothing but its requirements, from another folder."""
    wheels = [str(path) for path in (project / "packages").glob("*.whl")]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    offline = ["--no-index", "--target", str(tmp_path / "site")]
    subprocess.run([*install, *offline, *wheels], check=True)
    code = (
        "import spacy, retainer; nlp = spacy.load('xx_retainer_ner');"
        "print(retainer.__file__); print(nlp.get_pipe('transformer_ner').labels)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf8",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    assert run.returncode == 0, run.stderr
    file, labels = run.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path / "site")
    assert labels == "('PER', 'ORG', 'LOC', 'COURIER')"
