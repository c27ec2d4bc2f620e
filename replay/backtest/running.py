"""An order script on a recording: what is taken from where, and what came of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from recordings.queries.gaps import find_gaps
from recordings.recording import Recording
from replay.backtest.contracts import contract_of
from replay.backtest.exchange import FRAMES_IN_PYTHON, KERNELS, Exchange
from replay.backtest.gap_policy import Doubt, GapPolicy
from replay.backtest.latency_settings import LatencySetting, parse_latency
from replay.backtest.market import Assumed, Market, said_of
from replay.backtest.market_feed import market_events
from replay.backtest.reports import Fill
from replay.backtest.requests import OwnOrder, Refusal
from replay.backtest.scales import PairScale
from replay.backtest.script import Action, play_on_receipt, play_script, read_script
from replay.backtest.venue_clock import VenueScheduler, calibrate, venue_order
from replay.backtest.venue_facts import facts_of
from replay.ledger.money import Arithmetic, Contract, Fees, amount
from replay.market.core import MatchingCore, PairFacts
from replay.market.layout import BUY
from replay.market.rules import Rules
from replay.tape import Tape
from toolkit.accounts.exact_sums import ZERO
from toolkit.errors import ConfigError
from toolkit.kernels.disk_cache import are_compiled, note_compiled
from toolkit.keys import PairKey
from toolkit.messages import Instrument

__all__ = ["Clock", "ScriptRun", "clock_offset", "parse_latency", "recorded_scale", "run_script"]

#: As many events as plain Python matches in less time than compiling the core takes.
_EVENTS_IN_PYTHON: Final = 300_000


class Clock(enum.StrEnum):
    """Whose clock the simulated venue lives on."""

    #: Ours: the market acts when its frame is received.
    RECEIVE = "receive"
    #: The venue's: it acts at its own stamps.
    VENUE = "venue"


class ScriptRun(msgspec.Struct, frozen=True):
    """
    What came of a script.

    Attributes:
        pair: Pair that the script traded.
        clock: Clock that its venue lived on; that of the times of fills.
        scale: Its tick and lot, the finest there were.
        contract: Currencies and value of one unit of its size.
        rules: The rules of matching that were in force.
        latency: Latency settings that were in force.
        clock_offset_ns: The venue's clock less ours.
        actions: The script.
        refusals: Reason why each action was not sent; empty where it was.
        fills: Every execution, in order.
        orders: Every order that the venue took in or refused, as it was in the end, in the order they were sent.
        gaps: Gaps of the pair, as `recordings.queries.gaps` finds them, and holes between the recordings. On the venue's
            clock orders were matched across them as if nothing was missing.
        gap_policy: Rule for orders across one, on the receive clock.
        doubt: Counts of what rests on them, on the receive clock.
    """

    pair: PairKey
    clock: Clock
    scale: PairScale
    contract: Contract
    rules: Rules
    latency: LatencySetting
    clock_offset_ns: int
    actions: list[Action]
    refusals: list[str]
    fills: list[Fill]
    orders: list[OwnOrder]
    gaps: int
    gap_policy: GapPolicy
    doubt: Doubt

    @property
    def position(self) -> Decimal:
        """Bought less sold, exactly, in the unit of sizes."""
        return self.scale.lot * sum((1 if fill.side == BUY else -1) * fill.lots for fill in self.fills)

    @property
    def cash(self) -> Decimal:
        """What fills moved in the currency of settlement, without fees; of an inverse contract in units of 10**-30."""
        sums = Arithmetic(self.contract, Fees(maker=ZERO, taker=ZERO), self.scale.tick, self.scale.lot)
        sizes = ((fill.lots if fill.side == BUY else -fill.lots, fill.tick) for fill in self.fills)
        return amount(-sum(sums.worth(lots * sums.lot, tick * sums.tick) for lots, tick in sizes))


def run_script(
    recordings: Sequence[Recording],
    pair: PairKey,
    script: Path,
    *,
    clock: Clock = Clock.RECEIVE,
    rules: Rules | None = None,
    latency: LatencySetting | None = None,
    clock_offset_ns: int | None = None,
    gap_policy: GapPolicy = GapPolicy.KEEP,
    assumed: Mapping[str, Decimal] | None = None,
    compiled: bool | None = None,
) -> ScriptRun:
    """
    Play an order script.

    Args:
        recordings: Played as one.
        pair: Pair whose market the orders are for.
        script: The file; see `replay.backtest.script`.
        clock: Clock that the venue lives on.
        rules: Rules of matching; None for the defaults, and what of them is the venue's own on the receive clock.
        latency: None for the feed's own delay each way.
        clock_offset_ns: The venue's clock less ours; None for 0, which is refused where messages would have been
            received before they happened and it matters.
        gap_policy: Rule for orders across a gap, on the receive clock.
        assumed: `tick`, `lot`, `min_notional` and `contract_value`, in place of what is recorded.
        compiled: Whether to run machine code, or the same in plain Python; None to choose: compiling takes a while,
            once.

    Raises:
        ConfigError: A setting or a row of the script makes no sense, the recording holds no tick, no lot or no worth of an
            inverse contract, a price or size in it is off them, or orders rest across a gap and the policy is to fail.
        SymbolError: The pair is not in the recordings.
        RecordingError: A recording cannot be used.
    """
    tape = Tape(recordings, trading_pairs=[pair])
    tape.check_market()
    instruments = _instruments(recordings, pair)
    scale = _scale(pair, instruments, assumed or {})
    contract = contract_of(pair, instruments[-1] if instruments else None, (assumed or {}).get("contract_value"))
    if facts_of(pair.venue).is_inverse and contract.contract_value is None:
        raise ConfigError(
            f"{pair}: the recording does not say what a contract is worth; say so, for instance --assume contract_value=100"
        )
    actions = read_script(script, scale, span=(tape.first_ns, tape.last_ns))
    said = latency if latency is not None else LatencySetting(follows_feed=True)
    run = ScriptRun(
        pair=pair,
        clock=clock,
        scale=scale,
        contract=contract,
        rules=rules if rules is not None else Rules(),
        latency=said,
        clock_offset_ns=clock_offset_ns or 0,
        actions=actions,
        refusals=[],
        fills=[],
        orders=[],
        gaps=len(tape.holes) + sum(find_gaps(each, [pair]).height for each in recordings if pair in each.keys),
        gap_policy=gap_policy,
        doubt=Doubt(),
    )
    if clock is Clock.VENUE:
        return _at_venue(run, recordings, clock_offset_ns, compiled)
    if rules is None:
        run = msgspec.structs.replace(run, rules=facts_of(pair.venue).apply(run.rules))
    return _on_receipt(run, recordings, assumed or {}, compiled)


def _on_receipt(
    run: ScriptRun, recordings: Sequence[Recording], assumed: Mapping[str, Decimal], compiled: bool | None
) -> ScriptRun:
    tape = Tape(recordings, trading_pairs=[run.pair], channels=("book", "bbo", "trades", "funding", "instruments"))
    if compiled is None:
        frames = sum(segment.frame_count for recording in recordings for segment in recording.manifest.segments)
        compiled = are_compiled(KERNELS) or frames > FRAMES_IN_PYTHON
    exchange = Exchange(
        [Market(run.pair, assumed=Assumed(**assumed), scale=run.scale)],
        rules=run.rules,
        latency=run.latency.on_receipt(run.clock_offset_ns),
        gap_policy=run.gap_policy,
        compiled=compiled,
    )
    messages = (message for batch in tape.batches(exchange.fused_forms) for message in batch.messages)
    orders, refusals = play_on_receipt(exchange, messages, run.actions)
    if not exchange.has_market:
        raise ConfigError(f"{run.pair} has neither a book nor trades in this recording, so nothing can be matched")
    exchange.note_compiled()
    # By the ids of the script, which may give one again.
    ids = {order.order_id: int(order.tag) for order in orders}
    fills = [msgspec.structs.replace(each, order_id=ids[each.order_id]) for each in exchange.fills]
    for order in orders:
        order.order_id = int(order.tag)
    for span in (*exchange.doubt.bookless, *exchange.doubt.spans):
        span.orders = [ids[order_id] for order_id in span.orders]
        # What was so from the beginning has no message that said it.
        span.start_ns = span.start_ns or tape.first_ns
    return msgspec.structs.replace(
        run,
        scale=exchange.markets[0].scale or run.scale,
        refusals=_words(refusals),
        fills=fills,
        orders=orders,
        doubt=exchange.doubt,
    )


def _at_venue(
    run: ScriptRun, recordings: Sequence[Recording], clock_offset_ns: int | None, compiled: bool | None
) -> ScriptRun:
    events = market_events(recordings, {run.pair: run.scale})
    if not len(events):
        raise ConfigError(f"{run.pair} has neither a book nor trades in this recording, so nothing can be matched")
    offset = clock_offset(events, clock_offset_ns)
    if compiled is None:
        compiled = are_compiled(KERNELS) or len(events) > _EVENTS_IN_PYTHON
    core = MatchingCore([PairFacts()], run.rules, compiled=compiled)
    latency = run.latency.at_venue(events, offset)
    scheduler = VenueScheduler(core, venue_order(events), latency, clock_offset_ns=offset)
    refusals = play_script(scheduler, run.actions)
    if compiled and core.has_arrivals:
        note_compiled(KERNELS)
    return msgspec.structs.replace(
        run,
        clock_offset_ns=offset,
        refusals=_words(refusals),
        fills=scheduler.fills,
        orders=scheduler.own.sent,
    )


def _words(refusals: Sequence[Refusal | None]) -> list[str]:
    return ["" if refusal is None else str(refusal) for refusal in refusals]


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


def recorded_scale(recordings: Sequence[Recording], pair: PairKey, assumed: Mapping[str, Decimal]) -> PairScale:
    """
    Tick and lot of a pair: as assumed, else the finest that was recorded.

    Where the tick depends on the price it is the finest there can be, and the scale says by which rule, unless the tick
    is assumed. Raises ConfigError where neither says one.
    """
    return _scale(pair, _instruments(recordings, pair), assumed)


def _instruments(recordings: Sequence[Recording], pair: PairKey) -> list[Instrument]:
    """All that a venue said of a pair, in order."""
    tape = Tape(recordings, trading_pairs=[pair], channels=("instruments",))
    messages = (message for batch in tape.batches(lambda *_: ()) for message in batch.messages)
    return [
        each for each in messages if isinstance(each, Instrument) and PairKey(each.venue, each.trading_pair) == pair
    ]


def _scale(pair: PairKey, instruments: Sequence[Instrument], assumed: Mapping[str, Decimal]) -> PairScale:
    found: dict[str, list[Decimal]] = {"tick": [], "lot": []}
    figures: list[int | None] = []
    for instrument in instruments:
        tick, lot, most = said_of(instrument)
        found["tick"] += [] if tick is None else [tick]
        found["lot"] += [] if lot is None else [lot]
        figures.append(most)
    steps = {}
    for name, values in found.items():
        step = assumed.get(name, min(values, default=None))
        if step is None:
            raise ConfigError(f"{pair}: the recording says no {name}; give one, for instance --assume {name}=0.1")
        steps[name] = step
    limits = [each for each in figures if each is not None]
    is_bound = "tick" not in assumed and len(limits) == len(figures)
    return PairScale(pair.trading_pair, steps["tick"], steps["lot"], max(limits, default=None) if is_bound else None)
