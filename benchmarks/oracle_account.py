"""The account that the oracle keeps: float64, summed in the order of the fills, without margin or funding."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["Account", "compare_states"]

_TOLERANCE: Final = 1e-9
_NAMES: Final = ("position", "balance", "fee", "num_trades", "trading_volume", "trading_value")


class Account:
    """
    Position, balance and fees of fills.

    Args:
        instrument: `tick`, `kind` (`linear` or `inverse`), `contract`, and `fees` as (maker, taker).
    """

    def __init__(self, instrument: dict[str, Any]) -> None:
        self._facts = instrument
        self._sums = dict.fromkeys(_NAMES, 0.0)

    def take_all(self, fills: list[list[Any]]) -> None:
        """Add fills `(time, order, side, price in ticks, size, role)`."""
        facts, sums = self._facts, self._sums
        maker, taker = facts["fees"]
        for _, _, side, tick, size, role in fills:
            price = tick * facts["tick"]
            contract = facts["contract"]
            amount = contract * price * size if facts["kind"] == "linear" else contract * size / price
            sign = 1.0 if side == "buy" else -1.0
            sums["position"] += sign * size
            sums["balance"] -= sign * amount
            sums["fee"] += (maker if role == "maker" else taker) * amount
            sums["num_trades"] += 1
            sums["trading_volume"] += size
            sums["trading_value"] += amount

    def state(self) -> dict[str, float]:
        """The sums."""
        return dict(self._sums)


def compare_states(found: dict[str, float], expected: dict[str, Any]) -> str:
    """The first sum that differs; empty where none does. A sum near 0 is measured by what was added up in it."""
    scales = {"position": found["trading_volume"], "balance": found["trading_value"]}
    for name in _NAMES:
        scale = max(abs(expected[name]), scales.get(name, 0.0), _TOLERANCE)
        if abs(found[name] - expected[name]) > _TOLERANCE * scale:
            return f"final {name} is {found[name]!r}, expected {expected[name]!r}"
    return ""
