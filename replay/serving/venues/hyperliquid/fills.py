"""Decimals as the venue prints them, and fills of one crossing order as one row, as it gives them for `aggregateByTime`."""

from __future__ import annotations

from typing import Any

__all__ = ["aggregated", "text"]


def text(value: int, decimals: int) -> str:
    """`value * 10 ** -decimals` as the venue prints decimals: no trailing zeros, but always one digit after the point."""
    if value < 0:
        return "-" + text(-value, decimals)
    if decimals == 0:
        return f"{value}.0"
    whole, fraction = divmod(value, 10**decimals)
    return f"{whole}.{str(fraction).zfill(decimals).rstrip('0') or '0'}"


def aggregated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fills of one crossing order in one block as one row, at their average price: `aggregateByTime`."""
    merged: list[dict[str, Any]] = []
    for row in rows:
        last = merged[-1] if merged else None
        together = ("time", "oid", "coin", "side", "crossed")
        if last is None or not row["crossed"] or any(last[key] != row[key] for key in together):
            merged.append(dict(row))
            continue
        size, more = _exact(last["sz"]), _exact(row["sz"])
        last["px"] = _average(last["px"], size, row["px"], more)
        for key in ("sz", "fee", "closedPnl"):
            last[key] = _text(_exact(last[key]) + _exact(row[key]))
    return merged


#: Enough decimals for everything that is summed here.
_EXACT_DECIMALS = 12


def _exact(decimal: str) -> int:
    whole, _, fraction = decimal.lstrip("-").partition(".")
    value = int(whole + fraction.ljust(_EXACT_DECIMALS, "0"))
    return -value if decimal.startswith("-") else value


def _text(value: int) -> str:
    return text(value, _EXACT_DECIMALS)


def _average(px: str, size: int, other_px: str, other_size: int) -> str:
    total = (_exact(px) * size + _exact(other_px) * other_size) // (size + other_size)
    # To the digits that the venue's prices have at most.
    return text(total // 10**4, _EXACT_DECIMALS - 4)
