"""Trainings that are killed, or whose disk is full, while they save."""

import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import spacy
import torch
from conftest import SENTENCES, add_ner
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config
from test_mistakes import ROOT, folder  # noqa: F401

from retainer import checkpoint as ck
from retainer.errors import UserError
from retainer.folders import replacing_folder

FOLDERS = ("model-best", "model-last")
# A training for each way to die, in a fork of one that is ready. Of a moment, an event
# of Python's that touches the output is meant; `after` is seconds behind such a moment,
# at any instruction at all.
KILLED = """
import io, json, os, signal, sys, time
from pathlib import Path
import torch

torch.set_num_threads(1)
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

answers, sys.stdout = sys.stdout, sys.stderr
nlp = init_nlp(load_config(sys.argv[1], interpolate=False))

def run(output, moment=None, after=0.0):
    events = []
    def look(event, args):
        if event.startswith(("open", "os.", "shutil.")) and str(output) in str(args):
            events.append((event, time.monotonic()))
            if len(events) == moment and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            elif len(events) == moment:
                signal.setitimer(signal.ITIMER_REAL, after)  # kills without a handler
    output.mkdir()
    sys.addaudithook(look)
    train(nlp, output, stdout=io.StringIO())
    whole = [name for name, _ in events].index("shutil.copytree") + 1
    seconds = events[-1][1] - events[whole - 1][1]
    return {"first": whole, "last": len(events), "seconds": seconds}

for line in sys.stdin:
    name, how = json.loads(line)
    child = os.fork()
    if not child:
        found = run(Path(name), **how)
        if not how:
            print(json.dumps(found), file=answers, flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if how:
        print(os.WTERMSIG(status), file=answers, flush=True)
"""


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> Path:  # noqa: F811
    """It saves three times, and at a rate of 0 always the same."""
    corpus, where = str(folder / "train.spacy"), "training.optimizer.learn_rate"
    overrides = {
        **{"paths.train": corpus, "paths.dev": corpus, "system.device": "cpu"},
        **{"paths.base": str(folder / "base"), "system.precision": "float32"},
        **{f"{where}.initial_rate": 0.0, "training.batcher.size": 1},
        **{"training.max_epochs": 2},
    }
    path = tmp_path / "config.cfg"
    load_config(ROOT / "configs" / "mini.cfg", overrides).to_disk(path)
    return path


def rows(nlp: spacy.Language) -> list:
    docs = [nlp.make_doc(text) for text in SENTENCES]
    return [r.tolist() for r in nlp.get_pipe("transformer_ner").model.predict(docs)]


def load(output: Path) -> dict[str, list]:
    """What pipelines that can be loaded say."""
    loaded = {}
    for name in FOLDERS:
        try:
            loaded[name] = rows(spacy.load(output / name))
        except (UserError, OSError, ValueError, EOFError) as error:
            assert str(error)
    return loaded


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*W090")
def test_killed_while_saving(config: Path, tmp_path: Path) -> None:
    """From the first save on one pipeline is whole, and what is not is refused."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(name: str, **how: float):
        process.stdin.write(json.dumps([str(tmp_path / name), how]) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    with process:
        found, draw = run("whole"), random.Random(0)
        first, last = found["first"], found["last"]
        ways = [{"moment": draw.randint(first, last)} for _ in range(12)]
        delays = [draw.uniform(0.001, found["seconds"]) for _ in range(6)]
        ways += [{"moment": first, "after": seconds} for seconds in delays]
        signals = [run(f"{i}", **way) for i, way in enumerate(ways)]
        process.stdin.close()
    assert signals[:12] == [signal.SIGKILL] * 12
    assert signal.SIGALRM in signals[12:]
    expected = load(tmp_path / "whole")
    assert list(expected) == list(FOLDERS)
    n_refused = 0
    for i, way in enumerate(ways):
        loaded = load(tmp_path / f"{i}")
        n_refused += len(FOLDERS) - len(loaded)
        assert loaded, way
        assert all(said == expected["model-best"] for said in loaded.values()), way
    assert n_refused


@pytest.fixture
def small_files() -> Iterator:
    """As a full disk does, it lets no file grow over 50 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore:.*W090")
@pytest.mark.parametrize("is_copied", [False, True])
def test_disk_is_full(config, tmp_path, monkeypatch, small_files, is_copied) -> None:
    """When model-last is written the second time, or when it is copied then."""
    n_saved, save = 0, ck.save_checkpoint

    def fill_disk(*args) -> None:
        nonlocal n_saved
        n_saved += 1
        if n_saved == 2 and not is_copied:
            small_files()
        save(*args)
        if n_saved == 2 and is_copied:
            small_files()

    monkeypatch.setattr(ck, "save_checkpoint", fill_disk)
    nlp = init_nlp(load_config(config))
    output = tmp_path / "out"
    output.mkdir()
    with pytest.raises(UserError, match="out/model-last.*File too large") as raised:
        train(nlp, output, stdout=io.StringIO())
    assert "What was there is as it was." in raised.value.desc
    loaded = load(output)
    assert list(loaded) == (["model-last"] if is_copied else list(FOLDERS))
    assert all(said == rows(nlp) for said in loaded.values())
    assert not list(output.rglob(".*"))


def test_a_failed_save_leaves_the_old_model(nlp_blank, checkpoint, tmp_path) -> None:
    ner = add_ner(nlp_blank, checkpoint)
    nlp_blank.initialize()
    nlp_blank.to_disk(tmp_path / "a")
    before, module = rows(nlp_blank), ner.model.shims[0].module
    with torch.no_grad():
        module.classifier.bias += 1.0
    ner.model.shims[0]._tokenizer = None  # weights are written, and then it fails
    with pytest.raises(AttributeError, match="save_pretrained"):
        nlp_blank.to_disk(tmp_path / "a")
    assert rows(spacy.load(tmp_path / "a")) == before


def test_a_folder_within_a_folder(tmp_path: Path) -> None:
    """What is told is the name that was given, not that of the folder aside."""
    message = rf"expected at '{tmp_path}/a', but it cannot: No space"
    with (
        pytest.raises(UserError, match=message),
        replacing_folder(tmp_path / "a") as outer,
        replacing_folder(outer / "b") as inner,
    ):
        inner.mkdir()
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())
