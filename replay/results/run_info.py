"""
What a result says of itself, in its manifest under `run`: what was run, and what came of it, in exact numbers.

Amounts are decimal texts, exact; times are ns since the Unix epoch (UTC), lengths ns. The same run gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from replay.backtest.gap_policy import NO_BOOK
from replay.ledger.fee_tiers import TierChange
from replay.ledger.ledger import Ledger
from replay.ledger.margin_rules import Liquidation
from replay.ledger.money import amount, price_of, size_of
from replay.market.layout import Role
from replay.results.run_record import RunRecord
from replay.results.run_study import RunStudy
from toolkit.clock import NS_PER_S
from toolkit.errors import FormatTooNew, RecordingDamaged
from toolkit.timing.times import time_ns

__all__ = ["AccountInfo", "GapInfo", "PairInfo", "QueueInfo", "RunInfo", "as_run", "read_run", "run_info"]

#: Raised when a field changes its meaning; new ones do not.
RUN_VERSION = 1
_DAY_NS = 86_400 * NS_PER_S


class AccountInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of one account.

    Attributes:
        name: Name of the account.
        asset: Its currency, in which all amounts here are.
        start: Equity at the start.
        end: Equity at the end, with positions at their marks.
        cash: At the end, after what positions cost.
        transfers: Deposits less withdrawals.
        net: Profit: `end` - `start` - `transfers`.
        realized: Profit of what was closed, without fees and funding.
        unrealized: Profit of what is open, at the marks.
        fees: Paid; negative: received.
        funding: Received; negative: paid.
        drawdown_max: Deepest fall of equity, less `transfers`, below its highest value before.
        drawdown_from_ns: When that was reached; 0 where equity never fell.
        drawdown_bottom_ns: When it was deepest.
        drawdown_to_ns: When it was reached again; None where it was not.
        net_doubtful: Change of equity in doubtful times, less `transfers`.
        drawdown_ns: Time from the highest value before the deepest fall until it was reached again, or until the end;
            ns.
        doubtful_profit_share: `EquityCourse.doubtful_profit_share`.
    """

    name: str
    asset: str
    start: Decimal
    end: Decimal
    cash: Decimal
    transfers: Decimal
    net: Decimal
    realized: Decimal
    unrealized: Decimal
    fees: Decimal
    funding: Decimal
    drawdown_max: Decimal
    drawdown_from_ns: int
    drawdown_bottom_ns: int
    drawdown_to_ns: int | None
    drawdown_ns: int
    net_doubtful: Decimal
    doubtful_profit_share: float


class QueueInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was ahead of the orders of a pair as they came to rest, new or amended, as the recorded book had it.

    Attributes:
        orders: How many came to rest.
        unseen: Number of these outside of the recorded depth: what was ahead is not known.
        median: Median of the size ahead of the others, as the venue counts sizes; None without any.
        p90: Size ahead that nine in ten of them did not exceed.
    """

    orders: int
    unseen: int
    median: float | None
    p90: float | None


class GapInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    A stretch of a pair's book or trades that could not be believed.

    Attributes:
        venue: Venue of the pair.
        trading_pair: Its name.
        start_ns: Time of the message that said so, on the clock of the recording.
        end_ns: To the one after which all is known again; None where it lasted to the end.
        cause: Why.
        orders: Ids of the orders that rested across it, or came in it.
        since_ns: Time of the last message before it, where something was missing before anybody could know: fills from there
            to the start rest on a book that was not whole. None: nothing was.
    """

    venue: str
    trading_pair: str
    start_ns: int
    end_ns: int | None
    cause: str
    orders: tuple[str, ...]
    since_ns: int | None = None


class PairInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was traded in one pair, and by which money. Amounts in the currency of settlement, sizes as the venue counts.

    Attributes:
        venue: Venue of the pair.
        trading_pair: Its name.
        symbol: The venue's spelling.
        account: Name of the account that it settles in; empty where it was never known.
        contract: `linear`, `inverse` or `spot`; empty likewise.
        settle: Currency of settlement.
        base: Base currency.
        contract_value: Contract value of an inverse contract.
        tick: Tick at the end; None where it was never known.
        lot: Lot at the end; None where it was never known.
        maker_fee: Fraction.
        taker_fee: Fraction.
        fee_decimals: Digits after the point of a fee.
        fee_rounding: How it gets there.
        maker_fills: Executions as a maker.
        taker_fills: Fills as a taker.
        bought: Size.
        sold: Size.
        turnover: Worth of all executions, each positive.
        realized: Profit of what was closed, without fees and funding.
        unrealized: Profit of what is open.
        fees: Paid.
        funding: Received.
        position: Size at the end.
        entry_price: Entry price of the position; None without one. The float64 next to it.
        mark_price: Price that it was valued at.
        queue: Sizes ahead of its orders; None where they were not noted.
    """

    venue: str
    trading_pair: str
    symbol: str
    account: str = ""
    contract: str = ""
    settle: str = ""
    base: str = ""
    contract_value: Decimal | None = None
    tick: Decimal | None = None
    lot: Decimal | None = None
    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None
    fee_decimals: int | None = None
    fee_rounding: str = ""
    maker_fills: int = 0
    taker_fills: int = 0
    bought: Decimal = Decimal(0)
    sold: Decimal = Decimal(0)
    turnover: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    unrealized: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    position: Decimal = Decimal(0)
    entry_price: float | None = None
    mark_price: Decimal | None = None
    queue: QueueInfo | None = None


class PresetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    Facts of a venue, as they were taken for the run.

    Attributes:
        venue: Its name.
        date: When they were looked at, `YYYY-MM-DD`; empty where there are none.
        source: Where they are from.
        evidence: How sure each value is, and where it is from, by its path: it begins with `d` documented by the venue, `2`
            from secondary sources, `?` not verified.
        values: The values as text, by path; empty in results of before they were kept.
        unknown: Facts that are not known for certain.
        days_older: Days from that date to the last day of the run, where that is later: venues change their rules; else 0.
    """

    venue: str
    date: str
    source: str
    evidence: Mapping[str, str]
    unknown: list[str]
    days_older: int
    values: Mapping[str, str] = {}


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    A run.

    Attributes:
        version: Version of this form.
        strategy: Name of the class.
        kind: `backtest` or `paper`.
        source: Name of the strategy's file.
        source_hash: Hash of its content.
        parameters: Parameters as they were in force.
        seed: Seed of its random numbers.
        rules: Rules of matching, by name.
        latency: Latency in words.
        gap_policy: Rule for resting orders at a gap.
        settings: Anything else that makes a difference.
        recordings: Recordings that were played: shown, not compared.
        software: Names and versions; likewise.
        start_ns: First instant.
        end_ns: Last.
        doubtful_ns: How long a book was stale, or a position uncertain.
        accounts: Accounts by name, in order.
        pairs: Pairs in the order of the run.
        decisions: Rows of the decision log.
        log_digest: State of its hash chain at the end, hexadecimal; empty without a row.
        counts: Counts of the run, by name.
        gaps: Gaps of the pairs, in order of their start.
        late_requests: Requests to amend or cancel an order that was filled before they arrived; None where they were
            not counted.
        study: Measurements of the run, made afterwards; None where none were.
        tiers: Fee tiers that were in force, the first at the start, by time; empty where fees were given.
        liquidations: Steps of liquidations, by time.
        presets: Facts of the venues that the run rests on.
    """

    version: int = RUN_VERSION
    strategy: str
    kind: str
    source: str
    source_hash: str
    parameters: Mapping[str, Any]
    seed: int
    rules: Mapping[str, Any]
    latency: str
    gap_policy: str
    settings: Mapping[str, Any]
    recordings: list[dict[str, Any]]
    software: Mapping[str, str]
    start_ns: int
    end_ns: int
    doubtful_ns: int
    accounts: list[AccountInfo]
    pairs: list[PairInfo]
    decisions: int = 0
    log_digest: str = ""
    counts: Mapping[str, int]
    gaps: list[GapInfo] = []
    late_requests: int | None = None
    study: RunStudy | None = None
    tiers: list[TierChange] = []
    liquidations: list[Liquidation] = []
    presets: list[PresetInfo] = []

    @property
    def doubtful_time_share(self) -> float:
        """Share of the run's time that is doubtful; 0 where no time passed."""
        return self.doubtful_ns / (self.end_ns - self.start_ns) if self.end_ns > self.start_ns else 0.0

    @property
    def fill_count(self) -> int:
        """Executions of all pairs."""
        return sum(pair.maker_fills + pair.taker_fills for pair in self.pairs)


def run_info(record: RunRecord) -> RunInfo:
    """What came of a run."""
    head, ledger = record.head, record.ledger
    accounts = []
    for name, account in ledger.accounts.items():
        course = record.courses[name]
        equity = ledger.equity(name)
        accounts.append(
            AccountInfo(
                name=name,
                asset=account.asset,
                start=amount(account.start),
                end=amount(equity),
                cash=amount(account.cash),
                transfers=amount(account.transfers),
                net=amount(equity - account.start - account.transfers),
                realized=amount(sum(ledger.positions[place].realized for place in account.pairs)),
                unrealized=amount(sum(ledger.unrealized(place) for place in account.pairs)),
                fees=amount(account.fees),
                funding=amount(account.funding),
                drawdown_max=amount(course.drawdown_max),
                drawdown_from_ns=course.drawdown_from_ns,
                drawdown_bottom_ns=course.drawdown_bottom_ns,
                drawdown_to_ns=course.drawdown_to_ns,
                drawdown_ns=course.drawdown_ns,
                net_doubtful=amount(course.doubtful),
                doubtful_profit_share=course.doubtful_profit_share,
            )
        )
    return RunInfo(
        strategy=head.strategy,
        kind=head.kind,
        source=head.source,
        source_hash=head.source_hash,
        parameters=dict(head.parameters),
        seed=head.seed,
        rules=dict(head.rules),
        latency=head.latency,
        gap_policy=head.gap_policy,
        settings=dict(head.settings),
        recordings=[dict(each) for each in head.recordings],
        software=dict(head.software),
        start_ns=record.start_ns,
        end_ns=record.end_ns,
        doubtful_ns=_doubtful_ns(record),
        accounts=accounts,
        pairs=[_pair(record, ledger, place) for place in range(len(record.markets))],
        decisions=len(record.decisions),
        log_digest="" if (last := record.decisions.last) is None else last[2].chain,
        counts=record.counts,
        gaps=[
            GapInfo(
                venue=record.markets[gap.pair].key.venue,
                trading_pair=record.markets[gap.pair].key.trading_pair,
                start_ns=gap.start_ns,
                end_ns=gap.end_ns,
                cause=gap.cause,
                orders=tuple(map(str, gap.orders)),
                since_ns=gap.since_ns,
            )
            for gap in record.gaps
        ],
        late_requests=record.late,
        study=record.study,
        tiers=record.tiers,
        liquidations=record.liquidations,
        presets=[_preset(venue, facts, record.end_ns) for venue, facts in head.settings.get("presets", {}).items()],
    )


