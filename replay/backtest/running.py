"""An order script on a recording: what is taken from where, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from recordings.queries.gaps import find_gaps
from recordings.recording import Recording
from replay.backtest.latency import ConstantLatency, Latency, latency_of_feed
from replay.backtest.market_feed import market_events
from replay.backtest.requests import OwnOrder
from replay.backtest.scales import PairScale
from replay.backtest.script import Action, play_script, read_script
from replay.backtest.venue_clock import Fill, VenueScheduler, calibrate, venue_order
from replay.market.core import MatchingCore, PairFacts
from replay.market.layout import BUY
from replay.market.rules import Rules
from replay.tape import Tape
from toolkit.errors import ConfigError
from toolkit.kernels.disk_cache import are_compiled, note_compiled
from toolkit.keys import PairKey
from toolkit.messages import Instrument
from toolkit.timing.times import duration_ns

__all__ = ["LatencySetting", "ScriptRun", "clock_offset", "parse_latency", "recorded_scale", "run_script"]

#: The core's kernels on the shelf, and as many events as plain Python matches in less time than compiling them takes.
_KERNELS: Final = "matching"
_EVENTS_IN_PYTHON: Final = 300_000
_LATENCY_EXAMPLES: Final = "feed, entry=3.5ms,response=2ms, or feed,entry=1ms"
_ZERO: Final = re.compile(r"0(\.0+)?(ns|us|ms|s|m|h|d)")


class LatencySetting(msgspec.Struct, frozen=True):
    """
    What was said of latency.

    Attributes:
        entry_ns: From us to the venue.
        response_ns: And back.
        follows_feed: Whether these are added to the feed's own delay at that time.
    """

    entry_ns: int = 0
    response_ns: int = 0
    follows_feed: bool = False


class ScriptRun(msgspec.Struct, frozen=True):
    """
    What came of a script.

    Attributes:
        pair: Which pair.
        scale: Its tick and lot.
        rules: The rules of matching that were in force.
        latency: What was said of it.
        clock_offset_ns: The venue's clock less ours.
        actions: The script.
        refusals: Of each action why it was not sent; empty where it was.
        fills: Every execution, in order.
        orders: Every order that the venue took in or refused, as it was in the end, in the order they were sent.
        gaps: Gaps of the pair, as `recordings.queries.gaps` finds them, and holes between the recordings. Orders were matched
            across them as if nothing was missing.
    """

    pair: PairKey
    scale: PairScale
    rules: Rules
    latency: LatencySetting
    clock_offset_ns: int
    actions: list[Action]
    refusals: list[str]
    fills: list[Fill]
    orders: list[OwnOrder]
    gaps: int

    @property
    def position(self) -> Decimal:
        """Bought less sold, exactly, in the unit of sizes."""
        return self.scale.lot * sum((1 if fill.side == BUY else -1) * fill.lots for fill in self.fills)

    @property
    def cash(self) -> Decimal:
        """Sold less bought at their prices, exactly and without fees: price times size, as of a contract that is linear."""
        paid = sum((-1 if fill.side == BUY else 1) * fill.lots * fill.tick for fill in self.fills)
        return self.scale.lot * self.scale.tick * paid


def run_script(
    recordings: Sequence[Recording],
    pair: PairKey,
    script: Path,
    *,
    rules: Rules | None = None,
    latency: LatencySetting | None = None,
    clock_offset_ns: int | None = None,
    assumed: dict[str, Decimal] | None = None,
    compiled: bool | None = None,
) -> ScriptRun:
    """
    Play an order script on the venue's clock.

    Args:
        recordings: Played as one.
        pair: Whose market the orders are for.
        script: The file; see `replay.backtest.script`.
        rules: Of matching; None for the defaults.
        latency: None for the feed's own delay each way.
        clock_offset_ns: The venue's clock less ours; None for 0, which is refused where messages would have been
            received before they happened.
        assumed: `tick` and `lot`, in place of what is recorded.
        compiled: Whether to run machine code, or the same in plain Python; None to choose: compiling takes a while,
            once.

    Raises:
        ConfigError: A setting or a row of the script makes no sense, the recording holds neither tick nor lot, or a price
            or size in it is off them.
        SymbolError: The pair is not in the recordings.
        RecordingError: A recording cannot be used.
    """
    tape = Tape(recordings, trading_pairs=[pair])
    tape.check_frames()
    scale = recorded_scale(recordings, pair, assumed or {})
    actions = read_script(script, scale, span=(tape.first_ns, tape.last_ns))
    events = market_events(recordings, {pair: scale})
    if not len(events):
        raise ConfigError(f"{pair} has neither a book nor trades in this recording, so nothing can be matched")
    offset = clock_offset(events, clock_offset_ns)
    said = latency if latency is not None else LatencySetting(follows_feed=True)
    if compiled is None:
        compiled = are_compiled(_KERNELS) or len(events) > _EVENTS_IN_PYTHON
    core = MatchingCore([PairFacts()], rules if rules is not None else Rules(), compiled=compiled)
    scheduler = VenueScheduler(core, venue_order(events), _model(said, events, offset), clock_offset_ns=offset)
    refusals = play_script(scheduler, actions)
    if compiled and core.has_arrivals:
        note_compiled(_KERNELS)
    return ScriptRun(
        pair,
        scale,
        core.rules,
        said,
        offset,
        actions,
        ["" if refusal is None else str(refusal) for refusal in refusals],
        scheduler.fills,
        scheduler.own.sent,
        len(tape.holes) + sum(find_gaps(each, [pair]).height for each in recordings if pair in each.keys),
    )


def _model(setting: LatencySetting, events: npt.NDArray[np.void], offset: int) -> Latency:
    if not setting.follows_feed:
        return ConstantLatency(entry=setting.entry_ns, response=setting.response_ns)
    return latency_of_feed(
        events, clock_offset_ns=offset, entry_add_ns=setting.entry_ns, response_add_ns=setting.response_ns
    )


def clock_offset(events: npt.NDArray[np.void], given: int | None) -> int:
    """
    The venue's clock less ours, as it was given; 0 where it was not.

    Raises ConfigError for 0 that was not given and cannot be: a message would have been received before it happened.
    """
    if given is not None:
        return given
    proposed = calibrate(events)
    if proposed > 0:
        raise ConfigError(
            f"messages were received up to {proposed} ns before the venue says they happened: the clocks differ; say"
            f" --clock-offset {proposed}ns, by which the fastest message took no time, or more"
        )
    return 0


def recorded_scale(recordings: Sequence[Recording], pair: PairKey, assumed: dict[str, Decimal]) -> PairScale:
    """
    Tick and lot of a pair: as assumed, else the finest that was recorded.

    Where the tick depends on the price it is the finest there can be, and the scale says by which rule, unless the tick
    is assumed. Raises ConfigError where neither says one.
    """
    found: dict[str, list[Decimal]] = {"tick": [], "lot": []}
    figures: list[int | None] = []
    if len(assumed) < len(found):
        tape = Tape(recordings, trading_pairs=[pair], channels=("instruments",))
        for batch in tape.batches(lambda *_: ()):
            for message in batch.messages:
                if isinstance(message, Instrument) and PairKey(message.venue, message.trading_pair) == pair:
                    _note(message, found)
                    figures.append(None if message.price_tick is not None else message.price_figures_max)
    steps = {}
    for name, values in found.items():
        step = assumed.get(name, min(values, default=None))
        if step is None:
            raise ConfigError(f"{pair}: the recording says no {name}; give one, for instance --assume {name}=0.1")
        steps[name] = step
    limits = [each for each in figures if each is not None]
    is_bound = "tick" not in assumed and len(limits) == len(figures)
    return PairScale(pair.trading_pair, steps["tick"], steps["lot"], max(limits, default=None) if is_bound else None)


def _note(message: Instrument, found: dict[str, list[Decimal]]) -> None:
    if message.price_tick is not None:
        found["tick"].append(Decimal(repr(message.price_tick)))
    elif message.price_decimals_max is not None:
        found["tick"].append(Decimal(1).scaleb(-message.price_decimals_max))
    if message.size_step is not None:
        found["lot"].append(Decimal(repr(message.size_step)))


def parse_latency(text: str) -> LatencySetting:
    """
    Latency as it is written on a command line: `entry=3.5ms,response=2ms`, `feed`, or both, which are added then.

    Raises ConfigError for anything else: a number needs a unit, and none is below zero.
    """
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, _, length = part.strip().partition("=")
        key = {"feed": "follows_feed", "entry": "entry_ns", "response": "response_ns"}.get(name)
        if key is None or key in values or (name == "feed") == bool(length):
            raise ConfigError(
                f"latency {text!r}: {part.strip()!r} is not understood; expected for instance {_LATENCY_EXAMPLES}"
            )
        values[key] = True if name == "feed" else _length(text, length)
    if not values.get("follows_feed") and len(values) < 2:
        raise ConfigError(f"latency {text!r} says one way only; expected both, for instance {_LATENCY_EXAMPLES}")
    return LatencySetting(**values)


def _length(text: str, length: str) -> int:
    if _ZERO.fullmatch(length):
        return 0
    try:
        return duration_ns(length)
    except ConfigError:
        raise ConfigError(
            f"latency {text!r}: {length!r} is no length of time; expected for instance {_LATENCY_EXAMPLES}"
        ) from None
