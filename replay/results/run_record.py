"""What a run leaves behind: the rows that its result is written from. `run_recorder.py` makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from replay.backtest.requests import Trigger
from replay.ledger.equity import EquityCourse
from replay.ledger.fee_tiers import TierChange
from replay.ledger.ledger import Ledger, LedgerEntry, LedgerMarket
from replay.ledger.margin_rules import Liquidation
from replay.results.run_study import RunStudy
from replay.results.spooled_rows import SpooledRows
from toolkit.account_messages import OrderState
from toolkit.messages import BookTop, Message

__all__ = ["DecisionRow", "EquityRow", "FillRow", "GapRow", "OrderRow", "Placed", "RunHead", "RunRecord", "SeriesRow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHead:
    """
    What was run. Everything here is JSON, and the same for the same run.

    Attributes:
        strategy: Name of the class.
        kind: `backtest` or `paper`.
        source: Name of the strategy's file, without its folder.
        source_hash: Hash of the file's content.
        parameters: Parameters as they were in force.
        seed: Seed of `ctx.rng`.
        rules: Rules of matching by name.
        latency: Latency in words.
        gap_policy: Rule for resting orders at a gap.
        settings: Anything else that makes a difference to the run.
        recordings: Name, digest and span of each; shown, not compared.
        software: Names and versions; likewise.
    """

    strategy: str
    kind: str = "backtest"
    source: str = ""
    source_hash: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    rules: Mapping[str, Any] = field(default_factory=dict)
    latency: str = ""
    gap_policy: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    recordings: Sequence[Mapping[str, Any]] = ()
    software: Mapping[str, str] = field(default_factory=dict)


class OrderRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What the venue said of an order, as it was received.

    Attributes:
        now_ns: When it was received.
        venue_ns: When it happened at the venue; None where the venue never received it.
        pair: Place of the pair.
        order_id: The number of the order.
        state: State of the order after it.
        status: The venue's own word.
        side: 0 buy, 1 sell.
        tick: Limit price; None of a market order.
        lots: Lots of the order.
        left: Still to be filled.
        client_order_id: The owner's id.
        created_ns: When the venue took it in; None for the first time that it was seen there.
        order_type: `limit` or `market`.
        time_in_force: Time in force in the venue's words, lower case.
        is_reduce_only: Whether it may only reduce a position.
        trigger: Condition that wakes it; None: it is awake at once.
    """

    now_ns: int
    venue_ns: int | None
    pair: int
    order_id: int
    state: OrderState
    status: str
    side: int
    tick: int | None
    lots: int
    left: int
    client_order_id: str | None = None
    created_ns: int | None = None
    order_type: str = "limit"
    time_in_force: str = "gtc"
    is_reduce_only: bool = False
    trigger: Trigger | None = None


class FillRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    One execution, as it was received.

    Attributes:
        now_ns: When it was received.
        venue_ns: When it happened.
        pair: Place of the pair.
        order_id: Number of the order.
        side: 0 buy, 1 sell.
        tick: Price.
        lots: Size.
        role: `Role.MAKER` or `Role.TAKER`.
        client_order_id: The owner's id.
        is_uncertain: The order rested across a gap, so that it is not known whether it would have been filled.
        rate: Fee of the execution, in units of 10**-12 of its worth; None: the fee of the pair.
        cause: Why it happened, where it was not simply traded: `liquidation`.
        at: Price and size in units, where they are no ticks and lots; None: they are.
    """

    now_ns: int
    venue_ns: int
    pair: int
    order_id: int
    side: int
    tick: int
    lots: int
    role: int
    client_order_id: str | None = None
    is_uncertain: bool = False
    rate: int | None = None
    cause: str | None = None
    at: tuple[int, int] | None = None


class DecisionRow(msgspec.Struct, frozen=True, gc=False):
    """
    A row of the decision log.

    Attributes:
        now_ns: Time of the decision, or of the response.
        kind: Callback or event that acted: `start`, `quote`, `timer`, `response`, ...
        cause: Name of a timer, number of a response: the one that caused it.
        cause_seq: Frame of the message that caused it, in the recording that was played.
        cause_sub: And its row there.
        text: Action with all of its arguments, as JSON.
        chain: State of the hash chain after it, hexadecimal.
    """

    now_ns: int
    kind: str
    cause: str
    cause_seq: int | None
    cause_sub: int | None
    text: str
    chain: str


class SeriesRow(msgspec.Struct, frozen=True, gc=False):
    """A value of `ctx.record`: when, of what name, and what."""

    now_ns: int
    name: str
    value: float


class EquityRow(msgspec.Struct, frozen=True, gc=False):
    """
    An account at one time, in units of cash.

    Attributes:
        now_ns: When.
        account: Name of the account.
        asset: Its currency.
        cash: After what positions cost.
        wallet: Cash and what open positions cost at entry.
        equity: Cash and what positions are worth.
        fees: Paid so far.
        funding: Received so far.
        transfers: Deposits less withdrawals so far.
        is_doubtful: Whether what follows rests on doubtful data.
        is_sample: Kept for its time alone; others for what happened.
    """

    now_ns: int
    account: str
    asset: str
    cash: int
    wallet: int
    equity: int
    fees: int
    funding: int
    transfers: int
    is_doubtful: bool
    is_sample: bool


class GapRow(msgspec.Struct, frozen=True, gc=False):
    """
    A stretch of a pair's book or trades that could not be believed.

    Attributes:
        pair: Place of the pair.
        start_ns: Time of the message that said so, on our clock.
        end_ns: To the one after which all is known again; None while it lasts.
        cause: Why.
        orders: Numbers of the orders that rested across it, or came in it.
        since_ns: Time of the last message before it, where something was missing before anybody could know; see `StaleSpan`.
    """

    pair: int
    start_ns: int
    end_ns: int | None
    cause: str
    orders: tuple[int, ...]
    since_ns: int | None = None


T = TypeVar("T")
#: A row with its place: `capture_seq` and `sub_seq`.
Placed = tuple[int, int, T]


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """
    A run, complete.

    Attributes:
        head: Settings of the run.
        start_ns: Its first instant.
        end_ns: Its last.
        instants: How many there were, with rows.
        markets: The pairs, as they were at the end.
        symbols: The venue's spelling of each.
        ledger: The money, as it was at the end.
        courses: Course of each account's equity, by its name.
        messages: Messages of the account tables, instruments and events, in order.
        tops: Best prices around what happened, in order.
        entries: Changes of the money by each execution, in order.
        equity: Points of equity, in order.
        decisions: The decision log.
        series: Values that `ctx.record` was given.
        counts: Counts of the run, by name.
        gaps: Gaps of the pairs, in order of their start.
        queued: Sizes ahead of orders as they came to rest, see `VenueDesk.queued`; None where they were not noted.
        late: Requests to amend or cancel an order that was filled before they arrived; None where they were not noted.
        study: Measurements of the run, made afterwards; None where none were.
        tiers: Fee tiers that were in force, the first at the start, by time; empty where fees were given.
        liquidations: Steps of liquidations, by time.
    """

    head: RunHead
    start_ns: int
    end_ns: int
    instants: int
    markets: list[LedgerMarket]
    symbols: list[str]
    ledger: Ledger
    courses: dict[str, EquityCourse]
    messages: SpooledRows[Message]
    tops: SpooledRows[BookTop]
    entries: list[LedgerEntry]
    equity: list[Placed[EquityRow]]
    decisions: SpooledRows[Placed[DecisionRow]]
    series: SpooledRows[Placed[SeriesRow]]
    counts: dict[str, int]
    gaps: list[GapRow] = field(default_factory=list)
    queued: list[tuple[int, float | None]] | None = None
    late: int | None = None
    study: RunStudy | None = None
    tiers: list[TierChange] = field(default_factory=list)
    liquidations: list[Liquidation] = field(default_factory=list)
