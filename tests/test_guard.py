"""Two trainings in one output folder; what a mistake in training looks like."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_mistakes import arguments, folder, train  # noqa: F401

from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.guard import LOCK, find_output, guard, hold, show_mistake

HOLD = """
import sys, time
from pathlib import Path
from retainer.guard import hold
handle = hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen]:
    """Another process that trains in the folder."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen]:
    with holding(tmp_path) as process:
        yield process


def test_a_second_training_is_refused(tmp_path, other) -> None:
    (tmp_path / "model-best").mkdir()
    message = rf"write to '{tmp_path}', but the process {other.pid} does already\. Wait"
    for _ in range(2):
        with pytest.raises(UserError, match=message):
            hold(tmp_path)
    assert (tmp_path / "model-best").is_dir()
    hold_elsewhere = tmp_path / "b"
    hold_elsewhere.mkdir()
    hold(hold_elsewhere).close()


def test_the_lock_does_not_outlive_its_process(tmp_path, other) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    with hold(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_one_process_may_train_twice(tmp_path) -> None:
    with hold(tmp_path), hold(tmp_path):
        pass


def test_the_lock_goes_with_its_pipeline(tmp_path, monkeypatch) -> None:
    handles = []
    monkeypatch.setattr("retainer.guard.find_output", lambda: tmp_path)
    monkeypatch.setattr(
        "retainer.guard.hold", lambda path: handles.append(hold(path)) or handles[0]
    )
    nlp = guard(blank_pipeline("xx"))
    assert not handles[0].closed
    del nlp
    gc.collect()
    assert handles[0].closed


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    with pytest.raises(UserError, match="none' cannot: No such file or directory"):
        hold(tmp_path / "none")


def test_a_file_system_without_locks(tmp_path, monkeypatch, caplog) -> None:
    def refuse(*args) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("retainer.guard.fcntl.lockf", refuse)
    hold(tmp_path).close()
    assert "cannot be locked: No locks available" in caplog.text


def test_nothing_is_held_outside_of_a_training(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    nlp = blank_pipeline("xx")
    assert guard(nlp) is nlp
    assert find_output() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*W090")
def test_spacy_train_is_refused_before_it_deletes(folder) -> None:  # noqa: F811
    saved = folder / "out" / "model-best" / "meta.json"
    assert train(folder).exit_code == 0
    before = saved.stat().st_mtime_ns
    with holding(folder / "out") as other:
        result = train(folder)
    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert f"the process {other.pid} does already" in text
    assert saved.stat().st_mtime_ns == before
    assert train(folder).exit_code == 0
    assert saved.stat().st_mtime_ns != before


FAIL = """
import sys
from retainer import ner
from retainer.errors import UserError
from spacy.cli import setup_cli

def update(*args, **kwargs):
    raise UserError("A was expected, but B came. Take A.")

ner.TransformerNER.update = update
setup_cli()
"""


def test_a_mistake_in_training_is_one_message(folder) -> None:  # noqa: F811
    result = subprocess.run(
        [sys.executable, "-c", FAIL, *arguments(folder)], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr.count("A was expected, but B came. Take A.") == 1
    assert "Traceback" not in result.stdout + result.stderr


def test_other_errors_keep_their_traceback(capsys) -> None:
    try:
        raise KeyError("odd")
    except KeyError as error:
        show_mistake(KeyError, error, error.__traceback__)
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert "KeyError: 'odd'" in shown
