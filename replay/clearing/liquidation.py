"""
What a venue does with positions that have less than their maintenance margin, by the rules of its preset.

They are looked at when a price comes that margin goes by, and at no other time.
"""

from __future__ import annotations

from fractions import Fraction

from replay.backtest.admission import Floor
from replay.backtest.requests import Notice, NoticeKind, OwnOrder
from replay.clearing.margin_book import MarginBook
from replay.ledger.ledger import Ledger
from replay.ledger.margin_rules import Liquidation, LiquidationOrder, LiquidationRules
from replay.ledger.money import CASH_DECIMALS, amount, price_of, rate_units, size_of, units_of
from replay.market.layout import BUY, SELL, Reason, Role
from toolkit.timing.timers import NEVER_NS

__all__ = ["LIQUIDATION_TAG", "Liquidator"]

#: The tag of orders that the venue sends in the account's name.
LIQUIDATION_TAG = "liquidation"


class Liquidator:
    """
    One venue.

    Args:
        rules: Its procedure.
        ledger: The money at the venue.
        book: The margin.
        floor: Where it acts.

    Attributes:
        steps: Orders and takeovers so far, in order.
    """

    def __init__(self, rules: LiquidationRules, ledger: Ledger, book: MarginBook, floor: Floor) -> None:
        self._rules = rules
        self._ledger = ledger
        self._book = book
        self._floor = floor
        self.steps: list[Liquidation] = []
        #: Until when nothing is done after a part was liquidated, by the first pair of what falls together.
        self._paused: dict[int, int] = {}

    def look(self, pair: int, at_ns: int) -> int:
        """
        See whether what stands or falls with a pair has its maintenance margin, and act where it has not.

        Returns when to look again, where nothing else would; `NEVER_NS` otherwise.
        """
        scope = self._book.scope(pair)
        key, rules = scope[0], self._rules
        if at_ns < self._paused.get(key, at_ns):
            return NEVER_NS
        was_partial = self._paused.pop(key, None) is not None
        if not any(self._ledger.positions[each].size for each in scope) or not self._is_short(pair):
            return NEVER_NS
        if rules.cancels_orders:
            self._floor.end(at_ns, scope, Reason.LIQUIDATION)
            if not self._is_short(pair):
                return NEVER_NS
        if self._is_beyond(pair):
            self._take_over(scope, at_ns)
            return NEVER_NS
        for each in sorted(scope, key=self._book.value, reverse=True):
            is_known = each not in self._floor.desks[each].stale
            # While the book is not known nothing is matched: the venue tries again at the next price.
            if not self._ledger.positions[each].size or not self._is_short(each) or not is_known:
                continue
            if self._close(each, at_ns, is_second=was_partial):
                self._paused[key] = at_ns + rules.pause_ns
                return self._paused[key]
            if self._ledger.positions[each].size and self._is_short(each) and rules.takes_rest:
                self._take_over([each], at_ns)
        return NEVER_NS

    def _is_short(self, pair: int) -> bool:
        return self._book.equity(pair) < self._book.maintenance(pair)

    def _is_beyond(self, pair: int) -> bool:
        equity = self._book.equity(pair)
        return equity <= 0 or equity < Fraction(self._rules.backstop_share) * self._book.maintenance(pair)

    # -- the venue's order -----------------------------------------------------------------------------------------

    def _close(self, pair: int, at_ns: int, *, is_second: bool) -> bool:
        """Send the order; whether it was for a part."""
        size = self._ledger.positions[pair].size
        lots = abs(size) // self._ledger.arithmetic(pair).lot
        above = self._rules.partial_above
        is_part = above is not None and not is_second and self._book.value(pair) > units_of(above, CASH_DECIMALS)
        if is_part:
            lots = max(1, int(lots * self._rules.partial_share))
        bound = self._bound(pair)
        self._note(at_ns, pair, "order", lots * self._ledger.arithmetic(pair).lot * (1 if size > 0 else -1), bound)
        tick = None if bound is None else self._tick(pair, bound)
        self._floor.trade(at_ns, pair, SELL if size > 0 else BUY, lots, tick, LIQUIDATION_TAG)
        return is_part

    def _bound(self, pair: int) -> int | None:
        """The worst price of the order, in units: at no price is more lost than there is; None: there is no such price."""
        if self._rules.order is LiquidationOrder.FILLABLE:
            return self._fillable(pair)
        return self._book.bankruptcy_price(pair)

    def _fillable(self, pair: int) -> int | None:
        """Towards bankruptcy from the mark, by a share of the maintenance rate that grows as margin is lost."""
        margin = self._book.pairs[pair]
        if margin.price is None:
            return self._book.bankruptcy_price(pair)
        rate = margin.tiers.rate(self._book.value(pair))[0]
        left = Fraction(self._book.equity(pair)) / self._book.maintenance(pair)
        away = Fraction(self._rules.spread_share) * rate * (1 - left)
        is_long = self._ledger.positions[pair].size > 0
        price = Fraction(margin.price) * (1 - away if is_long else 1 + away)
        return -(-price.numerator // price.denominator) if is_long else price.numerator // price.denominator

    def _tick(self, pair: int, price: int) -> int:
        """The tick that is no worse than a price."""
        tick = self._ledger.arithmetic(pair).tick
        return max(1, -(-price // tick) if self._ledger.positions[pair].size > 0 else price // tick)

    def rate(self, order: OwnOrder, worth: int, after: int, ordinary: int) -> int:
        """
        What an execution of the venue's order costs, in units of 10**-12 of its worth: no more than what is left.

        Args:
            order: The order.
            worth: Worth of the execution, positive.
            after: Equity of the pair that is left after the execution, before its fee.
            ordinary: The account's taker fee.
        """
        rate = (ordinary if self._rules.has_taker_fee else 0) + rate_units(self._rules.fee)
        sums = self._ledger.arithmetic(order.pair)
        if rate <= 0 or sums.rounded(worth, rate) <= after:
            return rate
        return sums.rate_for(worth, after)

    # -- the venue takes over --------------------------------------------------------------------------------------

    def _take_over(self, scope: list[int], at_ns: int) -> None:
        """Positions become the venue's, at the price that leaves nothing of what stands for them."""
        for pair in sorted(scope, key=self._book.value, reverse=True):
            position = self._ledger.positions[pair]
            if not position.size:
                continue
            size = position.size
            price = self._book.bankruptcy_price(pair) or self._book.pairs[pair].price
            if price is None:
                continue
            self._note(at_ns, pair, "takeover", size, price)
            notice = Notice.of(NoticeKind.TAKEOVER, at_ns, pair, held=size, at_price=price)
            side = SELL if size > 0 else BUY
            entry = self._ledger.execute_at(pair, side, price, abs(size), Role.TAKER, at_ns, rate=0)
            self._book.execute(entry)
            self._floor.tell(pair, notice)

    def _note(self, at_ns: int, pair: int, what: str, size: int, price: int | None) -> None:
        mark = self._book.pairs[pair].price
        need = self._book.maintenance(pair)
        self.steps.append(
            Liquidation(
                at_ns,
                pair,
                what,
                "" if mark is None else f"{price_of(mark):f}",
                f"{amount(self._book.equity(pair)):f}",
                f"{round(amount(round(need)), 12).normalize():f}",
                f"{size_of(size):f}",
                None if price is None else f"{price_of(price):f}",
            )
        )
