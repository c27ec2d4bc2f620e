"""
`oracle`: another program's results on the same captures, met fill for fill or not.

A folder of the oracle holds one file per strategy and capture, and `micro.json` with hand-made tapes; its README says
what is in them. Every run is done again here: capture to recording by the importer, recording to events by the
replay, its actions as an order script, with the scheduler `venue` and the rules of the preset.

| of a run              | must be equal                                                                     |
|-----------------------|-----------------------------------------------------------------------------------|
| without partial fills | fills (time, order, side, price, size, role) and the final state of the account   |
| with partial fills    | fills, and the final state that follows from them                                 |
| stopped by the other  | fills up to there                                                                 |
| of the grids          | the same, and how many requests and responses there were: the strategy is run     |
| hand-made             | fills, and what became of each request                                            |

At one time the order among own orders is not defined, so fills are compared as sets per time.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.oracle_account import Account, compare_states
from benchmarks.oracle_grid import play_grid
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.backtest.latency import ConstantLatency, InterpolatedLatency, Latency
from replay.backtest.market_feed import market_events
from replay.backtest.requests import Refusal
from replay.backtest.scales import PairScale
from replay.backtest.script import play_script, script_actions
from replay.backtest.venue_clock import Fill, VenueScheduler, venue_order
from replay.market.core import MatchingCore, PairFacts
from replay.market.layout import EVENT, EventCode
from replay.market.rules import Rules, hftbacktest
from toolkit.clock import NS_PER_MS
from toolkit.errors import ConfigError
from toolkit.venue import venues

__all__ = ["MICRO", "Verdict", "check_micro", "check_runs", "files_of", "micro_events", "oracle_rules"]

MICRO: Final = "micro.json"
#: No recorded size has more decimals.
_LOT_LEAST: Final = Decimal("1e-9")
_SIDES: Final = ("buy", "sell")
_ROLES: Final = ("", "maker", "taker")
_CODES: Final = {None: 0, Refusal.KNOWN_ID: 10, Refusal.PENDING: 11, Refusal.UNKNOWN_ID: 12}
_MICRO_CODES: Final = {
    "depth": EventCode.LEVEL,
    "snapshot": EventCode.LEVEL,
    "trade": EventCode.TRADE,
    "clear": EventCode.CLEAR,
}
_MICRO_SIDES: Final = {"bid": 0, "buy": 0, "ask": 1, "sell": 1}

Row = list[Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What came of one run.

    Attributes:
        file: Its file.
        name: Name of the run in the file.
        fills: How many the oracle has.
        difference: The first one; empty where the run is met.
    """

    file: str
    name: str
    fills: int
    difference: str


def files_of(oracle: Path, only: str = "*", *, with_micro: bool = False) -> list[Path]:
    """The oracle's files whose name fits the pattern, or holds it."""
    paths = sorted(oracle.glob("*.json"))
    return [path for path in paths if (with_micro or path.name != MICRO) and fnmatch.fnmatch(path.name, f"*{only}*")]


def oracle_rules(queue: str, exchange: str) -> Rules:
    """The preset for a run's words: `risk` or `power3:3`, `partial` or `nopartial`."""
    name, _, power = queue.partition(":")
    return hftbacktest("pessimistic" if name == "risk" else name, float(power or 1), partial=exchange == "partial")


# -- hand-made tapes -----------------------------------------------------------------------------------------------


def micro_events(tape: list[Row], feed_ns: int) -> npt.NDArray[np.void]:
    """A hand-made tape as events."""
    events = np.zeros(len(tape), EVENT)
    for place, (row, (time, kind, side, price, size)) in enumerate(zip(events, tape, strict=True)):
        row["time"], row["recv"], row["frame"] = time, time + feed_ns, place
        row["code"], row["side"] = _MICRO_CODES[kind], _MICRO_SIDES[side]
        row["tick"], row["lots"], row["count"] = price, size, -1
    return events


def check_micro(oracle: Path, *, compiled: bool = True) -> Iterator[Verdict]:
    """Every hand-made tape."""
    document = json.loads((oracle / MICRO).read_bytes())
    scale = PairScale("micro", Decimal(1), Decimal(1))
    for case in document["cases"]:
        core = MatchingCore([PairFacts()], oracle_rules(case["queue"], case["exchange"]), compiled=compiled)
        entry, response = case["latency"]
        latency = ConstantLatency(entry=entry, response=response)
        scheduler = VenueScheduler(core, micro_events(case["tape"], document["feed_latency"]), latency)
        refusals = play_script(scheduler, script_actions([_micro_row(row) for row in case["actions"]], scale))
        fills = _rows(scheduler.fills, scale)
        difference = _compare(fills, case["fills"])
        codes = [_CODES[refusal] for refusal in refusals]
        if not difference and codes != case["return_codes"]:
            difference = f"return codes {codes}, expected {case['return_codes']}"
        name = f"{case['name']} {case['queue']} {case['exchange']} {entry}/{response}"
        yield Verdict(MICRO, name, len(case["fills"]), difference)


def _micro_row(row: Row) -> Row:
    """Market orders there have a price of 0, which a script leaves out."""
    return [*row[:3], row[3] or None, *row[4:]]


# -- runs on captures ----------------------------------------------------------------------------------------------


