"""What of an account's money is chosen for a run, as `House` takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from replay.ledger.margin_rules import MarginMode
from toolkit.keys import PairKey

__all__ = ["HouseSettings", "Transfer", "chosen_for", "tier_at"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Transfer:
    """
    A deposit or withdrawal of a run.

    Attributes:
        at_ns: When, on the clock that recorded.
        account: Currency, or name of an account.
        amount: Withdrawn where it is negative.
    """

    at_ns: int
    account: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseSettings:
    """
    What of the money is chosen for a run.

    Attributes:
        leverage: Leverage by pair, or by `PAIR on VENUE`; under an empty name that of all others. Empty: nothing is bought on margin, and
            nothing checked.
        margin: Mode by pair, likewise; cross where nothing is said.
        fee_tier: Name of the tier at the start, below which it does not fall; see `tier_at`.
        fee_volume: Volume of the tiers' window before the start, quote currency.
        maintenance: Maintenance rate that is assumed.
        transfers: Deposits and withdrawals, in order of time.
        has_fixed_fees: Whether fees were given, and there are no tiers.
        mark_is_mid: Whether the middle of the book, each second, is taken for the price that margin, funding and stops go
            by, of pairs of which no such price was received.
        block_ns: Length of a block that is assumed; 0: none is.
        cancel_blocks: For how many blocks after its cancel an order is assumed to be matched still; None: until it expires.
        fees_in_quote: Whether all fees are assumed to be paid in the quote currency, where buyers pay in what they get.
    """

    leverage: Mapping[str, Decimal] = field(default_factory=dict)
    margin: Mapping[str, MarginMode] = field(default_factory=dict)
    fee_tier: str | None = None
    fee_volume: Decimal = Decimal(0)
    maintenance: Decimal | None = None
    transfers: Sequence[Transfer] = ()
    has_fixed_fees: bool = False
    mark_is_mid: bool = False
    block_ns: int = 0
    cancel_blocks: int | None = None
    fees_in_quote: bool = False


def chosen_for(key: PairKey, chosen: Mapping[str, _T]) -> _T | None:
    """What was chosen for a pair: by pair and venue, else by its name, else for all; None where nothing was."""
    return chosen.get(str(key), chosen.get(key.trading_pair, chosen.get("")))


def tier_at(fee_tier: str | None, venue: str) -> str | None:
    """The name of the tier at a venue: `2` means it everywhere, `one=2,other=VIP 1` at each of those; None: by volume."""
    if fee_tier is None or "=" not in fee_tier:
        return fee_tier
    named = dict(part.strip().split("=", 1) for part in fee_tier.split(",") if "=" in part)
    return named.get(venue)
