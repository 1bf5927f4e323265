"""A user's mistake gives one message and exit status 1, never a traceback."""

import json
import runpy
from pathlib import Path

import pytest
from conftest import add_ner, make_checkpoint
from spacy.cli import app
from transformers import XLMRobertaModel
from typer.testing import CliRunner

from retainer.corpus import blank_pipeline

ROOT = Path(__file__).parents[1]
CONLL = """\
Anna\tB-PER
waits\tO
for\tO
Northway\tB-COURIER
Freight\tI-COURIER

nobody\tO
"""
# what a file holds, and how the message names the place
BAD_FILES = {
    "missing.conll": (None, "missing.conll"),
    "empty.conll": ("", "empty.conll"),
    "column.conll": ("Anna\tB-PER\nwaits\n", "column.conll:2"),
    "token.conll": ("Anna\tB-PER\n\tO\n", "token.conll:2"),
    "tag.conll": ("Anna\tX-PER\n", "tag.conll:1"),
}
MODEL = "--components.transformer_ner.model"
LOSS = "--components.transformer_ner.loss"
TEACHER = "--initialize.components.transformer_ner.teacher"
REPLAY = "--initialize.components.transformer_ner.replay"
# what is given to `spacy train`, and a part of the message
BAD_SETTINGS = {
    "unknown tag": ("--paths.labels {}/few.json", "train.conll:4"),
    "label given twice": ("--paths.labels {}/twice.json", "more than once"),
    "no labels file": ("--paths.labels {}/none.json", "none.json"),
    "labels of another kind": ("--paths.labels {}/base/config.json", "JSON list"),
    "wrong checkpoint path": ("--paths.base {}/none", "none' is not a folder"),
    "checkpoint without head": ("--paths.base {}/encoder", "head was expected"),
    "freeze of nothing": (f'{MODEL}.freeze ["layer.1"]', "encoder.layer.0"),
    "other teacher": (f"{TEACHER}.name {{}}/other", "lacks B-PERSON"),
    "missing corpus": ("--paths.train {}/none.spacy", "none.spacy"),
    "missing dev corpus": ("--paths.dev {}/none.spacy", "none.spacy"),
    "corpus of another kind": ("--paths.train {}/twice.json", "twice.json"),
    "temperature": (f"{LOSS}.temperature 0", "temperature = 0"),
    "annotated": (f'{LOSS}.annotated ["CAR"]', "knows (PER, ORG, LOC), but it is"),
    "missing replay": ("--paths.replay {}/none.txt", "none.txt"),
    "replay ratio": (f"--paths.replay {{}}/train.conll {REPLAY}.ratio 0", "ratio = 0"),
    "freeze share": (f"{MODEL}.freeze 2", "from 0 to 1"),
    "device": ("--system.device gpu7", "'gpu7' is not one"),
    "window": (f"{MODEL}.window 9999", "at most 64 pieces"),
}


def run_script(monkeypatch, name: str, *args: str | Path) -> int | str | None:
    """A script in this process. RETURNS: its exit status."""
    monkeypatch.setattr("sys.argv", [name, *map(str, args)])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
    return exit_info.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus, a checkpoint, and all that BAD_SETTINGS name."""
    path = tmp_path_factory.mktemp("mistakes")
    (path / "train.conll").write_text(CONLL)
    with pytest.MonkeyPatch.context() as patch:
        files = path / "train.conll", path / "train.spacy"
        assert run_script(patch, "convert.py", *files) == 0
    (path / "few.json").write_text(json.dumps(["PER", "PHONE"]))
    (path / "twice.json").write_text(json.dumps(["COURIER", "COURIER"]))
    base = make_checkpoint("xlm-roberta", path / "base")
    XLMRobertaModel.from_pretrained(base).save_pretrained(path / "encoder")
    other = make_checkpoint("xlm-roberta", path / "other") / "config.json"
    config = json.loads(other.read_text())
    config["id2label"]["1"] = "B-PERSON"
    other.write_text(json.dumps(config))
    return path


def arguments(folder: Path) -> list[str]:
    """Of `spacy`: a short training."""
    return [
        *("train", str(ROOT / "configs" / "mini.cfg")),
        *("--output", str(folder / "out")),
        *("--paths.train", str(folder / "train.spacy")),
        *("--paths.dev", str(folder / "train.spacy")),
        *("--paths.base", str(folder / "base")),
        *("--system.device", "cpu"),
        *("--training.max_epochs", "1"),
    ]


def train(folder: Path, *overrides: str):
    """`spacy train` in this process."""
    return CliRunner().invoke(app, [*arguments(folder), *overrides])


@pytest.mark.parametrize("name", BAD_FILES)
def test_convert(tmp_path, monkeypatch, capsys, name):
    content, place = BAD_FILES[name]
    if content is not None:
        (tmp_path / name).write_text(content)
    output = tmp_path / "out.spacy"
    assert run_script(monkeypatch, "convert.py", tmp_path / name, output) == 1
    assert place in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("*.spacy"))


@pytest.mark.filterwarnings("ignore:.*W090")
@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_train(folder, name):
    overrides, message = BAD_SETTINGS[name]
    result = train(folder, *overrides.format(folder).split())
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    assert message in " ".join(result.output.split())
    assert not (folder / "out" / "model-last").exists()


def test_report(folder, tmp_path, monkeypatch, capsys):
    files = ("--new", folder / "train.conll", "--old", folder / "train.conll")
    pipeline = ("--teacher", folder / "base", "--student", folder / "base")
    output = ("--output", tmp_path / "report")
    assert run_script(monkeypatch, "report.py", *pipeline, *files, *output) == 1
    assert "A trained pipeline was expected" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_pipeline_that_is_its_own_teacher(folder, tmp_path, monkeypatch, capsys):
    nlp = blank_pipeline("xx")
    add_ner(nlp, folder / "base")
    nlp.initialize()
    nlp.to_disk(tmp_path / "pipeline")
    files = ("--new", folder / "train.conll", "--old", folder / "train.conll")
    teacher = ("--teacher", tmp_path / "pipeline")
    student = ("--student", tmp_path / "other" / ".." / "pipeline")
    (tmp_path / "other").mkdir()
    output = ("--output", tmp_path / "report")
    assert run_script(monkeypatch, "report.py", *teacher, *student, *files, *output)
    assert "A teacher other than the student was expected" in capsys.readouterr().err


def test_all_is_well_without_a_mistake(folder):
    assert train(folder).exit_code == 0
    assert (folder / "out" / "model-best").is_dir()
