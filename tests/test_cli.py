import logging
from pathlib import Path

import pytest

from retainer.cli import run
from retainer.errors import UserError


@pytest.fixture(autouse=True)
def keep_logging():
    logger = logging.getLogger("retainer")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers, logger.level = handlers, level


def command(path: Path, times: int = 1) -> None:
    """Say it."""
    if not path.exists():
        raise UserError(f"A file was expected at '{path}'. Make one.\n{path}:1\n... 2")
    logging.getLogger("retainer.any").info("logged")
    print("done" * times)


def start(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["command", *arguments])
    with pytest.raises(SystemExit) as info:
        run(command)
    return info.value.code


def test_a_function_becomes_a_command(monkeypatch, capsys, tmp_path: Path) -> None:
    assert start(monkeypatch, str(tmp_path), "--times", "2") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("donedone\n", "logged\n")


def test_a_users_mistake_is_one_message(monkeypatch, capsys) -> None:
    assert start(monkeypatch, "none") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "A file was expected at 'none'. Make one.\nnone:1\n... 2\n" in captured.err
    assert "Traceback" not in captured.err


def test_a_wrong_option_is_shown_with_the_usage(monkeypatch, capsys) -> None:
    assert start(monkeypatch, "none", "--times", "x") == 2
    error = capsys.readouterr().err
    assert "Usage:" in error
    assert "--times" in error


def test_several_functions_are_commands(monkeypatch, capsys, tmp_path: Path) -> None:
    def other(n: int) -> None:
        """Say a number."""
        print(n)

    monkeypatch.setattr("sys.argv", ["command", "other", "7"])
    with pytest.raises(SystemExit) as info:
        run(command, other)
    assert info.value.code == 0
    assert capsys.readouterr().out == "7\n"
