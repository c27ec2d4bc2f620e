"""The levels of one side of a book as columns: what they may be, and what is left out of them."""

from __future__ import annotations

from math import inf
from operator import gt, lt
from typing import NamedTuple, cast

from toolkit.errors import BookError
from toolkit.messages import BestQuote

__all__ = [
    "Columns",
    "KeptColumns",
    "OrderBookEntry",
    "check_changes",
    "check_levels",
    "check_quote",
    "counted",
    "held",
    "shown_level",
]

#: Prices, sizes and numbers of orders, best first; the last is empty unless the orders of every level are counted.
Columns = tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]
#: The same of levels of which some have such a number and others None; empty where all are None.
KeptColumns = tuple[tuple[float, ...], tuple[float, ...], tuple[int | None, ...]]


class OrderBookEntry(NamedTuple):
    """One price level: price, absolute resting size, number of orders (None where the venue does not say)."""

    price: float
    size: float
    order_count: int | None = None


def check_levels(columns: KeptColumns, *, is_bid: bool) -> None:
    """Raise BookError unless these are levels of one side of a book: finite, not negative, best first, each once."""
    prices, sizes, _ = columns
    if not prices:
        return
    _check_lengths(columns)
    # NaN makes every sum NaN and every comparison false, so these passes at C speed let none through.
    if not (min(sizes) >= 0.0 and sum(sizes) < inf):
        raise BookError(f"sizes {sizes[:5]}: expected finite numbers of 0 or more")
    best, worst = prices[0], prices[-1]
    if not (0.0 < best < inf and 0.0 < worst < inf):
        raise BookError(f"prices from {best} to {worst}: expected finite numbers above 0")
    if not all(map(gt if is_bid else lt, prices, prices[1:])):
        order = "strictly descending bids" if is_bid else "strictly ascending asks"
        raise BookError(f"prices {prices[:5]}: expected {order}")


def check_changes(columns: KeptColumns) -> None:
    """Raise BookError unless these are sizes of levels, 0 of those that are gone: in any order, and not empty."""
    prices, sizes, _ = columns
    _check_lengths(columns)
    # NaN makes a sum NaN, and infinity makes it infinite or NaN, so these passes at C speed let none through.
    if not (min(prices) > 0.0 and min(sizes) >= 0.0 and sum(prices) < inf and sum(sizes) < inf):
        raise BookError(f"prices {prices[:5]} with sizes {sizes[:5]}: expected positive ones, and sizes of 0 or more")


def _check_lengths(columns: KeptColumns) -> None:
    prices, sizes, counts = columns
    if len(sizes) != len(prices) or (counts and len(counts) != len(prices)):
        numbers = f" and {len(counts)} counts" if counts else ""
        raise BookError(f"{len(prices)} prices with {len(sizes)} sizes{numbers}: expected as many")


def check_quote(message: BestQuote) -> None:
    """Raise BookError unless what a quote gives of each side is a level, or nothing."""
    for price, size, count, is_bid in (
        (message.bid_price, message.bid_size, message.bid_count, True),
        (message.ask_price, message.ask_size, message.ask_count, False),
    ):
        if price is not None and size is not None:
            check_levels(((price,), (size,), () if count is None else (count,)), is_bid=is_bid)


def counted(columns: KeptColumns) -> Columns:
    """The same without numbers of orders, unless every level has one."""
    return (*columns[:2], ()) if None in columns[2] else cast("Columns", columns)


def shown_level(level: OrderBookEntry | None) -> str:
    """A level for people: price x size."""
    return "-" if level is None else f"{level.price:.15g} x {level.size:.15g}"


def held(columns: KeptColumns) -> KeptColumns:
    """The levels that hold something."""
    prices, sizes, counts = columns
    places = [place for place, size in enumerate(sizes) if size]
    return (
        tuple(prices[place] for place in places),
        tuple(sizes[place] for place in places),
        tuple(counts[place] for place in places) if counts else (),
    )
