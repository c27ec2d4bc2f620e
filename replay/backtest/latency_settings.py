"""
Latency as it is written on a command line: `feed`, `entry=3.5ms,response=2ms`, `feed,entry=1ms`, `trips=orders.csv`.

`new.`, `amend.` and `cancel.` before `entry` or `response` say it for one kind of request. Every length has a unit, and
none is below zero. `times=2` makes all of that twice as long, and `times=0` nothing.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from replay.backtest.latency import ConstantLatency, InterpolatedLatency, Latency, latency_of_feed
from replay.backtest.receive_latency import (
    ConstantReceiveLatency,
    FeedReceiveLatency,
    LatencyModel,
    TripReceiveLatency,
)
from replay.market.layout import RequestCode
from toolkit.errors import ConfigError
from toolkit.timing.times import duration_ns

__all__ = ["LatencySetting", "parse_latency", "read_trips"]

_EXAMPLES: Final = "feed, entry=3.5ms,response=2ms, feed,entry=1ms, or entry=3.5ms,cancel.entry=2ms,response=2ms"
_FACTOR: Final = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)
_ZERO: Final = re.compile(r"0(\.0+)?(ns|us|ms|s|m|h|d)")
_ACTIONS: Final[Mapping[str, tuple[RequestCode, ...]]] = {
    "new": (RequestCode.NEW,),
    "amend": (RequestCode.AMEND,),
    "cancel": (RequestCode.CANCEL, RequestCode.CANCEL_ALL),
}
_COLUMNS: Final = ("request", "exchange", "response")


class LatencySetting(msgspec.Struct, frozen=True):
    """
    What was said of latency.

    Attributes:
        entry_ns: Latency from us to the venue.
        response_ns: And back.
        follows_feed: Whether these are added to the feed's own delay at that time.
        by_action: The same for one kind of request: `cancel.entry` to ns.
        trips: File of recorded round trips, which stands for all of that; empty: none.
        times: Factor on all of it.
    """

    entry_ns: int = 0
    response_ns: int = 0
    follows_feed: bool = False
    by_action: Mapping[str, int] = {}
    trips: str = ""
    times: float = 1.0

    def on_receipt(self, clock_offset_ns: int = 0) -> LatencyModel:
        """The model on our receive clock. Raises ConfigError for a file of round trips that is none."""
        if self.trips:
            # The clock offset of the round trips and of the feed are one, and cancel out.
            trips = InterpolatedLatency(read_trips(Path(self.trips)), clock_offset_ns)
            return TripReceiveLatency(trips, clock_offset_ns=clock_offset_ns, times=self.times)
        entries: dict[RequestCode, int] = {}
        responses: dict[RequestCode, int] = {}
        for name, length in self.by_action.items():
            action, _, way = name.partition(".")
            (entries if way == "entry" else responses).update(dict.fromkeys(_ACTIONS[action], self._times(length)))
        constant = ConstantReceiveLatency(
            entry=self._times(self.entry_ns),
            response=self._times(self.response_ns),
            entries=entries,
            responses=responses,
        )
        if not self.follows_feed:
            return constant
        return FeedReceiveLatency(constant, clock_offset_ns=clock_offset_ns, times=self.times)

    def _times(self, length_ns: int) -> int:
        return round(length_ns * self.times)

    def at_venue(self, events: npt.NDArray[np.void], clock_offset_ns: int) -> Latency:
        """The model on the venue's clock. Raises ConfigError for what it has no place for."""
        if self.by_action:
            name = next(iter(self.by_action))
            raise ConfigError(f"latency {name} is of one kind of request, which is for the receive clock only")
        if self.times != 1 and (self.trips or self.follows_feed):
            raise ConfigError(
                f"latency times={self.times:g} of the feed or of round trips is for the receive clock only;"
                " entry=3.5ms,response=2ms can be multiplied on both"
            )
        if self.trips:
            return InterpolatedLatency(read_trips(Path(self.trips)), clock_offset_ns)
        if not self.follows_feed:
            return ConstantLatency(entry=self._times(self.entry_ns), response=self._times(self.response_ns))
        return latency_of_feed(
            events, clock_offset_ns=clock_offset_ns, entry_add_ns=self.entry_ns, response_add_ns=self.response_ns
        )


def parse_latency(text: str) -> LatencySetting:
    """
    Read what a command line says of latency.

    Raises ConfigError for anything else: a number needs a unit, and none is below zero.
    """
    lengths: dict[str, int] = {}
    said: set[str] = set()
    trips, times = "", 1.0
    for part in text.split(","):
        name, sign, value = part.strip().partition("=")
        action, dot, way = name.rpartition(".")
        is_length = way in ("entry", "response") and (action in _ACTIONS if dot else True)
        if (
            name in said
            or bool(sign and value) == (name == "feed")
            or not (is_length or name in ("feed", "trips", "times"))
        ):
            raise ConfigError(
                f"latency {text!r}: {part.strip()!r} is not understood; expected for instance {_EXAMPLES}"
            )
        said.add(name)
        if is_length:
            lengths[name] = _length(text, value)
        elif name == "trips":
            trips = value
        elif name == "times":
            times = _factor(text, value)
    follows_feed = "feed" in said
    if trips and len(said - {"times"}) > 1:
        raise ConfigError(
            f"latency {text!r}: recorded round trips stand for everything else, expected trips=FILE alone"
        )
    if not (trips or follows_feed or {"entry", "response"} <= said):
        raise ConfigError(f"latency {text!r} says one way only; expected both, for instance {_EXAMPLES}")
    entry, response = lengths.pop("entry", 0), lengths.pop("response", 0)
    return LatencySetting(entry, response, follows_feed, lengths, trips, times)


def _factor(text: str, value: str) -> float:
    if not _FACTOR.fullmatch(value):
        raise ConfigError(f"latency {text!r}: times is {value!r}, expected a number of 0 or more, for instance times=2")
    return float(value)


def _length(text: str, length: str) -> int:
    if _ZERO.fullmatch(length):
        return 0
    try:
        return duration_ns(length)
    except ConfigError:
        raise ConfigError(
            f"latency {text!r}: {length!r} is no length of time of 0 or more with its unit; expected for instance"
            f" {_EXAMPLES}"
        ) from None


def read_trips(path: Path) -> list[tuple[int, int, int]]:
    """
    Recorded round trips of orders: when each was sent, taken in by the venue (0: lost) and answered, ns since the epoch.

    A JSON list of `[request, exchange, response]`, or a CSV file with those columns. The first and the last are of our
    clock, the second of the venue's.

    Raises:
        ConfigError: It cannot be read, or is neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"round trips {path} cannot be read: {exc}") from exc
    rows: Sequence[Any]
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ConfigError(f"round trips {path} are no JSON: {exc}") from exc
    else:
        table = csv.DictReader(text.splitlines())
        missing = [name for name in _COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise ConfigError(f"round trips {path} have no column {missing[0]}, expected {', '.join(_COLUMNS)}")
        rows = [[row[name] for name in _COLUMNS] for row in table]
    trips = []
    for number, row in enumerate(rows, 1):
        try:
            sent, taken, answered = (int(each) for each in row)
        except (TypeError, ValueError):
            raise ConfigError(
                f"round trips {path}, row {number}: found {row!r}, expected request, exchange and response in ns"
            ) from None
        trips.append((sent, taken, answered))
    return trips
