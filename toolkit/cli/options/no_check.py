"""The option `--no-check` of every command that reads a recording's files."""

from __future__ import annotations

import sys
from typing import Any, TypeVar

import click

__all__ = ["check_option"]

_Command = TypeVar("_Command")


def _set(_context: click.Context, _param: click.Parameter, is_skipped: bool) -> None:
    # A request for help should not load Arrow; checks are on unless they were switched off.
    if is_skipped or "recordings.checking" in sys.modules:
        from recordings.checking import set_checks

        set_checks(not is_skipped)


def check_option(command: _Command) -> _Command:
    """Give a click command `--no-check`."""
    option: Any = click.option(
        "--no-check",
        is_flag=True,
        expose_value=False,
        callback=_set,
        help="Do not verify the hashes of files before reading them.",
    )
    decorated: _Command = option(command)
    return decorated
