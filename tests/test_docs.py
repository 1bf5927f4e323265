"""The documents: each code block runs; each setting and each module has its row."""

import os
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
import srsly
from conftest import make_checkpoint
from spacy import registry
from spacy.cli import app
from spacy.util import load_config
from thinc.api import Config
from typer.testing import CliRunner

import retainer.factory  # noqa: F401  (what it registers)

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PROJECT = srsly.read_yaml(ROOT / "project.yml")
CONLL = """\
Anna\tB-PER
waits\tO
for\tO
Northway\tB-COURIER
Freight\tI-COURIER
in\tO
Lisbon\tB-LOC

Petra\tB-PER
left\tO
"""


def blocks(path: Path, *languages: str) -> list[str]:
    text = path.read_text(encoding="utf8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.M | re.S)
    assert all(language for language, _ in found), path
    return [code for language, code in found if language in languages]


def commands(path: Path) -> list[list[str]]:
    """The words of each command line."""
    lines = "".join(blocks(path, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the documents take for granted: files of one's own, all that was made."""
    folder = tmp_path_factory.mktemp("docs")
    files = [f"my/{name}.conll" for name in ("train", "dev", "test")]
    for file in (*files, "corpus/conll/general/test/en.conll"):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CONLL)
    (folder / "my" / "texts.csv").write_text("message\nPetra is in Bremen\n")
    make_checkpoint("xlm-roberta", folder / "base")
    shutil.copytree(ROOT / "configs", folder / "configs")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for name in ("train", "dev", "test"):
            run(f"python scripts/convert.py my/{name}.conll corpus/{name}.spacy")
        paths = [f"--paths.{name} corpus/{name}.spacy" for name in ("train", "dev")]
        settings = "--training.max_epochs 1 --output training --system.device cpu"
        run(f"python -m spacy train configs/mini.cfg {settings} {' '.join(paths)}")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def there(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)


def run(command: str) -> None:
    """A command line in this process, or a step of the project found in its file."""
    words = shlex.split(command)
    assert words.pop(0) == "python"
    if words[:2] == ["-m", "spacy"]:
        if words[2] == "project":
            check_step(words[3:])
            return
        result = CliRunner().invoke(app, words[2:])
        assert result.exit_code == 0, result.output
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", words)
        try:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        except SystemExit as stop:
            assert not stop.code, stop.code


def check_step(words: list[str]) -> None:
    """Example: run finetune . --vars.seed 1"""
    assert words[0] == "run"
    steps = {step["name"] for step in PROJECT["commands"]}
    assert words[1] in steps | set(PROJECT["workflows"])
    names = [word for word in words if word.startswith("--")]
    assert set(names) <= {f"--vars.{name}" for name in PROJECT["vars"]}


@pytest.mark.parametrize("path", [p for p in DOCS if commands(p)], ids=lambda p: p.stem)
def test_commands_run(path):
    for words in commands(path):
        run(shlex.join(words))


@pytest.mark.parametrize(
    "path", [p for p in DOCS if blocks(p, "python")], ids=lambda p: p.stem
)
def test_python_runs(path, capsys):
    namespace: dict = {}
    for code in blocks(path, "python"):
        exec(code, namespace)
    assert capsys.readouterr().out


SECTION = "components.transformer_ner.loss"
LOSSES = [code for path in DOCS for code in blocks(path, "ini")]


@pytest.mark.parametrize("code", LOSSES)
def test_losses_are_understood(code):
    """By themselves, or laid over the config's."""
    head, *lines = code.splitlines()
    assert head == f"[{SECTION}]"
    given = Config().from_str("\n".join(["[loss]", *lines]))["loss"]
    config = load_config(ROOT / "configs" / "mini.cfg")
    usual = {} if "@misc" in given else config["components"]["transformer_ner"]["loss"]
    assert registry.resolve({"loss": {**usual, **given}})["loss"].needs_teacher


def rows_of(path: Path) -> list[list[str]]:
    """The cells of all tables."""
    lines = path.read_text(encoding="utf8").splitlines()
    return [line[2:-2].split(" | ") for line in lines if line.startswith("| ")]


def flat(config: dict, before: str = "") -> dict[str, object]:
    """Example: {"paths": {"train": None}} -> {"paths.train": None}"""
    found: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{key}.")
        else:
            found[before + key] = value
    return found


def test_config_reference_is_complete():
    """Each setting of the component's and of retainer's functions, with its value."""
    config = load_config(ROOT / "configs" / "mini.cfg", interpolate=False)
    values = {key: value for key, value in flat(config).items() if "@" not in key}
    listed = {
        row[0].strip("`"): srsly.json_loads(row[1].strip("`"))
        if not row[1].startswith("`$")
        else row[1].strip("`")
        for row in rows_of(ROOT / "docs" / "config.md")
        if row[0].startswith("`")
    }
    assert listed == {key: values[key] for key in listed}
    of_retainer = ("components.", "initialize.components.", "paths.", "system.")
    of_spacy = {"components.transformer_ner.factory", "system.gpu_allocator"}
    of_spacy |= {"paths.init_tok2vec", "paths.vectors"}
    assert {k for k in values if k.startswith(of_retainer)} - of_spacy <= set(listed)


def test_modules_are_named():
    """Each in a row of the map, and none that is not there."""
    package = ROOT / "components" / "retainer"
    there = {path.stem for path in package.glob("*.py")} - {"__init__"}
    there |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    rows = rows_of(ROOT / "docs" / "architecture.md")
    named = [name.strip("`") for row in rows for name in row[0].split(", ")]
    named = [name for name in named if name not in ("modules", "---")]
    assert sorted(named) == sorted(there)


def test_links_lead_somewhere():
    for path in (ROOT / "README.md", *DOCS):
        text = path.read_text(encoding="utf8")
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if not target.startswith("https:"):
                assert (path.parent / target).is_file(), (path.name, target)
