"""
Where profit came from: what was earned against the middle of the book, where the price went after it, and what was held on.

In whole units of the ledger, so that the parts of a pair add up to its profit to the last digit, whatever its contract.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from replay.ledger.money import (
    CASH_DECIMALS,
    SIZE_DECIMALS,
    Arithmetic,
    Contract,
    ContractKind,
    Fees,
    amount,
    price_units,
    units_of,
)
from replay.results.run_info import AccountInfo, PairInfo, RunInfo
from replay.results.run_study import HORIZONS_S, ProfitParts, RunStudy
from toolkit.messages import Side

__all__ = ["PART_NAMES", "Divided", "divided", "profit_parts"]

#: In the order in which they are shown.
PART_NAMES: Final = ("spread", "adverse", "inventory", "fees", "funding")

_FREE = Fees(maker=Decimal(0), taker=Decimal(0))


def profit_parts(pair: PairInfo, fills: pl.DataFrame, mids: npt.NDArray[np.float64]) -> list[ProfitParts]:
    """
    Divide the profit of a pair.

    Args:
        pair: Figures of the pair.
        fills: Its rows of `Result.fills`, in order: `side`, `price`, `size`.
        mids: A row for each fill: the middle of the book just before it, and `HORIZONS_S` after it; NaN where none was
            known by then.

    Returns:
        One for each horizon. What has no middle before it counts as held on to from its own price.
    """
    spread, unmeasured = 0, 0
    adverse = [0] * len(HORIZONS_S)
    if fills.height:
        sums = _arithmetic(pair)
        units: dict[float, int] = {}

        def in_units(price: float) -> int:
            found = units.get(price)
            if found is None:
                found = units[price] = price_units(price)
            return found

        rows = zip(*(fills[name].to_list() for name in ("side", "price", "size")), mids.tolist(), strict=True)
        for side, price, size, (before, *after) in rows:
            if before != before:
                unmeasured += 1
                continue
            signed = units_of(Decimal(repr(size)), SIZE_DECIMALS) * (1 if side == Side.BUY else -1)
            middle = sums.worth(signed, in_units(before))
            spread += middle - sums.worth(signed, in_units(price))
            for place, later in enumerate(after):
                if later == later:
                    adverse[place] += sums.worth(signed, in_units(later)) - middle
    gross = _units(pair.realized) + _units(pair.unrealized)
    return [
        ProfitParts(
            venue=pair.venue,
            trading_pair=pair.trading_pair,
            horizon_s=horizon,
            spread=amount(spread),
            adverse=amount(moved),
            inventory=amount(gross - spread - moved),
            fees=amount(-_units(pair.fees)),
            funding=pair.funding,
            unmeasured=unmeasured,
        )
        for horizon, moved in zip(HORIZONS_S, adverse, strict=True)
    ]


def _arithmetic(pair: PairInfo) -> Arithmetic:
    contract = Contract(
        kind=ContractKind(pair.contract), settle=pair.settle, base=pair.base, contract_value=pair.contract_value
    )
    # Worth depends on neither fees, tick nor lot.
    return Arithmetic(contract, _FREE, Decimal(1), Decimal(1))


def _units(cash: Decimal) -> int:
    return units_of(cash, CASH_DECIMALS)


class Divided(msgspec.Struct, frozen=True, kw_only=True):
    """
    The net profit of an account by what it came from; all parts add up to it exactly.

    Attributes:
        account: Name of the account.
        horizon_s: See `ProfitParts`, as all parts.
        spread: Captured.
        adverse: Selection.
        inventory: Held on.
        fees: Less what was paid.
        funding: Received.
        other: Remainder that no pair accounts for.
        unmeasured: Fills before which no price was known.
    """

    account: AccountInfo
    horizon_s: int
    spread: Decimal
    adverse: Decimal
    inventory: Decimal
    fees: Decimal
    funding: Decimal
    other: Decimal
    unmeasured: int

    @property
    def rows(self) -> list[tuple[str, Decimal]]:
        """Parts by their names, in the order in which they are shown; what no pair accounts for only where it is something."""
        named = [(name, getattr(self, name)) for name in PART_NAMES]
        return [*named, ("other", self.other)] if self.other else named


def divided(info: RunInfo, study: RunStudy) -> list[Divided]:
    """The net profit of each account, for each horizon."""
    found = []
    for account in info.accounts:
        pairs = {(pair.venue, pair.trading_pair) for pair in info.pairs if pair.account == account.name}
        for horizon in HORIZONS_S:
            parts = [
                each for each in study.parts if each.horizon_s == horizon and (each.venue, each.trading_pair) in pairs
            ]
            sums = {name: sum(_units(getattr(each, name)) for each in parts) for name in PART_NAMES}
            found.append(
                Divided(
                    account=account,
                    horizon_s=horizon,
                    other=amount(_units(account.net) - sum(sums.values())),
                    unmeasured=sum(each.unmeasured for each in parts),
                    **{name: amount(total) for name, total in sums.items()},
                )
            )
    return found
