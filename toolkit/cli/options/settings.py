"""
The settings of a recorder, each written once: its option on the command line, its key in a file, its default, its help.

`tests/toolkit/cli/options/test_settings.py` holds that options, keys and the page of the documents are the same.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from toolkit.cli.options.shared_options import allow_host_option, duration_option, json_option, out_folder_option
from toolkit.cli.options.value_types import Duration, DurationSeconds, Instant
from toolkit.clock import NS_PER_S, format_ns
from toolkit.errors import ConfigError
from toolkit.timing.times import UNITS, instant_ns
from toolkit.transport.urls import HIDDEN, check_url, public_url

__all__ = ["GENERAL", "OF_VENUE", "Setting", "WrongValue", "closest", "setting_options", "toml_text"]

_F = TypeVar("_F", bound=Callable[..., Any])


class WrongValue(Exception):
    """A value that a setting cannot have; the text says what was expected."""


class Url(click.ParamType[str]):
    """A URL of one of some schemes."""

    name = "url"

    def __init__(self, *schemes: str) -> None:
        self.schemes = schemes

    def __repr__(self) -> str:
        return f"Url({', '.join(self.schemes)})"

    @property
    def expected(self) -> str:
        """What it has to look like."""
        return f"a URL that begins with {' or '.join(f'{each}://' for each in self.schemes)}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_url(str(value), self.schemes)
        except ConfigError:
            self.fail(f"expected {self.expected}", param, ctx)  # what was given may hold a password


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """
    One setting.

    Attributes:
        key: Name in a file; the option's value has the same name in the command.
        option: On the command line.
        kind: Type of its values.
        default: Default as it is written on the command line; None: there is none.
        is_list: Whether it has several values; the option is repeated for each.
        shared: The option as other commands have it too.
    """

    key: str
    option: str
    kind: click.ParamType[Any]
    help: str = ""
    metavar: str | None = None
    short: str | None = None
    default: str | int | None = None
    is_list: bool = False
    shared: Callable[[Any], Any] | None = None

    def decorate(self, command: _F) -> _F:
        """Give a command the option."""
        if self.shared is not None:
            decorated: _F = self.shared(command)
            return decorated
        names = [self.option] if self.short is None else [self.short, self.option]
        if isinstance(self.kind, click.types.BoolParamType):
            names[-1] = f"{self.option}/--no-{self.option[2:]}"
            return click.option(*names, self.key, default=False, help=self.help)(command)
        more: dict[str, Any] = {} if self.default is None else {"default": self.default, "show_default": True}
        if self.metavar is not None:
            more["metavar"] = self.metavar
        return click.option(*names, self.key, type=self.kind, multiple=self.is_list, help=self.help, **more)(command)

    def read(self, value: Any) -> Any:
        """The value that a file gives, as the command gets it. Raises WrongValue with what was expected."""
        if self.is_list:
            if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
                raise WrongValue('a list of texts such as ["one", "two"]')
            return tuple(value)
        if not self._fits(value):
            raise WrongValue(self._expected())
        if isinstance(self.kind, Url) and HIDDEN in value:
            raise WrongValue(f"the secret that {HIDDEN} stands for: it is never printed")
        try:
            return self.kind.convert(_plain(value), None, None)
        except (click.BadParameter, ConfigError):
            hint = closest(value, self.kind.choices) if isinstance(self.kind, click.Choice) else ""
            raise WrongValue(f"{self._expected()}{hint}") from None

    def written(self, value: Any) -> str:
        """A value as a file has it, so that `read` gives it back."""
        if isinstance(self.kind, Duration):
            return toml_text(_length_text(round(value * NS_PER_S)))
        if isinstance(self.kind, Instant):
            return toml_text(format_ns(value))
        if isinstance(self.kind, Url):
            return toml_text(public_url(value))
        return toml_text(value)

    def _fits(self, value: Any) -> bool:
        match self.kind:
            case click.types.BoolParamType():
                return isinstance(value, bool)
            case click.IntRange():
                return isinstance(value, int) and not isinstance(value, bool)
            case Duration():
                return isinstance(value, str | int | float) and not isinstance(value, bool) and value != 0
            case Instant():
                return isinstance(value, str | date)
            case _:
                return isinstance(value, str) and bool(value) and "\0" not in value

    def _expected(self) -> str:
        match self.kind:
            case click.types.BoolParamType():
                return "true or false"
            case click.IntRange() as bounds:
                upper = f" to {bounds.max}" if bounds.max is not None else " or more"
                return f"a whole number, {bounds.min}{upper}"
            case Duration():
                return 'a length of time such as "250ms", "90s" or "1.5h"'
            case Instant():
                return 'a time such as "2026-11-22T16:00" (UTC)'
            case click.Choice() as choice:
                return f"one of {', '.join(json.dumps(each) for each in choice.choices)}"
            case Url() as url:
                return url.expected
            case click.Path():
                return "a path as text, without NUL"
            case _:
                return "a text"


def _plain(value: Any) -> Any:
    """A value of TOML in a form that the kinds of values take."""
    if isinstance(value, date):
        return instant_ns(value)
    if isinstance(value, float):
        return repr(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _length_text(ns: int) -> str:
    """A length of time in the largest unit that has it whole."""
    return next(f"{ns // size}{unit}" for unit, size in reversed(UNITS.items()) if ns % size == 0)


def toml_text(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_text(each) for each in value)}]"
    # JSON's escapes are TOML's, which asks for one more.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def closest(name: Any, known: Sequence[str]) -> str:
    """`; did you mean ...?` for the known name that is most like it, or nothing."""
    found = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)
_PORT: Final = click.IntRange(0, 65535)

#: Of the whole recorder, in the order of the help.
GENERAL: Final = (
    Setting(key="out", option="--out", kind=_FOLDER, shared=out_folder_option()),
    Setting(key="duration", option="--duration", kind=DurationSeconds(), shared=duration_option()),
    Setting(
        key="until",
        option="--until",
        kind=Instant(),
        metavar="TIME",
        help="Stop at this time, such as 2026-11-22T16:00 (UTC).",
    ),
    Setting(
        key="pseudonyms",
        option="--pseudonyms",
        kind=_FILE,
        metavar="FILE",
        help="Replace addresses while recording, by a hash under the key in this file (docs/privacy.md).",
    ),
    Setting(
        key="flush",
        option="--flush",
        kind=DurationSeconds(),
        metavar="DURATION",
        default="250ms",
        help="Interval at which frames are written to the journal: the most that a crash can lose.",
    ),
    Setting(
        key="fsync",
        option="--fsync",
        kind=click.Choice(["always", "interval", "off"]),
        default="interval",
        help="When the journal is forced to the disk: every flush, every second, or never.",
    ),
    Setting(
        key="rotate",
        option="--rotate",
        kind=DurationSeconds(),
        metavar="DURATION",
        default="1h",
        help="Maximum length of a segment.",
    ),
    Setting(
        key="rotate_mib",
        option="--rotate-mib",
        kind=click.IntRange(min=1),
        default=256,
        help="Maximum size of a segment.",
    ),
    Setting(
        key="keep_free_mib",
        option="--keep-free-mib",
        kind=click.IntRange(min=0),
        default=512,
        help="Disk space to leave free; recording stops before it is used.",
    ),
    Setting(
        key="status_port",
        option="--status-port",
        kind=_PORT,
        help="Serve /status.json and /metrics (Prometheus) on this loopback port; 0 takes a free one.",
    ),
    Setting(
        key="tee_port",
        option="--tee-port",
        kind=_PORT,
        help="Send frames to `tickdeck follow` and other clients on this port as they are written; 0 takes a free one.",
    ),
    Setting(
        key="tee_host",
        option="--tee-host",
        kind=click.STRING,
        metavar="ADDRESS",
        default="127.0.0.1",
        help="Address of that port; any other than loopback gives the recording to everyone who can reach it.",
    ),
    Setting(key="allow_host", option="--allow-host", kind=click.STRING, is_list=True, shared=allow_host_option),
    Setting(key="wait", option="--wait", kind=click.BOOL, help="Keep trying if a venue cannot be reached at first."),
    Setting(key="json", option="--json", kind=click.BOOL, shared=json_option),
)

#: Of one venue: in a file below its `[[venue]]`, on the command line of the only one there.
OF_VENUE: Final = (
    Setting(
        key="channels",
        option="--channel",
        short="-c",
        kind=click.STRING,
        metavar="CHANNEL",
        is_list=True,
        help="Record this channel instead of the venue's default.",
    ),
    Setting(
        key="users",
        option="--user",
        short="-u",
        kind=click.STRING,
        metavar="ADDRESS",
        is_list=True,
        help="Also record the orders, fills, balances and positions of this account (an address).",
    ),
    Setting(
        key="ws_url",
        option="--ws-url",
        kind=Url("wss", "ws"),
        metavar="URL",
        help="WebSocket URL to use instead of the venue's own.",
    ),
    Setting(
        key="rest_url",
        option="--rest-url",
        kind=Url("https", "http"),
        metavar="URL",
        help="REST URL to use instead of the venue's own.",
    ),
    Setting(
        key="ca_file",
        option="--ca-file",
        kind=_FILE,
        metavar="FILE",
        help="Certificate authorities to trust in addition to the system's (PEM).",
    ),
)


def setting_options(command: _F) -> _F:
    """Give a command the options of all settings; it gets them by their keys, `--json` as `as_json`."""
    for setting in reversed((*GENERAL[:-1], *OF_VENUE, GENERAL[-1])):
        command = setting.decorate(command)
    return command
