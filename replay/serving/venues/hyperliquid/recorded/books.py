"""The venue's book of a coin at the tape's present, joined from the forms that were recorded, in the venue's own words."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from replay.serving.venues.hyperliquid.recorded.state import TapeState, decoded

__all__ = ["joined_book", "mid"]

#: Levels a side of a fast book.
FAST_LEVELS: Final = 5
#: Levels a side of any other.
FULL_LEVELS: Final = 20

Level = dict[str, Any]


def joined_book(state: TapeState, coin: str) -> dict[str, Any] | None:
    """
    `data` of an `l2Book` with what each recorded form said last; None if none has spoken yet.

    Newer forms win where they speak: five levels of the fast book over those of the full one, the best quote over both.
    A level that a newer form shows to be gone is left out; beyond what it shows the older form stands.
    """
    forms = [decoded(state.last.get(("l2Book", coin, is_fast, None, None))) for is_fast in (False, True)]
    books = sorted((form for form in forms if _is_book(form)), key=lambda form: int(form["time"]))
    quote = decoded(state.last.get(("bbo", coin)))
    if coin.startswith("#"):
        quote = (
            None  # an outcome's quote shows only the orders placed on the coin itself, its book those of its twin too
        )
    if not books and quote is None:
        return None
    time = 0
    bids: list[Level] = []
    asks: list[Level] = []
    for book in books:
        time = int(book["time"])
        is_whole = not book.get("fast")
        bids = _over(book["levels"][0], bids, is_bid=True, is_whole=is_whole)
        asks = _over(book["levels"][1], asks, is_bid=False, is_whole=is_whole)
    if isinstance(quote, dict) and int(quote.get("time", 0)) >= time:
        time = int(quote["time"])
        best = [*quote.get("bbo", []), None, None][:2]
        bids = _behind(best[0], bids, is_bid=True)
        asks = _behind(best[1], asks, is_bid=False)
    return {"coin": coin, "time": time, "levels": [bids[:FULL_LEVELS], asks[:FULL_LEVELS]]}


def mid(state: TapeState, coin: str) -> str | None:
    """The mid price; None where the tape has no book with two sides yet."""
    try:
        book = joined_book(state, coin)
        if book is None or not all(book["levels"]):
            return None
        value = (Decimal(book["levels"][0][0]["px"]) + Decimal(book["levels"][1][0]["px"])) / 2
    except (InvalidOperation, LookupError, TypeError, ValueError):
        return None
    text = format(value.normalize(), "f")
    return text if "." in text else f"{text}.0"


def _is_book(form: Any) -> bool:
    if not isinstance(form, dict) or not isinstance(form.get("time"), int):
        return False
    levels = form.get("levels")
    return isinstance(levels, list) and len(levels) == 2 and all(isinstance(side, list) for side in levels)


def _over(newer: list[Level], older: list[Level], *, is_bid: bool, is_whole: bool) -> list[Level]:
    """A newer side over an older one, which stands beyond the last level that the newer one had room for."""
    if is_whole or len(newer) < FAST_LEVELS:
        return list(newer)
    last = Decimal(newer[-1]["px"])
    return [*newer, *(level for level in older if _is_behind(level, last, is_bid=is_bid))]


def _behind(best: Level | None, side: list[Level], *, is_bid: bool) -> list[Level]:
    """A side behind a newer best level; no best level means that the side is empty."""
    if best is None:
        return []
    price = Decimal(best["px"])
    return [best, *(level for level in side if _is_behind(level, price, is_bid=is_bid))]


def _is_behind(level: Level, price: Decimal, *, is_bid: bool) -> bool:
    own = Decimal(level["px"])
    return own < price if is_bid else own > price