def _doubtful_ns(record: RunRecord) -> int:
    """How long something was in doubt: all of the time where orders met no book, or no pair ever had one."""
    bookless = [gap for gap in record.gaps if gap.cause == NO_BOOK]
    if len(bookless) == len(record.markets) or any(gap.orders for gap in bookless):
        return record.end_ns - record.start_ns
    return max((course.doubtful_ns for course in record.courses.values()), default=0)


def _preset(venue: str, facts: Mapping[str, Any], end_ns: int) -> PresetInfo:
    date = str(facts["date"])
    days = (end_ns - time_ns(date)) // _DAY_NS if date else 0
    return PresetInfo(
        venue=venue,
        date=date,
        source=facts["source"],
        evidence=facts["evidence"],
        unknown=facts["unknown"],
        days_older=max(0, days),
        values=facts.get("values", {}),
    )


def _pair(record: RunRecord, ledger: Ledger, place: int) -> PairInfo:
    market, position = record.markets[place], ledger.positions[place]
    contract, fees = market.contract, market.fees
    roles = [entry.role for entry in record.entries if entry.pair == place]
    entry = ledger.entry_price(place)
    return PairInfo(
        venue=market.key.venue,
        trading_pair=market.key.trading_pair,
        symbol=record.symbols[place],
        account=next((name for name, account in ledger.accounts.items() if place in account.pairs), ""),
        contract="" if contract is None else contract.kind.value,
        settle="" if contract is None else contract.settle,
        base="" if contract is None else contract.base,
        contract_value=None if contract is None else contract.contract_value,
        tick=market.tick,
        lot=market.lot,
        maker_fee=None if fees is None else fees.maker,
        taker_fee=None if fees is None else fees.taker,
        fee_decimals=None if fees is None else fees.decimals,
        fee_rounding="" if fees is None else fees.rounding.value,
        maker_fills=roles.count(Role.MAKER),
        taker_fills=roles.count(Role.TAKER),
        bought=size_of(position.bought),
        sold=size_of(position.sold),
        turnover=amount(position.turnover),
        realized=amount(position.realized),
        unrealized=amount(ledger.unrealized(place)),
        fees=amount(position.fees),
        funding=amount(position.funding),
        position=size_of(position.size),
        entry_price=None if entry is None else float(entry),
        mark_price=None if position.mark is None else price_of(position.mark),
        queue=_queue(record, place),
    )


def _queue(record: RunRecord, place: int) -> QueueInfo | None:
    if record.queued is None:
        return None
    found = [ahead for pair, ahead in record.queued if pair == place]
    seen = sorted(ahead for ahead in found if ahead is not None)
    return QueueInfo(
        orders=len(found), unseen=len(found) - len(seen), median=_quantile(seen, 50), p90=_quantile(seen, 90)
    )


def _quantile(values: Sequence[float], percent: int) -> float | None:
    """The smallest value that so many per cent of them do not exceed, of values that ascend; None without any."""
    return values[max(0, -(-len(values) * percent // 100) - 1)] if values else None


def as_run(info: RunInfo) -> dict[str, Any]:
    """What a manifest has under `run`: JSON values, amounts as decimal texts without an exponent."""
    values = _plain(msgspec.to_builtins(info, builtin_types=(Decimal,)))
    assert isinstance(values, dict)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def read_run(run: Any, where: str) -> RunInfo:
    """
    What a manifest has under `run`.

    Raises, naming the place:
        FormatTooNew: A newer tickdeck wrote it.
        RecordingDamaged: That is no run.
    """
    version = run.get("version", RUN_VERSION) if isinstance(run, Mapping) else RUN_VERSION
    if type(version) is int and version > RUN_VERSION:
        raise FormatTooNew(
            f"{where} holds a result of version {version}, this tickdeck reads up to {RUN_VERSION}: upgrade tickdeck"
        )
    if type(version) is int and version < 1:
        raise RecordingDamaged(f"{where} holds a result of version {version}, expected 1 to {RUN_VERSION}")
    try:
        return msgspec.convert(run, RunInfo)
    except msgspec.ValidationError as exc:
        raise RecordingDamaged(f"{where} does not say what was run ({exc}): expected the result of a run") from None
