"""The words and numbers that account messages of a run have for what the ledger counts."""

from __future__ import annotations

from typing import Final

from replay.ledger.ledger import LedgerEntry, LedgerMarket
from replay.ledger.money import CASH_DECIMALS, ContractKind
from replay.market.layout import BUY

__all__ = ["base_of", "direction_of", "is_spot", "value_at"]

_CASH: Final = 10**CASH_DECIMALS


def value_at(size: int, mark: int | None) -> float | None:
    """Size at the mark, positive, in quote currency."""
    return None if mark is None else abs(size) * mark / _CASH


def is_spot(market: LedgerMarket) -> bool:
    """Whether the thing itself is bought."""
    return market.contract is not None and market.contract.kind is ContractKind.SPOT


def base_of(market: LedgerMarket) -> str:
    """What is bought of a pair."""
    return (market.contract.base if market.contract is not None else "") or market.key.trading_pair


def direction_of(entry: LedgerEntry, *, of_spot: bool) -> str:
    """What an execution did to the position, in the words that venues use."""
    if of_spot:
        return "Buy" if entry.side == BUY else "Sell"
    before, after = entry.position_before, entry.position
    if before > 0 > after:
        return "Long > Short"
    if before < 0 < after:
        return "Short > Long"
    if abs(after) > abs(before):
        return "Open Long" if after > 0 else "Open Short"
    return "Close Long" if before > 0 else "Close Short"
