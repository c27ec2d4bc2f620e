"""
The anonymous crowd of one coin: seeded limit orders, takers and cancels around a moving fair price.

Everything is decided by the coin's own generator, one block at a time, with additions and multiplications of floats
only (no logarithms), so that two machines agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable

from replay.market.engine.book import Book
from replay.market.engine.orders import Order, Tif
from replay.synthetic.instruments import SyntheticInstrument
from toolkit.rng import seeded

__all__ = ["Flow", "address"]

#: Levels a side that the crowd tries to keep, with room above the 20 that the venue shows.
LEVELS_MIN = 26
#: Levels a side above which the farthest one is taken out.
LEVELS_MAX = 48
#: Resting orders of the crowd around which adding and cancelling balance.
ORDERS_TARGET = 130
#: Ticks between the touches above which somebody steps in between.
SPREAD_TICKS_MAX = 3
#: Ticks that the fair price must have run ahead for more than the best level to be picked off.
JUMP_TICKS = 15
#: Share of the fair price beyond which no order takes a price: the book has a hole after a jump.
SILLY = 0.005
#: How far from its base the fair price may walk, as a share of the base.
RANGE = 0.15


def address(bits: int) -> str:
    """An account address of 160 bits: 0x and 40 hex digits in lower case."""
    return f"0x{bits:040x}"


class Flow:
    """
    The crowd of one coin (for an outcome pair, of both).

    Args:
        instrument: The coin; for an outcome pair the first of the two.
        book: Where its orders rest.
        seed: Seed of this coin's generator.
        next_oid: Gives the venue's next order id.
        take: Trades an order against the book, prints the trades and calls `forget` for what they used up.
    """

    def __init__(
        self,
        instrument: SyntheticInstrument,
        book: Book,
        seed: str,
        next_oid: Callable[[], int],
        take: Callable[[Order], object],
    ) -> None:
        self.instrument = instrument
        self.book = book
        self.random = seeded(seed)
        self.fair = float(instrument.base_units)
        self.drift = 0.0
        self._next_oid = next_oid
        self._take = take
        self._live: list[Order] = []
        owners = seeded(f"{seed}/owners")
        self._makers = [address(owners.getrandbits(160)) for _ in range(12)]
        self._takers = [address(owners.getrandbits(160)) for _ in range(30)]
        self._paired = instrument.mirror is not None
        self._low = instrument.base_units * (1.0 - RANGE)
        self._high = instrument.base_units * (1.0 + RANGE)
        self._fill_book()

    def step(self, time_ms: int, *, force_trade: bool = False) -> None:
        """One block of the crowd's life."""
        rand = self.random.random
        if rand() >= self.instrument.activity and not force_trade:
            return
        self._walk()
        self._arbitrage(time_ms)
        if force_trade or rand() < 0.1:
            self._market_order(time_ms)
        if rand() < 0.85:
            self._add(time_ms, rand() < 0.5, rand() * rand() * 14.0)
        if rand() < (0.75 if len(self._live) > ORDERS_TARGET else 0.45):
            self._cancel_one()
        self._repair(time_ms)

    # The fair price ------------------------------------------------------------------------------------------------

    def _walk(self) -> None:
        """Move the fair price: noise with a short memory, drawn back to the base, kept within `RANGE`."""
        rand = self.random.random
        instrument = self.instrument
        base = instrument.base_units
        # The sum of three uniforms is bell-shaped enough, and exact on every machine.
        noise = (rand() + rand() + rand() - 1.5) * 2.0 * instrument.volatility
        self.drift = 0.97 * self.drift + 0.03 * noise
        pull = (base - self.fair) / base * 0.02
        self.fair += (noise + 4.0 * self.drift + pull) * instrument.tick(int(self.fair))
        self.fair = min(max(self.fair, self._low), self._high)

    def _fair_px(self) -> tuple[int, int]:
        """The fair price rounded down to a valid one, and the tick there."""
        px = int(self.fair)
        tick = self.instrument.tick(px)
        return px - px % tick, tick

    # What the crowd does -------------------------------------------------------------------------------------------

    def _size(self) -> int:
        rand = self.random.random
        lots = int(self.instrument.mean_lots * rand() * rand() * 4.0) + 1
        if rand() < 0.3:
            # People like round sizes.
            unit: int = 10 ** max(0, len(str(lots)) - 1)
            lots = max(unit, lots - lots % unit)
        return max(lots, self._lots_min)

    @property
    def _lots_min(self) -> int:
        """Fewest lots worth 10 in quote currency, the venue's least order."""
        instrument = self.instrument
        # px / one * lots / lots_per_unit >= 10
        return 10 * instrument.one * instrument.lots_per_unit // max(1, int(self.fair)) + 1

    def _add(self, time_ms: int, is_buy: bool, distance: float) -> None:
        """Rest an order `distance` ticks behind the fair price, never crossing."""
        instrument, book = self.instrument, self.book
        px, tick = self._fair_px()
        steps = int(distance)
        px = px - steps * tick if is_buy else px + (steps + 1) * tick
        if is_buy:
            best = book.asks.best
            if best is not None and px >= best:
                px = best - instrument.tick(best)
        else:
            best = book.bids.best
            if best is not None and px <= best:
                px = best + instrument.tick(best)
        if px <= 0 or (self._paired and px >= instrument.one):
            return
        # A price one tick away may belong to a decade with a coarser tick.
        rest = px % instrument.tick(px)
        if rest:
            px = px - rest if is_buy else px - rest + instrument.tick(px)
        random = self.random
        order = Order(
            self._next_oid(),
            self._makers[int(random.random() * 12)],
            is_buy,
            px,
            self._size(),
            mirrored=self._paired and random.random() < 0.5,
            time_ms=time_ms,
        )
        if book.crosses(is_buy, px):
            return
        book.rest(order)
        order.slot = len(self._live)
        self._live.append(order)

    def _send_ioc(self, time_ms: int, is_buy: bool, px: int, lots: int) -> None:
        random = self.random
        order = Order(
            self._next_oid(),
            self._takers[int(random.random() * 30)],
            is_buy,
            px,
            lots,
            mirrored=self._paired and random.random() < 0.5,
            tif=Tif.IOC,
            time_ms=time_ms,
        )
        self._take(order)

    def _market_order(self, time_ms: int) -> None:
        """Somebody takes liquidity: usually inside the touch, sometimes through several levels."""
        rand = self.random.random
        is_buy = rand() < 0.5 + min(max(self.drift * 0.5, -0.2), 0.2)
        side = self.book.asks if is_buy else self.book.bids
        level = side.best_level()
        if level is None or abs(level.px - self.fair) > self.fair * SILLY:
            return
        through = 2 + int(rand() * 4.0) if rand() < 0.15 else 0
        lots = max(int(level.lots * rand() * 0.6), self._lots_min)
        if through:
            lots = level.lots * through
        tick = self.instrument.tick(level.px)
        px = level.px + through * tick if is_buy else level.px - through * tick
        if px > 0:
            self._send_ioc(time_ms, is_buy, px, lots)

    def _arbitrage(self, time_ms: int) -> None:
        """Orders that the fair price has moved through are picked off, several levels at once after a jump."""
        px, tick = self._fair_px()
        asks, bids = self.book.asks, self.book.bids
        ask, bid = asks.best, bids.best
        if ask is not None and ask < px - tick:
            depth = 8 if px - ask > JUMP_TICKS * tick else 1
            lots = sum(level.lots for level in asks.levels(depth) if level.px <= px - tick)
            self._send_ioc(time_ms, True, px - tick, max(lots, self._lots_min))
        elif bid is not None and bid > px + 2 * tick:
            depth = 8 if bid - px > JUMP_TICKS * tick else 1
            lots = sum(level.lots for level in bids.levels(depth) if level.px >= px + 2 * tick)
            self._send_ioc(time_ms, False, px + 2 * tick, max(lots, self._lots_min))

    def jump(self, share: float) -> None:
        """Move the fair price by that share of itself at once: news, a crash, a squeeze."""
        self.fair = min(max(self.fair * (1.0 + share), self._low), self._high)

    # Keeping the book in shape -------------------------------------------------------------------------------------

    def forget(self, order: Order) -> None:
        """An order of the crowd is gone from the book: swap the last one into its place."""
        slot = order.slot
        if slot < 0:
            return
        last = self._live.pop()
        if last is not order:
            self._live[slot] = last
            last.slot = slot
        order.slot = -1

    def _cancel(self, order: Order) -> None:
        self.book.cancel(order.oid)
        self.forget(order)

    def _cancel_one(self) -> None:
        """Cancel the one of two random orders that is farther from the fair price."""
        live, rand = self._live, self.random.random
        if len(live) < 2:
            return
        one, other = live[int(rand() * len(live))], live[int(rand() * len(live))]
        fair = int(self.fair)
        self._cancel(one if abs(one.px - fair) >= abs(other.px - fair) else other)

    def _repair(self, time_ms: int) -> None:
        """Close a spread that is too wide, refill a side that is too thin, cut one that is too long."""
        book, rand = self.book, self.random.random
        bid, ask = book.bids.best, book.asks.best
        if bid is not None and ask is not None:
            tick = self.instrument.tick(bid)
            if ask - bid > SPREAD_TICKS_MAX * tick and rand() < 0.8:
                self._add(time_ms, rand() < 0.5, 0.0)
        for is_buy, side in ((True, book.bids), (False, book.asks)):
            for _ in range(3 if len(side) > LEVELS_MIN // 2 else LEVELS_MIN // 2):
                if len(side) >= LEVELS_MIN:
                    break
                self._add(time_ms, is_buy, rand() * 40.0)
            if len(side) > LEVELS_MAX:
                for order in list(side.queues[side.keys[0]].orders.values()):
                    if order.slot >= 0:
                        self._cancel(order)

    def _fill_book(self) -> None:
        """The book before the first block."""
        rand = self.random.random
        for is_buy, side in ((True, self.book.bids), (False, self.book.asks)):
            for distance in range(6):
                self._add(0, is_buy, float(distance))
            while len(side) < LEVELS_MIN + 6:
                self._add(0, is_buy, rand() * 45.0)
