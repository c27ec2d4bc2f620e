"""
The accounts of an exchange: it places, cancels and replaces their orders and settles what comes of them.

It takes part in the marketplace: it receives every fill and every funding settlement, and keeps the accounts to the
last unit. What happened to an account collects as facts until somebody takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from replay.market.engine.accounts import (
    SPOT_DECIMALS,
    Account,
    Clearinghouse,
    Position,
    divide,
    tokens_per_lot,
)
from replay.market.engine.book import Fill
from replay.market.engine.facts import (
    Accepted,
    Amended,
    Cancelled,
    Completed,
    Fact,
    Filled,
    FundingPaid,
    FundingSettled,
    Liquidated,
    Liquidation,
    Rejected,
    Trade,
    TransferKind,
    Transferred,
    Triggered,
)
from replay.market.engine.instruments import Instrument, Kind
from replay.market.engine.matching import ZERO_HASH, Marketplace
from replay.market.engine.orders import Order, OrderRecord, OrderView, Origin, Reason, Tif, Trigger
from replay.market.engine.settlement import FEE_ONE, FeeRates, settle_perp, settle_spot
from toolkit.account_messages import OrderState
from toolkit.rng import seeded

__all__ = ["RATE_DECIMALS", "Exchange", "ExchangeRules"]

#: Decimals of a funding rate.
RATE_DECIMALS = 10
_PERP_FEES: Final = FeeRates(45, 15)
_SPOT_FEES: Final = FeeRates(70, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRules:
    """
    What exchanges differ in.

    Attributes:
        perp_fees: Fees of trades in perpetuals.
        spot_fees: Fees of trades that move balances.
        notional_min: Least order, in quote currency; one that only reduces may be smaller.
        liquidation_reach: How far through the mark a liquidation may trade, as a divisor: 10 is a tenth.
    """

    perp_fees: FeeRates = _PERP_FEES
    spot_fees: FeeRates = _SPOT_FEES
    notional_min: int = 10
    liquidation_reach: int = 10


class Exchange:
    """
    The accounts, and the only way for their owners to trade.

    Args:
        market: Where their orders rest.
        seed: Seed of the names and hashes.
        rules: Rules in which exchanges differ.

    Attributes:
        accounts: Accounts by name.
        agents: Names that may act for an account and own nothing, to the account's name.
        owners: Called in every turn, after the exchange's own duties.
    """

    def __init__(self, market: Marketplace, seed: int | str, rules: ExchangeRules | None = None) -> None:
        self.market = market
        self.rules = rules or ExchangeRules()
        self.accounts: dict[str, Account] = {}
        self.agents: dict[str, str] = {}
        self.owners: list[Callable[[int], None]] = []
        self._facts: dict[str, list[Fact]] = {}
        self._random = seeded(f"{seed}/exchange")
        self._liquidated: Account | None = None
        self._liquidations = 0
        self._executing: OrderRecord | None = None
        self._liquidator = self._new_name()

    def _new_name(self) -> str:
        """A name of 160 bits: 0x and 40 hex digits in lower case."""
        return f"0x{self._random.getrandbits(160):040x}"

    # Accounts ------------------------------------------------------------------------------------------------------

    def open_account(self, name: str, *, master: str | None = None) -> Account:
        """A new account under a seeded name of the exchange; `name` is ours."""
        account = Account(self._new_name(), name, master=master)
        self.accounts[account.address] = account
        return account

    def add_agent(self, master: Account) -> str:
        """A name that may act for an account."""
        agent = self._new_name()
        self.agents[agent] = master.address
        return agent

    def deposit(self, account: Account, instrument: Instrument, amount: int) -> None:
        """Add collateral (1e-6) to the margin account that a perpetual is traded from."""
        house = account.clearinghouse(instrument)
        house.balance += amount
        self._note_transfer(TransferKind.DEPOSIT, amount, house, None, account)

    def to_spot(self, account: Account, instrument: Instrument, amount: int) -> None:
        """Move collateral (1e-6) of a perpetual to the account's own balance of that token."""
        house = account.clearinghouse(instrument)
        house.balance -= amount
        account.balance(house.token).total += amount * 10 ** (SPOT_DECIMALS - 6)
        self._note_transfer(TransferKind.TO_SPOT, amount, house, account, account)

    def to_sub_account(self, master: Account, sub: Account, instrument: Instrument, amount: int) -> None:
        """Move collateral (1e-6) between a master and its sub-account; both are notified."""
        house = master.clearinghouse(instrument)
        house.balance -= amount
        sub.clearinghouse(instrument).balance += amount
        self._note_transfer(TransferKind.BETWEEN_ACCOUNTS, amount, house, master, sub)

    def _note_transfer(
        self, kind: TransferKind, amount: int, house: Clearinghouse, sender: Account | None, recipient: Account
    ) -> None:
        digest = f"0x{self._random.getrandbits(256):064x}"
        fact = Transferred(
            self.market.time_ms,
            kind,
            amount,
            house.token,
            digest,
            "" if sender is None else sender.address,
            recipient.address,
        )
        for account in (recipient,) if sender is None or sender is recipient else (sender, recipient):
            account.ledger.append(fact)
            self._note(account, fact)

    def _note(self, account: Account, fact: Fact) -> None:
        self._facts.setdefault(account.address, []).append(fact)

    def take_facts(self) -> dict[str, list[Fact]]:
        """What happened since the last call, in order, by the name of the account."""
        facts, self._facts = self._facts, {}
        return facts

    # Orders --------------------------------------------------------------------------------------------------------

    def place(
        self,
        account: Account,
        symbol: str,
        is_buy: bool,
        px: int,
        lots: int,
        *,
        tif: Tif = Tif.GTC,
        origin: Origin = Origin.LIMIT,
        reduce_only: bool = False,
        client_id: str | None = None,
        trigger: Trigger | None = None,
    ) -> OrderRecord:
        """Send an order; the record says what became of it. `px` and `lots` are units of the instrument."""
        market = self.market
        order = Order(
            market.next_oid(),
            account.address,
            is_buy,
            px,
            lots,
            client_id=client_id,
            tif=tif,
            origin=origin,
            reduce_only=reduce_only,
            time_ms=market.time_ms,
        )
        record = OrderRecord(order, market.instruments[symbol], trigger)
        self._enter(account, record)
        return record

    def _enter(self, account: Account, record: OrderRecord, before: OrderView | None = None) -> None:
        """Refuse a new order, let it wait for its trigger, or execute it; `before` is the one that it replaces."""
        account.remember(record)
        refusal = self._refusal(account, record)
        if before is not None and (refusal is not None or not record.order.tif.rests):
            # Nothing takes its place in the book.
            self._note(account, Cancelled(self.market.time_ms, before, Reason.REQUESTED))
            before = None
        if refusal is not None:
            self._end(account, record, OrderState.REJECTED, refusal)
        elif record.trigger is not None:
            account.open[record.order.oid] = record
            self._accept(account, record, before)
        else:
            self._execute(account, record, before=before)

    def _accept(self, account: Account, record: OrderRecord, before: OrderView | None) -> None:
        now = record.state_ms = self.market.time_ms
        self._note(account, Accepted(now, record.view) if before is None else Amended(now, record.view, before))

    def _refusal(self, account: Account, record: OrderRecord) -> Reason | None:
        """Why the exchange does not take an order, None if it does."""
        order, instrument = record.order, record.instrument
        if not instrument.is_valid_px(order.px):
            return Reason.TICK
        least = self.rules.notional_min * instrument.one * instrument.lots_per_unit
        # A reduce-only order may close a remainder that is worth less than the least order.
        if not order.reduce_only and order.px * order.lots < least:
            return Reason.NOTIONAL
        if instrument.kind is Kind.SPOT:
            token = instrument.quote_name if order.is_buy else instrument.base_name
            need = order.px * order.lots if order.is_buy else order.lots * tokens_per_lot(instrument)
            if need > account.balance(token).total - account.held(token):
                return Reason.BALANCE
        else:
            house = account.clearinghouse(instrument)
            position = house.position(instrument)
            if order.reduce_only:
                if position.lots == 0 or (position.lots > 0) == order.is_buy:
                    return Reason.NOTHING_TO_REDUCE
                order.lots = order.orig_lots = min(order.lots, abs(position.lots))
            elif not self._has_margin(house, position, order):
                return Reason.MARGIN
        if order.tif is Tif.POST_ONLY and self.market.books[instrument.symbol].crosses(order.is_buy, order.px):
            return Reason.WOULD_CROSS
        return None

    def _has_margin(self, house: Clearinghouse, position: Position, order: Order) -> bool:
        """Whether the account could carry the position that the order leads to, with its fee."""
        marks = self.market.mark
        signed = order.lots if order.is_buy else -order.lots
        grown = abs(position.lots + signed) - abs(position.lots)
        need = max(0, grown) * max(marks(position.instrument.symbol), order.px) // position.leverage
        fee = order.lots * order.px * self.rules.perp_fees.taker // FEE_ONE
        return house.value(marks) - house.margin_used(marks) >= need + fee

    def _execute(
        self, account: Account, record: OrderRecord, digest: str | None = None, *, before: OrderView | None = None
    ) -> None:
        """Trade an order and rest or end what is left of it."""
        order, symbol = record.order, record.instrument.symbol
        if order.tif.rests:
            # The owner hears that it was taken before he hears what came of it.
            self._accept(account, record, before)
        self._executing = record
        fills, own = self.market.take(symbol, order, tx_hash=digest)
        self._executing = None
        for each in own:
            self._end(account, account.open[each.oid], OrderState.CANCELLED, Reason.SELF_TRADE)
        if not order.lots:
            self._end(account, record, OrderState.FILLED)
        elif order.tif.rests:
            account.open[order.oid] = record
            self.market.books[symbol].rest(order)
        else:
            self._end(account, record, OrderState.CANCELLED, Reason.UNFILLED if fills else Reason.NO_MATCH)

    def cancel(self, account: Account, oid: int, reason: Reason = Reason.REQUESTED) -> bool:
        """Take an open order back; False if it is not open any more."""
        record = account.open.get(oid)
        if record is None:
            return False
        self.market.books[record.instrument.symbol].cancel(oid)
        self._end(account, record, OrderState.CANCELLED, reason)
        return True

    def replace(self, account: Account, oid: int, px: int, lots: int) -> OrderRecord | None:
        """
        Cancel an open order and place another one in its stead, with the same client id; None if it is not open.

        The new order has an id of its own and stands behind the others at its price. One that is refused leaves nothing.
        """
        record = account.open.pop(oid, None)
        if record is None:
            return None
        market, old = self.market, record.order
        market.books[record.instrument.symbol].cancel(oid)
        record.state, record.reason, record.state_ms = OrderState.CANCELLED, Reason.REQUESTED, market.time_ms
        order = Order(
            market.next_oid(),
            account.address,
            old.is_buy,
            px,
            lots,
            client_id=old.client_id,
            tif=old.tif,
            origin=old.origin,
            reduce_only=old.reduce_only,
            time_ms=market.time_ms,
        )
        changed = OrderRecord(order, record.instrument, record.trigger)
        self._enter(account, changed, record.view)
        return changed

    def _end(self, account: Account, record: OrderRecord, state: OrderState, reason: Reason | None = None) -> None:
        account.open.pop(record.order.oid, None)
        record.state, record.reason, record.is_triggered = state, reason, False
        now = record.state_ms = self.market.time_ms
        if reason is None:
            self._note(account, Completed(now, record.view))
        elif state is OrderState.REJECTED:
            self._note(account, Rejected(now, record.view, reason))
        else:
            self._note(account, Cancelled(now, record.view, reason))

    # The market calls back -----------------------------------------------------------------------------------------

    def act(self, market: Marketplace, block: int, time_ms: int) -> None:
        for account in self.accounts.values():
            self._liquidate(account)
        for account in self.accounts.values():
            self._wake_triggers(account)
        for owner in self.owners:
            owner(block)

    def filled(self, symbol: str, fill: Fill, trade: Trade) -> None:
        maker, taker = self.accounts.get(fill.maker.owner), self.accounts.get(fill.taker.owner)
        if maker is not None:
            record = maker.open[fill.maker.oid]
            self._fill(maker, record, fill, trade, is_taker=False)
            if not fill.maker.lots:
                self._end(maker, record, OrderState.FILLED)
        if taker is not None and self._executing is not None:
            self._fill(taker, self._executing, fill, trade, is_taker=True)

    def matched(self, symbol: str) -> None:
        for account in self.accounts.values():
            for record in [each for each in account.open.values() if each.order.reduce_only]:
                if record.instrument.symbol != symbol or record is self._executing:
                    continue
                order = record.order
                lots = account.clearinghouse(record.instrument).position(record.instrument).lots
                # One that waits for its trigger is cut to the position when it wakes.
                too_big = record.trigger is None and order.lots > abs(lots)
                if lots == 0 or (lots > 0) == order.is_buy or too_big:
                    self.cancel(account, order.oid, Reason.REDUCED)

    def funded(self, row: FundingSettled) -> None:
        instrument = self.market.instruments[row.symbol]
        for account in self.accounts.values():
            house = account.clearinghouses.get(instrument.pool)
            position = None if house is None else house.positions.get(row.symbol)
            if house is None or position is None or not position.lots:
                continue
            paid = divide(position.lots * row.oracle * row.rate, 10**RATE_DECIMALS)
            house.balance -= paid
            position.funding_all += paid
            position.funding_open += paid
            position.funding_change += paid
            fact = FundingPaid(row.time_ms, instrument, position.lots, row.rate, paid)
            account.fundings.append(fact)
            self._note(account, fact)

    # Fills ---------------------------------------------------------------------------------------------------------

    def _fill(self, account: Account, record: OrderRecord, fill: Fill, trade: Trade, *, is_taker: bool) -> None:
        instrument, rules = record.instrument, self.rules
        notional = fill.px * fill.lots
        if is_taker:
            account.volume_taken += notional
        else:
            account.volume_made += notional
        if instrument.kind is Kind.SPOT:
            settled = settle_spot(account, instrument, record.order.is_buy, fill, rules.spot_fees, is_taker=is_taker)
        else:
            settled = settle_perp(account, instrument, record.order.is_buy, fill, rules.perp_fees, is_taker=is_taker)
        liquidation = None
        if self._liquidated is not None:
            liquidation = Liquidation(self._liquidated.address, self.market.mark(instrument.symbol))
        # All fills of a taker are known before the first is reported: it is what it was after this one.
        view = replace(record.view, lots=fill.taker_left) if is_taker else record.view
        fact = Filled(trade.time_ms, view, trade, is_taker, *settled, liquidation)
        account.fills.append(fact)
        self._note(account, fact)

    # Triggers and liquidations -------------------------------------------------------------------------------------

    def _wake_triggers(self, account: Account) -> None:
        for record in list(account.open.values()):
            trigger = record.trigger
            if trigger is None or not record.is_open:
                continue
            mark = self.market.mark(record.instrument.symbol)
            if mark >= trigger.px if trigger.above else mark <= trigger.px:
                record.is_triggered, record.state_ms = True, self.market.time_ms
                self._note(account, Triggered(record.state_ms, record.view))
                order = record.order
                order.tif = Tif.IOC
                if order.reduce_only:
                    house = account.clearinghouse(record.instrument)
                    order.lots = min(order.lots, abs(house.position(record.instrument).lots))
                # A triggered order is no user's transaction.
                self._execute(account, record, ZERO_HASH)

    def _liquidate(self, account: Account) -> None:
        """Close every position of a pool where the account value has fallen below the maintenance margin."""
        marks = self.market.mark
        for house in account.clearinghouses.values():
            positions = house.open_positions()
            value = house.value(marks)
            if not positions or value >= house.maintenance(marks):
                continue
            for record in [each for each in account.open.values() if each.instrument.symbol in house.positions]:
                self.cancel(account, record.order.oid, Reason.LIQUIDATED)
            notional = house.notional(marks)
            sizes = tuple((each.instrument, each.lots) for each in positions)
            self._liquidated = account
            for position in positions:
                self._close_at_market(account, position)
            self._liquidated = None
            self._liquidations += 1
            fact = Liquidated(
                self.market.time_ms,
                self._liquidations,
                account.address,
                self._liquidator,
                notional,
                value,
                sizes,
            )
            account.ledger.append(fact)
            self._note(account, fact)

    def _close_at_market(self, account: Account, position: Position) -> None:
        instrument = position.instrument
        mark, is_buy = self.market.mark(instrument.symbol), position.lots < 0
        reach = mark // self.rules.liquidation_reach
        px = mark + reach if is_buy else mark - reach
        px -= px % instrument.tick(px)
        order = Order(
            self.market.next_oid(),
            account.address,
            is_buy,
            px,
            abs(position.lots),
            tif=Tif.IOC,
            origin=Origin.LIQUIDATION,
            reduce_only=True,
            time_ms=self.market.time_ms,
        )
        record = OrderRecord(order, instrument)
        account.remember(record)
        self._execute(account, record, ZERO_HASH)
