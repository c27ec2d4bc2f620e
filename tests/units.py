"""Printed decimals as the integers that the engine of a made-up market counts in."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["unit_digits"]


def unit_digits(decimal: str, decimals: int) -> int:
    """A printed decimal as an integer count of ``10 ** -decimals``."""
    return int(Decimal(decimal).scaleb(decimals))
