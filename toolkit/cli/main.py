"""The command `tickdeck`: one group, whose commands are loaded when they are used."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import click

from toolkit.cli.groups import OptionsAnywhere
from toolkit.cli.output.printable import say_error
from toolkit.cli.output.results import CONTEXT_SETTINGS, say
from toolkit.cli.process import OutputFailed, prepare, silence_output
from toolkit.errors import TickdeckError

__all__ = ["cli", "main"]

#: What a shell sets when it asks for completions.
COMPLETION: Final = "_TICKDECK_COMPLETE"

#: Command to the module and object that is it, in the order that the help lists them.
COMMANDS: Final = {
    "demo": "toolkit.cli.commands.demo:demo",
    "record": "toolkit.cli.commands.record:record",
    "follow": "toolkit.cli.commands.follow:follow",
    "import": "toolkit.cli.commands.import_:import_",
    "info": "toolkit.cli.commands.info:info",
    "replay": "toolkit.cli.commands.replay:replay",
    "backtest": "toolkit.cli.commands.backtest:backtest",
    "paper": "toolkit.cli.commands.paper:paper",
    "report": "toolkit.cli.commands.report:report",
    "serve": "toolkit.cli.commands.serve:serve",
    "ctl": "toolkit.cli.commands.ctl:ctl",
    "verify": "toolkit.cli.commands.verify:verify",
    "gaps": "toolkit.cli.commands.gaps:gaps",
    "recover": "toolkit.cli.commands.recover:recover",
    "ls": "toolkit.cli.commands.care:ls",
    "renormalize": "toolkit.cli.commands.care:renormalize",
    "compact": "toolkit.cli.commands.care:compact",
    "prune": "toolkit.cli.commands.care:prune",
    "analyze": "toolkit.cli.commands.analyze:analyze",
    "sql": "toolkit.cli.commands.sql:sql",
}


class LazyGroup(OptionsAnywhere):
    """Commands are imported only when one is called or its help is shown: `--help` should not load a database."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings=CONTEXT_SETTINGS)
@click.version_option(package_name="tickdeck", prog_name="tickdeck")
def cli() -> None:
    """Record live crypto markets, replay them through the same code, and analyse their spreads."""


def main(argv: list[str] | None = None) -> Any:
    """
    Run the command; errors of ours are one line on stderr and exit status 1 (or what the error says).

    Wrong usage is 2, an interrupt 130, and standard output that its reader has closed 141, as in a shell.
    """
    prepare(owns_process=argv is None)
    if COMPLETION in os.environ:
        cli.main(args=argv, prog_name="tickdeck")
    status = _guarded(lambda: _invoke(sys.argv[1:] if argv is None else argv))
    # What is still in the buffer would otherwise fail when it can be reported no more.
    sys.exit(_guarded(sys.stdout.flush) or status)


def _invoke(args: list[str]) -> Any:
    with cli.make_context("tickdeck", list(args)) as context:
        return cli.invoke(context)


def _guarded(work: Callable[[], Any]) -> int:
    """Do it; the exit status, after a line about what went wrong."""
    try:
        status = work()
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _failed("", 128 + signal.SIGINT)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        return exc.exit_code
    except click.ClickException as exc:
        return _failed(_said(exc), exc.exit_code)
    except OutputFailed as exc:
        silence_output()
        return _failed(str(exc), exc.status)
    except TickdeckError as exc:
        return _failed(str(exc), 1)
    except MemoryError:
        return _failed("there is not enough memory for this; nothing that was on disk is lost", 1)
    except OSError as exc:
        where = "" if exc.filename is None else f"{os.fsdecode(exc.filename)}: "
        return _failed(f"{where}{exc.strerror or exc}", 1)


def _failed(text: str, status: int) -> int:
    with suppress(OSError):
        if text:
            say_error(text)
        else:
            say("Aborted.", err=True)
    return status


def _said(exc: click.ClickException) -> str:
    """The error of a wrong command line: one line like every error, with where to look."""
    text = " ".join(exc.format_message().split())
    if isinstance(exc, click.UsageError) and exc.ctx is not None:
        text = f"{text.removesuffix('.')}. See `{exc.ctx.command_path} --help`."
    return text
