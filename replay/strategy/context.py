"""What a strategy is given with each call: the markets as they are now, its own account, and what it can ask for."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from replay.strategy.asked import terms_of
from replay.strategy.own_data import DataView, OwnData
from replay.strategy.pair_rules import PairRules
from replay.strategy.views import BookView, OwnOrder, PositionView, Tif
from toolkit.keys import PairName
from toolkit.messages import FundingInfo, Side
from toolkit.rng import CountedRandom
from toolkit.timing.times import length_ns

if TYPE_CHECKING:
    from replay.strategy.desk import Desk
    from replay.strategy.session import TradingSession

__all__ = ["Context"]


class Context:
    """
    The strategy's view of the session, and its hands.

    A pair is given by its name, as in `pairs`; where two venues have it, as `BTC-USD on hyperliquid` or by its key.
    Nothing of it can be set.
    """

    __slots__ = ("_desk", "_pairs", "_rng", "_session")

    def __init__(self, session: TradingSession, desk: Desk, pairs: tuple[str, ...], rng: CountedRandom) -> None:
        self._session = session
        self._desk = desk
        self._pairs = pairs
        self._rng = rng

    @property
    def now_ns(self) -> int:
        """Logical time, ns since the epoch: that of the frame, response or timer that called."""
        return self._session.now_ns

    @property
    def rng(self) -> CountedRandom:
        """Random numbers, seeded by the run: the same in every run of the same seed."""
        return self._rng

    @property
    def pairs(self) -> tuple[str, ...]:
        """The pairs of the run."""
        return self._pairs

    # -- the market --------------------------------------------------------------------------------------------

    def book(self, pair: PairName) -> BookView:
        """
        The fused book of a pair as it is now: `best_bid`, `best_ask`, `mid_price`, `depth(n)`, `size_within(side, bps)`,
        `price_to_fill(side, size)`, `is_stale`.

        It is stale before the first snapshot. Raises SymbolError for a pair that is not of the run.
        """
        return self._session.book(pair)

    def rules(self, pair: PairName) -> PairRules:
        """Tick, lot, least value and fees of a pair as recorded up to now, with functions that round to them."""
        return self._desk.rules(pair)

    def funding(self, pair: PairName) -> FundingInfo | None:
        """The newest funding, mark and index price of a pair; None before the first."""
        return self._session.funding(pair)

    def data(self, own: OwnData) -> DataView:
        """The rows of the strategy's own data that are there by now."""
        return self._session.data(own)

    # -- the account -------------------------------------------------------------------------------------------

    def position(self, pair: PairName) -> PositionView:
        """What is held of a pair, by what is known so far."""
        return self._desk.position(pair)

    def liquidation_price(self, pair: PairName) -> float | None:
        """
        The venue's price, mark or oracle, at which the position of a pair has no more than its maintenance margin, as other
        prices are now and by what has happened at the venue; None without a position on margin, or where there is none.
        """
        house = self._session.house
        return None if house is None else house.liquidation_price(self._desk.place(pair))

    def equity(self, asset: str | None = None) -> Decimal:
        """Cash and positions at their marks, in a settlement currency; None for the only one there is."""
        return self._desk.equity(asset)

    def balance(self, asset: str | None = None) -> Decimal:
        """
        Balance of a settlement currency, in the way of a margin account: without what is not realized yet. None for the
        only one there is.
        """
        return self._desk.balance(asset)

    def orders(self, pair: PairName | None = None) -> tuple[OwnOrder, ...]:
        """Own orders that have not ended, in the order they were sent."""
        return self._desk.open_orders(pair)

    # -- requests ----------------------------------------------------------------------------------------------

    def buy(
        self,
        pair: PairName,
        size: float,
        price: float | None = None,
        *,
        tif: str = Tif.GTC,
        post_only: bool = False,
        reduce_only: bool = False,
        expires_ns: int | None = None,
        tag: str = "",
        stop: float | None = None,
        take_profit: float | None = None,
        on: str | None = None,
        twap: str | None = None,
        good_til_blocks: int | None = None,
    ) -> OwnOrder:
        """
        Send a buy order.

        Args:
            pair: Pair to buy.
            size: Size in the unit of sizes: base currency, or contracts.
            price: Limit; None: at market.
            tif: `GTC`, `IOC`, `FOK`, or `GTD` with `expires_ns`.
            post_only: Be refused rather than take.
            reduce_only: Only make a position smaller.
            expires_ns: When it ends, of `GTD`.
            tag: A name for it; see `keep`.
            stop: The order waits at the venue until the price that the venue goes by (mark, oracle or last trade) has risen
                to this (fallen, for a sell).
            take_profit: Price that the order waits for in the same way, until it has fallen to this (risen, for a
                sell).
            on: Price that is meant: `mark`, `last` or `index`, at venues that have several; None: the one that is meant where
                nothing is said.
            twap: A length of time, such as `30m`, over which the venue works the order off in parts; without a price.
            good_til_blocks: For how many blocks after the one under way it is good, of a short-term order (dYdX: 20 at most). A
                cancel of one is acknowledged by best effort: it is `PENDING_CANCEL` until it ends, and may be filled.

        Returns:
            The order, `PENDING_CREATE`. What the venue refuses comes back as `on_order` with `REJECTED`.

        Raises SymbolError for a pair that is not of the run, ConfigError for a size or price that is none, or is off the
        venue's lot or tick.
        """
        terms = terms_of(stop, take_profit, on, twap, good_til_blocks)
        return self._desk.send(pair, Side.BUY, size, price, tif, post_only, reduce_only, expires_ns, tag, terms)

    def sell(
        self,
        pair: PairName,
        size: float,
        price: float | None = None,
        *,
        tif: str = Tif.GTC,
        post_only: bool = False,
        reduce_only: bool = False,
        expires_ns: int | None = None,
        tag: str = "",
        stop: float | None = None,
        take_profit: float | None = None,
        on: str | None = None,
        twap: str | None = None,
        good_til_blocks: int | None = None,
    ) -> OwnOrder:
        """Send a sell order; as `buy`."""
        terms = terms_of(stop, take_profit, on, twap, good_til_blocks)
        return self._desk.send(pair, Side.SELL, size, price, tif, post_only, reduce_only, expires_ns, tag, terms)

    def amend(self, order: OwnOrder, *, price: float | None = None, size: float | None = None) -> bool:
        """
        Ask for another price or size (all of it, not what is left) of an order.

        Returns False, having sent nothing, where it has ended or is being cancelled. Raises as `buy`.
        """
        return self._desk.amend(order, price, size)

    def cancel(self, order: OwnOrder) -> bool:
        """Ask for an order back; False where it has ended or is being cancelled."""
        return self._desk.cancel(order)

    def cancel_all(self, pair: PairName | None = None) -> int:
        """Ask for all orders of a pair back, or for all there are; how many that is."""
        return self._desk.cancel_all(pair)

    def schedule_cancel(self, after: str | None, *, venue: str | None = None) -> None:
        """
        Set the dead man's switch: after so long the venue cancels all orders, unless it is set again before.

        Args:
            after: A length of time, such as `10s`; None puts it out.
            venue: Name of the venue, where there are several; None: all.

        What a venue does not take (too short, too often, it has none) is a row of the log, `refused`, with the reason, is
        counted as `schedule_cancel_refused`, and changes nothing. A venue's least counts from the arrival of the request: ask
        for the entry latency more.
        Raises ConfigError for what is no length of time, or a venue that is not of the run.
        """
        at_ns = None if after is None else self.now_ns + length_ns(after, "schedule_cancel")
        self._desk.schedule_cancel(at_ns, venue)

    def keep(
        self, pair: PairName, tag: str, side: Side | str, *, price: float | None, size: float, post_only: bool = True
    ) -> OwnOrder | None:
        """
        Have one order of that tag at that price and size, and no other.

        Sends it where there is none, amends it where price or size differ, and does nothing where it is as wanted, or
        while an answer about it is awaited. `price` None: have none.

        Returns the order; None where there is none.
        """
        return self._desk.keep(pair, tag, Side(side), price, size, post_only)

    # -- time and notes ----------------------------------------------------------------------------------------

    def set_timer(
        self, name: str, *, at_ns: int | None = None, after: str | None = None, every: str | None = None
    ) -> None:
        """
        Have `on_timer(name, due_ns)` called once at a time, once after a length of time from now, or at the multiples of
        a length since the epoch, 1 ms or more; another timer of that name is forgotten.

        Raises ConfigError unless exactly one of the three is given.
        """
        self._session.set_timer(name, at_ns, after, every)

    def cancel_timer(self, name: str) -> bool:
        """Forget a timer; False where there is none of that name."""
        return self._session.cancel_timer(name)

    def record(self, **values: float) -> None:
        """Put values into the series of the result, each under its name, at this time."""
        self._desk.record(values)

    def log(self, text: str, **values: object) -> None:
        """Write a line, with values, into the decision log."""
        self._desk.note(text, values)
