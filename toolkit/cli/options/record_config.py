"""A recorder's configuration: read from a TOML file, and written as one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from toolkit.cli.options.settings import GENERAL, OF_VENUE, Setting, Url, WrongValue, closest, toml_text
from toolkit.errors import ConfigError, TickdeckError
from toolkit.transport.urls import public_url

__all__ = ["RecordConfig", "VenueConfig", "check_venues", "config_text", "read_config"]

#: Names of keys that were others once.
_RENAMED: Final = {"key_file": "pseudonyms"}
#: In place of a key: the line with `[[venue]]`.
_HEAD: Final = ""
#: Texts and comments, in which a bracket is none; a text that goes on on the next line; and brackets.
_TOKEN: Final = re.compile(
    r""""{3}.*?"{3}|'{3}.*?'{3}|(?P<opened>"{3}|'{3}).*|"(?:[^"\\]|\\.)*"|'[^']*'|\#.*|(?P<bracket>[\[\]])"""
)
_PAGE: Final = "docs/configuration.md has all keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueConfig:
    """
    A `[[venue]]` of the file.

    Attributes:
        name: Name of the venue.
        pairs: Pairs to record; may be empty where `users` is not.
        channels: Channels to record; empty for its default.
        users: Addresses whose account streams are recorded too.
        ws_url: WebSocket in place of the venue's own.
        rest_url: REST interface in place of the venue's own.
        ca_file: Certificate authorities to trust besides the system's (PEM).
    """

    name: str
    pairs: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    ws_url: str | None = None
    rest_url: str | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordConfig:
    """
    The whole file.

    Attributes:
        venues: Venues to record, and the pairs of each.
        values: Values of the keys that the file has, as the command gets them from its options: see `settings.GENERAL`.
        places: Where each of these keys stands, such as `record.toml:3`.
    """

    venues: tuple[VenueConfig, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict, compare=False)


def read_config(path: Path) -> RecordConfig:
    """The configuration in a file. Raises ConfigError with the line, the key, what was expected and the closest key."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        values: dict[str, Any] = tomllib.loads(text)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is no TOML: expected UTF-8, found byte {exc.object[exc.start]:#04x}") from None
    except tomllib.TOMLDecodeError as exc:
        said, _, place = str(exc).partition(" (at ")
        line = re.match(r"line (\d+), column (\d+)", place)
        where, column = (f"{path}:{line[1]}", f" at column {line[2]}") if line else (str(path), "")
        raise ConfigError(f"{where} is no TOML: {said}{column}") from None
    reader = _Reader(path, text)
    found = {key: value for key, value in values.items() if key != "venue"}
    general = reader.settings(found, GENERAL, OF_VENUE)
    tables = values.get("venue", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise reader.error("venue", None, "is no list of tables: expected [[venue]], with two brackets")
    if not tables:
        raise ConfigError(f"{path} names no [[venue]]: nothing to record")
    venues = tuple(reader.venue(table, number) for number, table in enumerate(tables))
    try:
        check_venues(venues)
    except WrongVenue as exc:
        raise ConfigError(f"{reader.place(exc.key, exc.number)}: {exc}") from None
    return RecordConfig(venues=venues, values=general, places={key: reader.place(key, None) for key in general})


class WrongVenue(ConfigError):
    """
    What one of several venues cannot have.

    Attributes:
        number: Number of the venue, from 0.
        key: The key of it that is wrong.
    """

    def __init__(self, number: int, key: str, text: str) -> None:
        super().__init__(text)
        self.number = number
        self.key = key


def check_venues(venues: Sequence[VenueConfig]) -> None:
    """Raise WrongVenue for a venue that stands twice, or for a channel, an address or a pair that it cannot have."""
    names = [venue.name for venue in venues]
    for number, venue in enumerate(venues):
        if venue.name in names[:number]:
            text = f"venue {venue.name} stands twice: name all of its pairs in one place"
            raise WrongVenue(number, "name", text)
        if (wrong := _refusal(venue)) is not None:
            # A key is to blame if without it all is well, or something else is wrong.
            without = {
                "channels": replace(venue, channels=()),
                "users": replace(venue, users=()),
                "pairs": replace(venue, pairs=()),
            }
            blamed = (key for key, rest in without.items() if _refusal(rest) != wrong)
            text = f"venue {venue.name}: {wrong}" if len(venues) > 1 else wrong
            raise WrongVenue(number, next(blamed, "name"), text)


def _refusal(venue: VenueConfig) -> str | None:
    """What its protocol says of the pairs, channels and addresses; None where it takes them."""
    from toolkit.protocol import ProtocolOptions
    from toolkit.venue import find_venue

    options = ProtocolOptions(pairs=venue.pairs, channels=venue.channels, accounts=venue.users)
    try:
        spec = find_venue(venue.name)
        spec.check_accounts(venue.users)
        spec.make_protocol(options)
    except TickdeckError as exc:
        return str(exc)
    return None


class _Reader:
    """Checks what a file says, and knows the lines that it stands on."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines: dict[tuple[int | None, str], int] = {}
        for table, key, number in _keys(text):
            self._lines.setdefault((table, key), number)

    def place(self, key: str, table: int | None) -> str:
        """The file and the line of a key, or of the head of its table where no more is known."""
        of_table = [] if table is None else [(table, key), (table, _HEAD), (None, "venue")]
        line = next((self._lines[each] for each in [*of_table, (None, key)] if each in self._lines), None)
        return str(self._path) if line is None else f"{self._path}:{line}"

    def error(self, key: str, table: int | None, said: str) -> ConfigError:
        """What is wrong with a key: of the file itself, or of one of its venues."""
        return ConfigError(f"{self.place(key, table)}: {key} {said}")

    def settings(
        self,
        values: Mapping[str, Any],
        known: Sequence[Setting],
        elsewhere: Sequence[Setting],
        table: int | None = None,
    ) -> dict[str, Any]:
        """Values of known settings. Those of `elsewhere` stand in the wrong place."""
        by_key = {setting.key: setting for setting in known}
        others = {setting.key for setting in elsewhere} | ({"name", "pairs"} if table is None else set())
        for key, value in values.items():
            if key in others:
                place = "below a [[venue]]" if table is None else "above the first [[venue]]"
                raise self.error(key, table, f"stands in the wrong place: expected {place}")
            if key not in by_key:
                names = [*by_key, *(["venue"] if table is None else ["name", "pairs"])]
                hint = f"; it is called {_RENAMED[key]}" if key in _RENAMED else closest(key, names)
                raise self.error(key, table, f"is no key{hint or ', expected one of ' + ', '.join(names)} ({_PAGE})")
            try:
                by_key[key].read(value)
            except WrongValue as exc:
                raise self.error(key, table, f"is {_shown(value, by_key[key])}, expected {exc}") from None
        return {key: by_key[key].read(value) for key, value in values.items()}

    def venue(self, table: Mapping[str, Any], number: int) -> VenueConfig:
        """One of the venues."""
        from toolkit.venue import find_venue

        name, pairs = table.get("name"), table.get("pairs", [])
        if not isinstance(name, str):
            said = "is missing below a [[venue]]" if name is None else f"is {_shown(name)}"
            raise self.error("name", number, f'{said}: expected the name of a venue such as "hyperliquid"')
        try:
            find_venue(name)
        except ConfigError as exc:
            raise self.error("name", number, f"is wrong: {exc}") from None
        if not isinstance(pairs, list) or not all(isinstance(pair, str) and pair for pair in pairs):
            raise self.error("pairs", number, f'is {_shown(pairs)}, expected a list such as ["BTC-USD", "ETH-USD"]')
        rest = {key: value for key, value in table.items() if key not in ("name", "pairs")}
        values = self.settings(rest, OF_VENUE, GENERAL, number)
        if not pairs and not values.get("users"):
            raise self.error(
                "name", number, f"is {name}, of which neither pairs nor users are named: nothing to record"
            )
        return VenueConfig(name=name, pairs=tuple(pairs), **values)


def _shown(value: Any, setting: Setting | None = None) -> str:
    if setting is not None and isinstance(setting.kind, Url) and isinstance(value, str):
        value = public_url(value)  # an error may be sent to somebody
    text = toml_text(value) if isinstance(value, bool | int | str | list) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _keys(text: str) -> Iterator[tuple[int | None, str, int]]:
    """
    Keys of a file with their lines, and the number of the venue that they are of; the head of a venue is `_HEAD`.

    The lines of a value that goes over several are no keys, whatever they look like.
    """
    table: int | None = None
    depth, quotes = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not depth and not quotes:
            if re.match(r"\s*\[\[\s*[\"']?venue[\"']?\s*\]\]", line):
                table = 0 if table is None else table + 1
                yield table, _HEAD, number
                continue
            if found := re.match(r"\s*\[?\s*([\w-]+|\"[^\"]*\"|'[^']*')\s*[=.\]]", line):
                yield table, found[1].strip("\"'"), number
        if quotes:
            _, end, line = line.partition(quotes)
            if not end:
                continue
            quotes = ""
        for found in _TOKEN.finditer(line):
            quotes = found["opened"] or quotes
            depth = max(depth + {"[": 1, "]": -1}.get(found["bracket"], 0), 0)


def config_text(values: Mapping[str, Any], venues: Sequence[VenueConfig]) -> str:
    """
    A configuration as a file that `read_config` takes.

    What has no value is a comment, as is what a venue does by default. URLs are without user, password and keys.
    """
    from toolkit.venue import find_venue

    lines = []
    for setting in GENERAL:
        value = values.get(setting.key)
        lines.append(f"# {setting.key} =" if value is None else f"{setting.key} = {setting.written(value)}")
    for venue in venues:
        spec = find_venue(venue.name)
        lines += ["", "[[venue]]", f"name = {toml_text(venue.name)}", f"pairs = {toml_text(venue.pairs)}"]
        own = {"channels": spec.default_channels, "ws_url": spec.ws_url, "rest_url": spec.rest_url}
        for setting in OF_VENUE:
            value = getattr(venue, setting.key)
            if value:
                lines.append(f"{setting.key} = {setting.written(value)}")
            elif setting.key in own:
                lines.append(f"# {setting.key} = {toml_text(own[setting.key])}")
    return "\n".join(lines) + "\n"
