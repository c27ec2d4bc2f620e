"""
Asset contexts: oracle, mark, premium, funding, open interest and day volumes, in integers.

Rates are integers of ``1e-10``, which is as many digits as the venue prints.
"""

from __future__ import annotations

from replay.market.engine.book import Book, Fill, Side
from replay.market.engine.exchange import RATE_DECIMALS
from replay.market.engine.facts import FundingSettled, Trade
from replay.market.engine.matching import Marketplace
from replay.synthetic.instruments import SyntheticInstrument
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.rng import seeded

__all__ = ["Contexts", "PerpContext", "SpotContext", "hourly_rate"]

_RATE_ONE: int = 10**RATE_DECIMALS
#: Interest of an 8-hour period, 0.01 %, and the clamp around it, 0.05 %.
_INTEREST = _RATE_ONE // 10_000
_CLAMP = _RATE_ONE // 2_000
#: Cap of the hourly rate, 4 %.
_CAP = _RATE_ONE // 25
#: Notional, in quote currency, whose average price is the impact price.
_IMPACT_NOTIONAL = 20_000
_HOUR_NS = 3600 * NS_PER_S


def hourly_rate(premium: int) -> int:
    """Hourly funding rate from an average premium: the 8-hour formula, an eighth of it, capped."""
    eight_hours = premium + max(-_CLAMP, min(_CLAMP, _INTEREST - premium))
    return max(-_CAP, min(_CAP, eight_hours // 8))


class PerpContext:
    """What the venue says about one perpetual."""

    def __init__(self, instrument: SyntheticInstrument, seed: str, genesis_ns: int, history: int) -> None:
        self.instrument = instrument
        self.random = seeded(f"{seed}/context")
        base = instrument.base_units
        self.prev_day_px = base
        self.oracle = base
        self.mark = base
        self.premium = 0
        self.last_px = base
        self.basis = 0
        lots = instrument.mean_lots
        self.open_interest = 0 if instrument.delisted else lots * (20_000 + self.random.randrange(60_000))
        day_lots = 0 if instrument.delisted else lots * (80_000 + self.random.randrange(90_000))
        self.day_lots = day_lots
        self.day_notional = day_lots * base
        self.fundings: list[FundingSettled] = self._past(genesis_ns, history)
        self._sum = 0
        self._samples = 0

    def _past(self, genesis_ns: int, rows: int) -> list[FundingSettled]:
        """Settlements before the first block: on the hour, a few milliseconds late, as on the real venue."""
        last_hour = genesis_ns // _HOUR_NS
        past = []
        for hour in range(last_hour - rows + 1, last_hour + 1):
            premium = self.random.randrange(-8_000_000, 8_000_000)
            time_ms = hour * _HOUR_NS // NS_PER_MS + 1 + self.random.randrange(118)
            past.append(
                FundingSettled(self.instrument.symbol, hourly_rate(premium), premium, self.oracle, time_ms, 720)
            )
        # An hour that began less than a settlement's delay ago has not been settled yet.
        return [row for row in past if row.time_ms * NS_PER_MS < genesis_ns]

    @property
    def funding(self) -> int:
        """The running estimate of the coming settlement's rate, 1e-10 per hour."""
        if self.instrument.delisted:
            return 0
        return hourly_rate(self._sum // self._samples if self._samples else self.premium)

    def traded(self, px: int, lots: int, taker_oid: int) -> None:
        """A trade moves volumes and, in one direction or the other, the open interest."""
        self.last_px = px
        self.day_lots += lots
        self.day_notional += px * lots
        if taker_oid & 1:
            self.open_interest += lots
        elif self.open_interest > 4 * lots:
            self.open_interest -= lots

    def update_oracle(self, fair: float, book: Book) -> None:
        """The oracle follows the fair price with a small slow basis; the mark is the median of touch and last trade."""
        self.basis += int(self.random.random() * 2_000_001) - 1_000_000 - self.basis // 8
        # One digit finer than the tick: oracle and mark prices are no order prices.
        step = max(1, self.instrument.tick(int(fair)) // 10)
        oracle = int(fair) - int(fair) * self.basis // _RATE_ONE
        self.oracle = oracle - oracle % step
        bid, ask = book.bids.best, book.asks.best
        if bid is not None and ask is not None:
            self.mark = sorted((bid, ask, self.last_px))[1]

    def impact(self, book: Book) -> tuple[int, int] | None:
        """Average prices at which the impact notional could be sold and bought; None where the book is too thin."""
        bid, ask = self._impact_side(book.bids), self._impact_side(book.asks)
        return None if bid is None or ask is None else (bid, ask)

    def _impact_side(self, side: Side) -> int | None:
        target = _IMPACT_NOTIONAL * self.instrument.one * self.instrument.lots_per_unit
        notional = lots = 0
        for level in side.levels(20):
            part = min(level.lots, (target - notional) // level.px + 1)
            notional += part * level.px
            lots += part
            if notional >= target:
                break
        return notional // lots if lots else None

    def sample_premium(self, book: Book) -> None:
        """One sample of the impact premium over the oracle."""
        impact = self.impact(book)
        if impact is None:
            return
        bid, ask = impact
        over = max(0, bid - self.oracle) - max(0, self.oracle - ask)
        self.premium = over * _RATE_ONE // self.oracle
        self._sum += self.premium
        self._samples += 1

    def settle(self, book: Book, time_ms: int) -> FundingSettled:
        """Close the running funding period."""
        if not self._samples:
            self.sample_premium(book)
        premium = self._sum // self._samples if self._samples else 0
        row = FundingSettled(
            self.instrument.symbol, hourly_rate(premium), premium, self.oracle, time_ms, max(1, self._samples)
        )
        self.fundings.append(row)
        self._sum = self._samples = 0
        return row


class SpotContext:
    """What the venue says about one spot pair or outcome coin."""

    def __init__(self, instrument: SyntheticInstrument, seed: str) -> None:
        random = seeded(f"{seed}/context")
        self.instrument = instrument
        self.prev_day_px = instrument.base_units
        self.mark = instrument.base_units
        self.day_lots = instrument.mean_lots * (2_000 + random.randrange(3_000))
        self.day_notional = self.day_lots * instrument.base_units
        #: Circulating and total supply, in units of 1e-8 tokens.
        self.circulating = (300_000_000 + random.randrange(300_000_000)) * 10**8 + random.randrange(10**8)
        self.total = self.circulating + random.randrange(400_000_000) * 10**8

    def traded(self, px: int, lots: int) -> None:
        """A trade moves the mark price and the volumes."""
        self.mark = px
        self.day_lots += lots
        self.day_notional += px * lots


class Contexts:
    """The figures of every instrument, as a participant that hears of every trade."""

    def __init__(self) -> None:
        self.perps: dict[str, PerpContext] = {}
        self.spots: dict[str, SpotContext] = {}

    def act(self, market: Marketplace, block: int, time_ms: int) -> None:
        """The market brings them up to date when it is their turn."""

    def filled(self, symbol: str, fill: Fill, trade: Trade) -> None:
        if symbol in self.perps:
            self.perps[symbol].traded(fill.px, fill.lots, fill.taker.oid)
            return
        spot = self.spots[symbol]
        spot.traded(fill.px, fill.lots)
        instrument = spot.instrument
        if instrument.mirror is not None:
            self.spots[instrument.mirror].traded(instrument.one - fill.px, fill.lots)

    def matched(self, symbol: str) -> None:
        """Nothing more is known after the last fill."""

    def funded(self, row: FundingSettled) -> None:
        """They settled it themselves."""
