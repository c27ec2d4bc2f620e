"""
dYdX v4's markets: what `v4_markets` and REST say of them, merged, and reported as instruments and funding.

The ticker is both symbol and trading pair. Permissionless markets have commas, slashes and whole addresses in theirs
(`FARTCOIN,RAYDIUM,9BB6...-USD`), so nothing is read out of one except that the quote currency follows the last `-`.

dYdX has no mark price of its own: margin and funding are computed at the oracle price, which therefore is both index
and mark here. `nextFundingRate` is the rate of one hour.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from decimal import Decimal
from math import inf, isfinite
from typing import Any, Final

import msgspec

from toolkit.errors import ParseError, SymbolError
from toolkit.frames import Frame
from toolkit.messages import FundingInfo, FundingKind, Instrument, InstrumentKind
from toolkit.venues.dydx_v4.items import Finding, ItemReader
from toolkit.venues.dydx_v4.wire import Market, MarketsContents, OraclePrice, SettledRate, time_ns

__all__ = [
    "FINAL_STATUS",
    "FUNDING_INTERVAL_S",
    "SETTLED",
    "MarketChange",
    "MarketState",
    "SymbolTable",
    "funding_info",
    "instrument",
    "settled_funding",
]

FUNDING_INTERVAL_S: Final = 3600
#: All margin and profit is in this.
COLLATERAL: Final = "USDC"
#: The other statuses (PAUSED, CANCEL_ONLY, POST_ONLY, INITIALIZING, FINAL_SETTLEMENT) match no orders.
TRADING_STATUS: Final = "ACTIVE"
#: Settled for good: the market is never traded again.
FINAL_STATUS: Final = "FINAL_SETTLEMENT"


class MarketState(msgspec.Struct, frozen=True):
    """
    A market as far as it was reported; None where nothing was said yet. Names are those of `FundingInfo` and
    `Instrument`.

    Attributes:
        status: The venue's word.
        oracle_price: Oracle price in USD.
        prev_day_price: Oracle price 24 h before the venue last said by how much it changed.
        day_volume_quote: Volume of a day in USD.
        funding_rate: Estimate for the current hour.
        open_interest: Open interest in base currency.
        price_tick: Tick of prices in USD.
        size_step: Size step in base currency.
        initial_margin: Fraction of notional.
    """

    status: str | None = None
    oracle_price: float | None = None
    prev_day_price: float | None = None
    day_volume_quote: float | None = None
    funding_rate: float | None = None
    open_interest: float | None = None
    price_tick: float | None = None
    size_step: float | None = None
    initial_margin: float | None = None

    def merged(self, change: Market) -> MarketState:
        """The state after a change, whose absent fields stay."""
        # A market that has no oracle price yet is sent with 0.
        oracle_price = change.oraclePrice or self.oracle_price
        prev_day_price = self.prev_day_price
        if change.priceChange24H is not None and oracle_price is not None:
            # repr gives the venue's digits back, so the difference is exact in them.
            prev_day_price = float(Decimal(repr(oracle_price)) - Decimal(repr(change.priceChange24H)))
        return MarketState(
            status=change.status if change.status is not None else self.status,
            oracle_price=oracle_price,
            prev_day_price=prev_day_price,
            day_volume_quote=_or(change.volume24H, self.day_volume_quote),
            funding_rate=_or(change.nextFundingRate, self.funding_rate),
            open_interest=_or(change.openInterest, self.open_interest),
            price_tick=_or(change.tickSize, self.price_tick),
            size_step=_or(change.stepSize, self.size_step),
            initial_margin=_or(change.initialMarginFraction, self.initial_margin),
        )

    @property
    def is_described(self) -> bool:
        """Whether enough is known for an instrument."""
        return self.status is not None and self.price_tick is not None and self.size_step is not None

    @property
    def has_figures(self) -> bool:
        """Whether anything is known for a funding message."""
        return any(figure is not None for figure in self.figures)

    @property
    def terms(self) -> tuple[object, ...]:
        """What an instrument is made of."""
        return self.status, self.price_tick, self.size_step, self.initial_margin

    @property
    def figures(self) -> tuple[object, ...]:
        """What a funding message is made of."""
        return self.oracle_price, self.prev_day_price, self.day_volume_quote, self.funding_rate, self.open_interest


_UNKNOWN: Final = MarketState()


def _or(new: float | None, old: float | None) -> float | None:
    return old if new is None else new


def _check(change: Market, found: list[Finding]) -> None:
    """A number that cannot be is left out, and so stays what it was."""
    for names, is_so, expected in _RANGES:
        for name in names:
            value = getattr(change, name)
            if value is not None and not is_so(value):
                setattr(change, name, None)
                kind = f"market: {name}"
                found.append(Finding(f"{kind} is {value}, expected {expected}; it is left out", kind=kind))


_RANGES: Final[tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...]] = (
    (
        ("oraclePrice", "volume24H", "openInterest", "initialMarginFraction"),
        lambda value: 0 <= value < inf,
        "a finite number of 0 or more",
    ),
    (("tickSize", "stepSize"), lambda value: 0 < value < inf, "a finite number above 0"),
)


def _check_oracle(oracle: OraclePrice, found: list[Finding]) -> None:
    if not 0 <= oracle.oraclePrice < inf:
        raise ParseError(f"oraclePrice {oracle.oraclePrice}: expected a finite number of 0 or more")
    if oracle.effectiveAt is not None:
        time_ns(oracle.effectiveAt)


def _check_settled(row: SettledRate, found: list[Finding]) -> None:
    if not isfinite(row.rate) or not 0 < row.price < inf:
        raise ParseError(f"a rate of {row.rate} at the price {row.price}: expected finite numbers, the price above 0")
    time_ns(row.effectiveAt)


_MARKET: Final = ItemReader(Market, "market", _check)
_ORACLE: Final = ItemReader(OraclePrice, "oracle price", _check_oracle)
#: Reads settled rates one by one.
SETTLED: Final = ItemReader(SettledRate, "settled rate", _check_settled)


class MarketChange(msgspec.Struct, frozen=True):
    """
    What one content object of a frame said of one market.

    Attributes:
        ticker: The market.
        before: Its state until then.
        after: Its state from then on.
        ts_event: Time of the block that set the oracle price, ns; None where the frame does not say.
        is_snapshot: Whether everything was said and not only what changed.
    """

    ticker: str
    before: MarketState
    after: MarketState
    ts_event: int | None
    is_snapshot: bool

    @property
    def has_terms(self) -> bool:
        """Whether there is an instrument to tell of."""
        return self.after.is_described and self.after.terms != self.before.terms

    @property
    def has_figures(self) -> bool:
        """Whether there is funding to tell of."""
        return self.after.has_figures and (self.is_snapshot or self.after.figures != self.before.figures)


class SymbolTable:
    """Every market seen, by ticker, in the order they first appeared."""

    def __init__(self) -> None:
        self._markets: dict[str, MarketState] = {}

    def __contains__(self, ticker: str) -> bool:
        return ticker in self._markets

    def __len__(self) -> int:
        return len(self._markets)

    def get(self, ticker: str) -> MarketState:
        """What is known of a market; nothing but None if it was never seen."""
        return self._markets.get(ticker, _UNKNOWN)

    def changes(
        self, contents: Iterable[MarketsContents], found: list[Finding], *, are_terms_only: bool = False
    ) -> list[MarketChange]:
        """
        What content objects say, in their order, not yet taken over.

        Args:
            contents: The objects.
            found: Takes what is odd about them; a market that cannot be read takes no other along.
            are_terms_only: Leave out prices and figures: something newer is known of them, or they were not asked for.
        """
        states: dict[str, MarketState] = {}
        changes: list[MarketChange] = []

        def add(ticker: str, change: Market, *, ts_event: int | None = None, is_snapshot: bool = False) -> None:
            if not ticker:
                found.append(Finding("a market without a ticker", is_lost=True))
                return
            if are_terms_only:
                change = Market(
                    status=change.status,
                    tickSize=change.tickSize,
                    stepSize=change.stepSize,
                    initialMarginFraction=change.initialMarginFraction,
                )
            before = states.get(ticker) or self.get(ticker)
            after = states[ticker] = before.merged(change)
            changes.append(MarketChange(ticker, before, after, ts_event, is_snapshot))

        for content in contents:
            for ticker, raw in (content.markets or {}).items():
                # One that cannot be read is listed all the same.
                add(ticker, _MARKET.read(raw, found, ticker) or Market(), is_snapshot=True)
            for ticker, raw in (content.trading or {}).items():
                market = _MARKET.read(raw, found, ticker)
                if market is not None:
                    add(ticker, market)
            for ticker, raw in (content.oraclePrices or {}).items():
                oracle = _ORACLE.read(raw, found, ticker)
                if oracle is not None:
                    ts_event = time_ns(oracle.effectiveAt) if oracle.effectiveAt is not None else None
                    add(ticker, Market(oraclePrice=oracle.oraclePrice), ts_event=ts_event)
        return changes

    def take(self, changes: Iterable[MarketChange]) -> None:
        """Take over what `changes` gave."""
        for change in changes:
            self._markets[change.ticker] = change.after

    def ticker(self, name: str) -> str:
        """The name itself, if it is a market. Raises SymbolError with the closest names."""
        if name in self._markets:
            return name
        close = difflib.get_close_matches(name, self._markets, n=3, cutoff=0.5)
        if not close:
            close = [known for known in self._markets if known.lower() == name.lower()]
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise SymbolError(f"the venue lists no market {name!r} (tickers are case-sensitive, such as BTC-USD){hint}")

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return {ticker: msgspec.to_builtins(state) for ticker, state in self._markets.items()}

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._markets = msgspec.convert(state, dict[str, MarketState])


def instrument(venue: str, ticker: str, state: MarketState, frame: Frame, sub_seq: int) -> Instrument:
    """The instrument of a market that is described."""
    base, _, quote = ticker.rpartition("-")
    return Instrument(
        venue,
        ticker,
        ticker,
        None,
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        kind=InstrumentKind.PERPETUAL,
        base=base,
        quote=quote,
        settle=COLLATERAL,
        price_tick=state.price_tick,
        size_step=state.size_step,
        max_leverage=1 / state.initial_margin if state.initial_margin else None,
        is_active=state.status == TRADING_STATUS,
    )


def funding_info(
    venue: str, ticker: str, state: MarketState, frame: Frame, sub_seq: int, ts_event: int | None
) -> FundingInfo:
    """The running state of a market; `ts_event` is the time of the block that set its oracle price, if that came."""
    return FundingInfo(
        venue,
        ticker,
        ticker,
        ts_event,
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        funding_rate=state.funding_rate,
        funding_interval_s=FUNDING_INTERVAL_S if state.funding_rate is not None else None,
        mark_price=state.oracle_price,
        index_price=state.oracle_price,
        open_interest=state.open_interest,
        prev_day_price=state.prev_day_price,
        day_volume_quote=state.day_volume_quote,
    )


def settled_funding(venue: str, row: SettledRate, frame: Frame, sub_seq: int) -> FundingInfo:
    """A rate that was charged, and the price it was charged at: neither says anything of the present."""
    return FundingInfo(
        venue,
        row.ticker,
        row.ticker,
        time_ns(row.effectiveAt),
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        FundingKind.SETTLED,
        funding_rate=row.rate,
        funding_interval_s=FUNDING_INTERVAL_S,
        mark_price=row.price,
        index_price=row.price,
    )
