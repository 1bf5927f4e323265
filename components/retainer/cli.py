"""What every script does around its one function: options in, user's mistakes out."""

import logging
import sys
from collections.abc import Callable

import typer
from wasabi import Printer

from .errors import UserError


def run(*mains: Callable[..., None]) -> None:
    """Run a typed function as a command line. A `UserError` is a message and status 1.

    Of several functions each is a command by its name.
    What the package logs from INFO up goes to stderr, as spaCy's own messages do.
    """
    logger = logging.getLogger(__package__)
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    for main in mains:
        app.command()(main)
    try:
        app()
    except UserError as error:
        show(error)
        sys.exit(1)
    finally:
        logger.removeHandler(handler)


def show(error: UserError) -> None:
    reason, *lines = (error.desc or "").split("\n")  # a list stays one of lines
    message = Printer(no_print=True).fail(error.title, reason)
    print(message, *lines, sep="\n", file=sys.stderr)