def check_runs(path: Path, data: Path, folder: Path, *, runs: slice = slice(None)) -> Iterator[Verdict]:
    """
    The runs of one file.

    Args:
        path: The file.
        data: Folder of captures, with a folder per exchange.
        folder: Where recordings are made and found again.
        runs: Names of the runs to check.

    Yields:
        A verdict per run.
    """
    document = json.loads(path.read_bytes())
    market = OracleMarket(document, data, folder)
    for run in document["runs"][runs]:
        name = f"{run['latency']} {run['queue']} {run['exchange']}"
        yield Verdict(path.name, name, len(run["fills"]), market.check(run))


class OracleMarket:
    """The market of one file of the oracle, and the runs on it."""

    def __init__(self, document: dict[str, Any], data: Path, folder: Path) -> None:
        self.document = document
        self.offset: int = document["clock_offset_ns"]
        facts = document["instrument"]
        # A tenth of a lot was divided there as a float64, so its last digits are not meant.
        tick, lot = (Decimal(f"{facts[name]:.12g}") for name in ("tick", "lot"))
        recording = _recording(document, data, folder)
        pair = recording.trading_pairs[0]
        self.scale, self.events = _finest(recording, PairScale(pair, tick, lot))
        grain = int(lot / self.scale.lot)
        self.facts = PairFacts(grain=grain, lots_per_unit=float(1 / self.scale.lot), lot=facts["lot"])
        self.at_venue = venue_order(self.events)

    def scheduler(self, run: dict[str, Any]) -> VenueScheduler:
        """A fresh market for a run."""
        core = MatchingCore([self.facts], oracle_rules(run["queue"], run["exchange"]))
        return VenueScheduler(core, self.at_venue, self._latency(run["latency"]), clock_offset_ns=self.offset)

    def _latency(self, words: str) -> Latency:
        if words != "intp":
            entry, response = (int(part.removesuffix("ms")) * NS_PER_MS for part in words.split("/"))
            return ConstantLatency(entry=entry, response=response)
        rows = [
            (sent - self.offset, at, heard - self.offset) for sent, at, heard in self.document["intp_table"]["rows"]
        ]
        return InterpolatedLatency(rows, self.offset)

    def check(self, run: dict[str, Any]) -> str:
        """The first difference of a run; empty where there is none."""
        scheduler = self.scheduler(run)
        if "actions" in run:
            rows = [[row[0] - self.offset, *row[1:7]] for row in run["actions"]]
            refusals = play_script(scheduler, script_actions(rows, self.scale))
            if any(refusals):
                place = next(place for place, refusal in enumerate(refusals) if refusal)
                return f"action {place + 1} refused: {refusals[place]}"
        else:
            counts = play_grid(scheduler, self.events, self.document, self.scale)
            if counts != {name: run["counts"][name] for name in counts}:
                return f"counts {counts}, expected {run['counts']}"
        fills = _rows(scheduler.fills, self.scale)
        expected = run["fills"]
        is_stopped = "stopped" in run["ended"]
        if is_stopped:
            fills = sorted(fills, key=_key)[: len(expected)]
        difference = _compare(fills, expected)
        if difference or is_stopped:
            return difference
        account = Account(self.document["instrument"])
        is_whole = run["exchange"] == "nopartial"
        account.take_all(fills)
        return compare_states(account.state(), run["final_local" if is_whole else "final_exchange"])


def _finest(recording: Recording, scale: PairScale) -> tuple[PairScale, npt.NDArray[np.void]]:
    """The market, with a lot that is as fine as the recorded sizes, which may be finer than those of orders."""
    (key,) = recording.keys
    while True:
        try:
            return scale, market_events([recording], {key: scale})
        except ConfigError:
            if scale.lot < _LOT_LEAST:
                raise
            scale = PairScale(scale.pair, scale.tick, scale.lot / 10)


def _recording(document: dict[str, Any], data: Path, folder: Path) -> Recording:
    """The recording of a capture: imported the first time. The venue's name is that of the folder and of the file."""
    target = folder / document["data"]
    if not target.exists():
        source = Path(document["source"])
        places = [data / source.parent.name / source.name, data / source.name]
        capture = next((place for place in places if place.is_file()), None)
        if capture is None:
            raise ConfigError(
                f"no capture at {places[0]}, as {document['data']} needs it; --data names the folder of captures"
            )
        kind = document["data"].partition("_")[0]
        fitting = [name for name in venues() if name.startswith(source.parent.name) and name.endswith(kind)]
        if len(fitting) != 1:
            raise ConfigError(
                f"{document['data']}: no venue of {', '.join(venues())} is meant by {source.parent.name} {kind}"
            )
        import_capture([capture], target, ImportOptions(venue=fitting[0], line_format="collector"))
    return Recording.open(target)


def _rows(fills: list[Fill], scale: PairScale) -> list[Row]:
    return [
        [each.venue_ns, each.order_id, _SIDES[each.side], each.tick, scale.size(each.lots), _ROLES[each.role]]
        for each in fills
    ]


def _key(row: Row) -> tuple[int, int]:
    return row[0], row[1]


def _compare(found: list[Row], expected: list[Row]) -> str:
    """The first fill that differs; of one time and order they stay in their order."""
    ours, theirs = sorted(found, key=_key), sorted(expected, key=_key)
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False), 1):
        same = one[:4] == other[:4] and one[5] == other[5] and abs(one[4] - other[4]) <= 1e-9 * max(1.0, abs(other[4]))
        if not same:
            return f"fill {number} is {one}, expected {other}"
    if len(ours) != len(theirs):
        first = (ours if len(ours) > len(theirs) else theirs)[min(len(ours), len(theirs))]
        return f"{len(ours)} fills, expected {len(theirs)}; the first without another is {first}"
    return ""
