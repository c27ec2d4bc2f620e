"""What closing a position realised, by its average entry price: for venues that do not say so themselves."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from toolkit.accounts.exact_sums import ZERO, exact, exact_product, exact_ratio, exact_sum

__all__ = ["realized_by_average_cost"]


def realized_by_average_cost(
    size: float, entry_price: float | None, fills: Iterable[tuple[float, float]]
) -> list[float | None]:
    """
    Follow a position through its fills.

    The entry price is averaged while a position grows, kept while it shrinks, and that of the fill once it turns: the
    rule of perpetuals, and how a spot holding is accounted for that began at nothing.

    Args:
        size: Signed size of the position before the first fill, base currency.
        entry_price: Its entry price; None if there is no position, or it is not known.
        fills: Signed size and price of each, in order.

    Returns:
        For each fill what it realised, in quote currency and without fees: 0 where it closed nothing; None where the
        entry price of what it closed is not known.
    """
    position = exact(size)
    found: list[float | None] = []
    entry = None if entry_price is None else exact(entry_price)
    for signed, at in fills:
        change, price = exact(signed), exact(at)
        after = exact_sum(position, change)
        closed = _closed(position, change)
        if not closed:
            found.append(0.0)
        elif entry is None:
            found.append(None)
        else:
            found.append(float(exact_product(closed, exact_sum(price, -entry))))
        if not after:
            entry = None
        elif not position or position * after < 0:
            entry = price
        elif abs(after) > abs(position) and entry is not None:
            cost = exact_sum(exact_product(position, entry), exact_product(change, price))
            entry = exact_ratio(cost, after)
        position = after
    return found


def _closed(position: Decimal, change: Decimal) -> Decimal:
    """Signed size of the position that a fill closes."""
    if position * change >= 0:
        return ZERO
    size = min(abs(position), abs(change))
    return size if position > 0 else -size
