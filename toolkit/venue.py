"""
What the shared code needs to know of a venue, and how it finds the venues there are.

A venue is one of the `SPECS` of a package below `toolkit/venues/`, with whose name its own begins. Nothing outside names
it: adding one is adding a folder.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from toolkit.errors import ConfigError
from toolkit.protocol import ProtocolOptions, VenueProtocol

__all__ = ["VenueLimits", "VenueSpec", "find_venue", "is_venue", "venues"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueLimits:
    """
    What the venue allows one client; the transports keep below it.

    Attributes:
        connections_max: WebSocket connections at once.
        connects_per_minute: New WebSocket connections.
        messages_per_minute: Messages we may send, over all connections.
        messages_per_second: Messages we may send on one connection; None where there is no such rule.
        rest_weight_per_minute: Sum of the weights of REST requests.
        frame_bytes_max: A larger frame is not a frame of this venue; the connection is closed.
        ban_s_max: Longest time for which it documents to shut an address out. It is left alone for no longer, whatever
            its `Retry-After` says: one wrong header must not end a recording.
    """

    connections_max: int
    connects_per_minute: float
    messages_per_minute: float
    messages_per_second: float | None = None
    rest_weight_per_minute: float = 1200
    frame_bytes_max: int = 16 * 1024 * 1024
    ban_s_max: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueSpec:
    """
    A venue, as the command line and the live source see it.

    Attributes:
        name: Name in frames, messages and on the command line.
        title: Name that people use.
        ws_url: Its WebSocket.
        rest_url: Its REST interface.
        limits: Limits for one client.
        make_protocol: Builds its protocol from the user's options.
        channels: Every stream it has, in its own words, and what each is.
        default_channels: Channels that are recorded unless the user names others.
        venue_of: The venue that a WebSocket frame is of, where frames of several can be read as one another's; None where
            a frame does not tell, and always where no other venue sends such frames.
        has_accounts: Whether its account streams can be recorded.
        archive_file: A file, as an example, of its own archive of lines `{"time": ..., "raw": {...}}`; empty where it has
            none that can be imported.
    """

    name: str
    title: str
    ws_url: str
    rest_url: str
    limits: VenueLimits
    make_protocol: Callable[[ProtocolOptions], VenueProtocol]
    channels: dict[str, str]
    default_channels: tuple[str, ...]
    venue_of: Callable[[bytes], str | None] = lambda _: None
    has_accounts: bool = False
    archive_file: str = ""

    def check_accounts(self, accounts: Sequence[str]) -> None:
        """Raise ConfigError for accounts at a venue whose market alone is recorded."""
        if accounts and not self.has_accounts:
            having = ", ".join(spec.name for spec in venues().values() if spec.has_accounts)
            raise ConfigError(
                f"{self.name}: {accounts[0]!r:.80} was named, and of this venue the market alone is recorded; "
                f"leave accounts out, or name them at one that has them ({having})"
            )


@cache
def venues() -> dict[str, VenueSpec]:
    """Every venue there is, by name, in alphabetical order."""
    specs = [spec for package in _packages() for spec in _specs(package)]
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}


def is_venue(name: str) -> bool:
    """Whether there is a venue of that name."""
    return _spec(name) is not None


def find_venue(name: str) -> VenueSpec:
    """The venue of that name. Raises ConfigError that lists those there are."""
    spec = _spec(name)
    if spec is not None:
        return spec
    known = venues()
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ConfigError(f"unknown venue {name!r}, expected one of {', '.join(known)}{hint}")


def _spec(name: str) -> VenueSpec | None:
    """Loads the package that may have it, not the others: a command needs a tenth of a second for each."""
    candidates = (package for package in _packages() if name.startswith(package))
    return next((spec for package in candidates for spec in _specs(package) if spec.name == name), None)


def _packages() -> list[str]:
    package = importlib.import_module("toolkit.venues")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


@cache
def _specs(package: str) -> tuple[VenueSpec, ...]:
    specs: tuple[VenueSpec, ...] = importlib.import_module(f"toolkit.venues.{package}").SPECS
    return specs
