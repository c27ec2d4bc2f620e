"""
What a step function may call: the same names compiled and in plain Python.

Prices and sizes are whole numbers, in the units of the pair's market: `q[pair].tick` of them are one tick of the venue,
`q[pair].lot` one lot (1 nearly always). What is nonsense raises at the step function's own line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba.core import types
from numba.extending import overload

from replay.fast import kernel_view
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
_WHOLE_MAX: Final = 2.0**62


def _whole(value: Any) -> int:
    """A number as a whole one, which compiled code would make of any. Raises ValueError for another."""
    if isinstance(value, float) and not (value.is_integer() and abs(value) < _WHOLE_MAX):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def send(act: Any, pair: int, side: int, tick: int, lots: int, tif: int = GTC, tag: int = 0, reduce: int = 0) -> int:
    """Send a limit order; its place among those that have not ended."""
    place: int = act.send(*map(_whole, (pair, side, tick, lots, tif, 0, reduce, tag)))
    return place


def take(act: Any, pair: int, side: int, lots: int, tag: int = 0, reduce: int = 0) -> int:
    """Send an order at market; its place among those that have not ended."""
    place: int = act.send(*map(_whole, (pair, side, 0, lots, IOC, 1, reduce, tag)))
    return place


def keep(act: Any, pair: int, tag: int, side: int, tick: int, lots: int, tif: int = POST_ONLY) -> int:
    """
    Have one order of that tag at that price and size, and no other: it is sent, amended or left alone. Tick 0: have none.

    Returns its place among those that have not ended, -1 where there is none.
    """
    place: int = act.keep(*map(_whole, (pair, tag, side, tick, lots, tif)))
    return place


def amend(act: Any, place: int, tick: int, lots: int) -> bool:
    """Ask for another price and size (all of it, not what is left) of the order at a place; False where it is too late."""
    return bool(act.amend(*map(_whole, (place, tick, lots))))


def cancel(act: Any, place: int) -> bool:
    """Ask for the order at a place back; False where it is being cancelled already."""
    return bool(act.cancel(_whole(place)))


def cancel_all(act: Any, pair: int = -1) -> int:
    """Ask for all orders of a pair back, or for all there are; how many that is."""
    count: int = act.cancel_all(_whole(pair))
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
    return act.own(_whole(place))


def woken_pair(act: Any) -> int:
    """The place of the pair whose market or order calls; -1: a timer does."""
    pair: int = act.woken_pair()
    return pair


def level(act: Any, pair: int, side: int, place: int) -> tuple[int, int]:
    """Price and size of a level of a side's book, the best at place 0; two zeros where there is none."""
    found: tuple[int, int] = act.level(*map(_whole, (pair, side, place)))
    return found


def size_within(act: Any, pair: int, side: int, ticks: int) -> int:
    """Size of a side of the book no further than so many units of price from its best one."""
    size: int = act.size_within(*map(_whole, (pair, side, ticks)))
    return size


def price_to_fill(act: Any, pair: int, side: int, lots: int) -> float:
    """Average price of an order at market, in units of price; NaN where the book is too thin for it."""
    price: float = act.price_to_fill(*map(_whole, (pair, side, lots)))
    return price


# -- compiled ------------------------------------------------------------------------------------------------------
#: numba's decorator for the compiled form of a function, which it does not type; arguments are its types of them.
_compiled: Final[Callable[[Callable[..., Any]], Callable[[Callable[..., Any]], Any]]] = overload


@_compiled(_whole)
def _whole_of(value: Any) -> Any:
    if isinstance(value, types.Float):
        return _whole_of_float
    return lambda value: np.int64(value)  # noqa: PLW0108  # numba compiles this one


def _whole_of_float(value: Any) -> Any:
    if not (np.floor(value) == value and abs(value) < _WHOLE_MAX):
        raise ValueError("no whole number")
    return np.int64(value)


@_compiled(send)
def _send(act: Any, pair: Any, side: Any, tick: Any, lots: Any, tif: Any = GTC, tag: Any = 0, reduce: Any = 0) -> Any:
    made = kernel_view.send_order
    return lambda act, pair, side, tick, lots, tif=GTC, tag=0, reduce=0: made(
        act,
        _whole(pair),
        _whole(side),
        _whole(tick),
        _whole(lots),
        _whole(tif),
        np.int64(0),
        _whole(reduce),
        _whole(tag),
    )


@_compiled(take)
def _take(act: Any, pair: Any, side: Any, lots: Any, tag: Any = 0, reduce: Any = 0) -> Any:
    made = kernel_view.send_order
    return lambda act, pair, side, lots, tag=0, reduce=0: made(
        act,
        _whole(pair),
        _whole(side),
        np.int64(0),
        _whole(lots),
        np.int64(IOC),
        np.int64(1),
        _whole(reduce),
        _whole(tag),
    )


@_compiled(keep)
def _keep(act: Any, pair: Any, tag: Any, side: Any, tick: Any, lots: Any, tif: Any = POST_ONLY) -> Any:
    made = kernel_view.keep_order
    return lambda act, pair, tag, side, tick, lots, tif=POST_ONLY: made(
        act, _whole(pair), _whole(tag), _whole(side), _whole(tick), _whole(lots), _whole(tif)
    )


@_compiled(amend)
def _amend(act: Any, place: Any, tick: Any, lots: Any) -> Any:
    made = kernel_view.amend_order
    return lambda act, place, tick, lots: made(act, _whole(place), _whole(tick), _whole(lots))


@_compiled(cancel)
def _cancel(act: Any, place: Any) -> Any:
    made = kernel_view.cancel_order
    return lambda act, place: made(act, _whole(place))


@_compiled(cancel_all)
def _cancel_all(act: Any, pair: Any = -1) -> Any:
    made = kernel_view.cancel_all_orders
    return lambda act, pair=-1: made(act, _whole(pair))


@_compiled(open_count)
def _open_count(act: Any) -> Any:
    made = kernel_view.order_count
    return lambda act: made(act)  # noqa: PLW0108  # numba compiles this one


@_compiled(own)
def _own(act: Any, place: Any) -> Any:
    made = kernel_view.order_at
    return lambda act, place: made(act, _whole(place))


@_compiled(woken_pair)
def _woken_pair(act: Any) -> Any:
    return lambda act: act.clock[0]["pair"]


@_compiled(level)
def _level(act: Any, pair: Any, side: Any, place: Any) -> Any:
    made = kernel_view.level_of
    return lambda act, pair, side, place: made(act, _whole(pair), _whole(side), _whole(place))


@_compiled(size_within)
def _size_within(act: Any, pair: Any, side: Any, ticks: Any) -> Any:
    made = kernel_view.size_near
    return lambda act, pair, side, ticks: made(act, _whole(pair), _whole(side), _whole(ticks))


@_compiled(price_to_fill)
def _price_to_fill(act: Any, pair: Any, side: Any, lots: Any) -> Any:
    made = kernel_view.price_of_fill
    return lambda act, pair, side, lots: made(act, _whole(pair), _whole(side), _whole(lots))
