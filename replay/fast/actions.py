"""
What a step function may call, as plain Python has it; `kernel_actions.py` says what is compiled in its place.

Prices and sizes are whole numbers, in the units of the pair's market: `q[pair].tick` of them are one tick of the venue,
`q[pair].lot` one lot (1 nearly always). What is nonsense raises at the step function's own line.
"""

from __future__ import annotations

from typing import Any, Final

from replay.fast.engine_layout import Why
from replay.market.layout import TifCode

__all__ = [
    "BUY",
    "FOK",
    "GTC",
    "IOC",
    "ON_BOOK",
    "ON_FILL",
    "ON_FUNDING",
    "ON_GAP",
    "ON_ORDER",
    "ON_QUOTE",
    "ON_START",
    "ON_TIMER",
    "ON_TRADE",
    "POST_ONLY",
    "SELL",
    "amend",
    "cancel",
    "cancel_all",
    "keep",
    "level",
    "open_count",
    "own",
    "price_to_fill",
    "send",
    "size_within",
    "take",
    "woken_pair",
]

BUY: Final = 0
SELL: Final = 1
GTC: Final = int(TifCode.GTC)
IOC: Final = int(TifCode.IOC)
FOK: Final = int(TifCode.FOK)
POST_ONLY: Final = int(TifCode.POST_ONLY)
ON_QUOTE: Final = int(Why.QUOTE)
ON_TRADE: Final = int(Why.TRADE)
ON_TIMER: Final = int(Why.TIMER)
ON_FILL: Final = int(Why.FILL)
ON_ORDER: Final = int(Why.ORDER)
ON_FUNDING: Final = int(Why.FUNDING)
ON_GAP: Final = int(Why.GAP)
ON_BOOK: Final = int(Why.BOOK)
ON_START: Final = int(Why.START)
WHOLE_MAX: Final = 2.0**62


def whole(value: Any) -> int:
    """A number as a whole one, which compiled code would make of any. Raises ValueError for another."""
    if isinstance(value, float) and not (value.is_integer() and abs(value) < WHOLE_MAX):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def send(act: Any, pair: int, side: int, tick: int, lots: int, tif: int = GTC, tag: int = 0, reduce: int = 0) -> int:
    """Send a limit order; its place among those that have not ended."""
    place: int = act.send(*map(whole, (pair, side, tick, lots, tif, 0, reduce, tag)))
    return place


def take(act: Any, pair: int, side: int, lots: int, tag: int = 0, reduce: int = 0) -> int:
    """Send an order at market; its place among those that have not ended."""
    place: int = act.send(*map(whole, (pair, side, 0, lots, IOC, 1, reduce, tag)))
    return place


def keep(act: Any, pair: int, tag: int, side: int, tick: int, lots: int, tif: int = POST_ONLY) -> int:
    """
    Have one order of that tag at that price and size, and no other: it is sent, amended or left alone. Tick 0: have none.

    Returns its place among those that have not ended, -1 where there is none.
    """
    place: int = act.keep(*map(whole, (pair, tag, side, tick, lots, tif)))
    return place


def amend(act: Any, place: int, tick: int, lots: int) -> bool:
    """Ask for another price and size (all of it, not what is left) of the order at a place; False where it is too late."""
    return bool(act.amend(*map(whole, (place, tick, lots))))


def cancel(act: Any, place: int) -> bool:
    """Ask for the order at a place back; False where it is being cancelled already."""
    return bool(act.cancel(whole(place)))


def cancel_all(act: Any, pair: int = -1) -> int:
    """Ask for all orders of a pair back, or for all there are; how many that is."""
    count: int = act.cancel_all(whole(pair))
    return count


def open_count(act: Any) -> int:
    """How many orders have not ended, as far as is known."""
    count: int = act.open_count()
    return count


def own(act: Any, place: int) -> Any:
    """
    The order at a place, in the order they were sent: `pair`, `side`, `tick`, `size`, `left`, `filled`, `tag`, `number`,
    `pending` (requests about it that were not answered) and `cancelling`. Raises IndexError where there is none.
    """
    return act.own(whole(place))


def woken_pair(act: Any) -> int:
    """The place of the pair whose market or order calls; -1: a timer does."""
    pair: int = act.woken_pair()
    return pair


def level(act: Any, pair: int, side: int, place: int) -> tuple[int, int]:
    """Price and size of a level of a side's book, the best at place 0; two zeros where there is none."""
    found: tuple[int, int] = act.level(*map(whole, (pair, side, place)))
    return found


def size_within(act: Any, pair: int, side: int, ticks: int) -> int:
    """Size of a side of the book no further than so many units of price from its best one."""
    size: int = act.size_within(*map(whole, (pair, side, ticks)))
    return size


def price_to_fill(act: Any, pair: int, side: int, lots: int) -> float:
    """Average price of an order at market, in units of price; NaN where the book is too thin for it."""
    price: float = act.price_to_fill(*map(whole, (pair, side, lots)))
    return price
