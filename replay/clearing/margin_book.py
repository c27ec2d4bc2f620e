"""
Margin of an account, exactly: what stands for its positions, what they need, and what is free for more.

With cross margin all of an account's money in a currency stands for all its positions in it. With isolated margin a part of
it is set aside for each position when that is opened, in proportion to what was bought, and comes back in proportion to what
is closed; only that stands for it.

An order needs the margin of what it would add to the position if all orders of its side were filled; one that makes the
position smaller needs none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil

from replay.ledger.ledger import Account, Ledger, LedgerEntry
from replay.ledger.margin_rules import MarginMode, MarginTiers
from replay.ledger.money import ContractKind
from replay.market.layout import BUY

__all__ = ["MarginBook", "PairMargin", "Resting"]


@dataclass(slots=True)
class PairMargin:
    """
    Margin of one pair.

    Attributes:
        leverage: Leverage as chosen.
        mode: Money that stands for its position.
        tiers: Tiers of margin that the venue has for the pair.
        price: Price that the position is valued at, in units; None before one was received.
        aside: Set aside for it, in units of cash, where it is isolated.
    """

    leverage: Decimal
    mode: MarginMode
    tiers: MarginTiers
    price: int | None = None
    aside: int = 0


@dataclass(frozen=True, slots=True)
class Resting:
    """An order that the venue has, or is asked to take: its pair, side and worth, positive, in units of cash."""

    pair: int
    side: int
    worth: int


class MarginBook:
    """
    Margin of all pairs that are traded on it.

    Args:
        ledger: The money at the venue.

    Attributes:
        pairs: Pairs by place; others are paid for in full, or not known yet.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.pairs: dict[int, PairMargin] = {}

    # -- what happens ----------------------------------------------------------------------------------------------

    def execute(self, entry: LedgerEntry) -> None:
        """An execution was taken into the ledger: what is set aside follows."""
        margin = self.pairs.get(entry.pair)
        if margin is None or margin.mode is MarginMode.CROSS:
            return
        before, after = entry.position_before, entry.position
        if before and (before > 0) == (after > 0) and abs(after) < abs(before):
            margin.aside = margin.aside * abs(after) // abs(before)
            return
        if not before or not after or (before > 0) != (after > 0):
            margin.aside = 0
            opened = abs(after)
        else:
            opened = abs(after) - abs(before)
        worth = abs(entry.worth) * opened // entry.size
        margin.aside += ceil(Fraction(worth) / Fraction(margin.leverage))

    def fund(self, pair: int, received: int, *, of_isolated: bool) -> None:
        """Funding was paid or received: of an isolated position it may move what is set aside."""
        margin = self.pairs.get(pair)
        if margin is not None and margin.mode is MarginMode.ISOLATED and of_isolated:
            margin.aside = max(0, margin.aside + received)

    # -- what there is ---------------------------------------------------------------------------------------------

    def worth(self, pair: int) -> int:
        """Worth of a position at the price that margin goes by; at entry where there is none."""
        position, margin = self._ledger.positions[pair], self.pairs.get(pair)
        if margin is None or margin.price is None or not position.size:
            return position.open_worth
        return self._ledger.arithmetic(pair).worth(position.size, margin.price)

    def value(self, pair: int) -> int:
        """The same, positive."""
        return abs(self.worth(pair))

    def scope(self, pair: int) -> list[int]:
        """The pairs that stand or fall with one: itself where it is isolated, else all of its account that are not."""
        margin = self.pairs[pair]
        if margin.mode is MarginMode.ISOLATED:
            return [pair]
        return self._crossed(self._ledger.account_of(pair))

    def _crossed(self, account: Account) -> list[int]:
        return [each for each in account.pairs if each in self.pairs and self.pairs[each].mode is MarginMode.CROSS]

    def equity(self, pair: int) -> int:
        """What stands for a pair's position, with its profit or loss."""
        margin = self.pairs[pair]
        if margin.mode is MarginMode.ISOLATED:
            return margin.aside + self.worth(pair) - self._ledger.positions[pair].open_worth
        return self._cross_equity(self._ledger.account_of(pair))

    def _cross_equity(self, account: Account) -> int:
        total = account.cash
        for place in account.pairs:
            contract = self._ledger.markets[place].contract
            if contract is not None and contract.kind is ContractKind.SPOT:
                continue
            margin = self.pairs.get(place)
            if margin is not None and margin.mode is MarginMode.ISOLATED:
                total += self._ledger.positions[place].open_worth - margin.aside
            else:
                total += self.worth(place)
        return total

    def maintenance(self, pair: int) -> Fraction:
        """Maintenance margin of all that stands or falls with a pair."""
        return sum((self.pairs[each].tiers.maintenance(self.value(each)) for each in self.scope(pair)), Fraction(0))

    def initial(self, pair: int, value: int) -> Fraction:
        """Initial margin of a position of that value: by the leverage that was chosen, or what its tier allows."""
        margin = self.pairs[pair]
        return Fraction(value) / Fraction(min(margin.leverage, margin.tiers.leverage_max(value)))

    def free(self, pair: int, resting: Iterable[Resting]) -> Fraction:
        """What is free for further orders of a pair's account, with those that rest counted."""
        account = self._ledger.account_of(pair)
        orders: dict[int, list[Resting]] = {}
        for order in resting:
            orders.setdefault(order.pair, []).append(order)
        total = Fraction(self._cross_equity(account))
        for place in account.pairs:
            margin = self.pairs.get(place)
            if margin is None:
                continue
            if margin.mode is MarginMode.CROSS:
                total -= self.initial(place, self.value(place))
            total -= self._of_orders(place, orders.get(place, ()))
        return total

    def _of_orders(self, pair: int, orders: Iterable[Resting]) -> Fraction:
        """Margin of what the orders of one side would add, of the side that adds more."""
        value = self.value(pair)
        held = value if self._ledger.positions[pair].size > 0 else -value
        buys = sum(order.worth for order in orders if order.side == BUY)
        sells = sum(order.worth for order in orders if order.side != BUY)
        most = max(abs(held + buys), abs(held - sells))
        return self.initial(pair, most) - self.initial(pair, value) if most > value else Fraction(0)

    def takes(self, order: Resting, resting: Iterable[Resting]) -> bool:
        """Whether there is margin for an order beside those that rest."""
        held = list(resting)
        before = self._of_orders(order.pair, [each for each in held if each.pair == order.pair])
        with_it = [*held, order]
        after = self._of_orders(order.pair, [each for each in with_it if each.pair == order.pair])
        return after <= before or self.free(order.pair, with_it) >= 0

    # -- prices ----------------------------------------------------------------------------------------------------

    def bankruptcy_price(self, pair: int) -> int | None:
        """
        The price, in units, at which closing a position leaves nothing of what stands for it; None where any price leaves
        something.

        Rounded so that no less than nothing is left.
        """
        size = self._ledger.positions[pair].size
        if not size:
            return None
        sums = self._ledger.arithmetic(pair)
        return sums.price_at(size, self.worth(pair) - self.equity(pair), up=size > 0)

    def liquidation_price(self, pair: int) -> Fraction | None:
        """
        The price at which a position has exactly its maintenance margin, in the unit of prices, as other prices are now;
        None where there is none.
        """
        position, margin = self._ledger.positions[pair], self.pairs.get(pair)
        if not position.size or margin is None:
            return None
        sums = self._ledger.arithmetic(pair)
        rest = self.equity(pair) - self.worth(pair)
        others = self.maintenance(pair) - margin.tiers.maintenance(self.value(pair))
        # rest + worth = others + |worth| * rate - less, solved for the worth in the tier that it is in.
        sign = 1 if self.worth(pair) > 0 else -1
        for rate, less in margin.tiers.steps:
            worth = (others - less - rest) / (1 - sign * rate)
            if (worth > 0) == (sign > 0) and margin.tiers.rate(abs(int(worth)))[0] == rate:
                price = sums.price_of(position.size, round(worth))
                return price if price > 0 else None
        return None
