"""
The venue's books for its known accounts: places, cancels and modifies their orders and settles what comes of them.

It takes part in the market as a `Participant`: it is told of every fill and every funding settlement, and keeps the
accounts to the last unit. What an account must be told collects in its `News` until the block is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from replay.synthetic.account import (
    SPOT_DECIMALS,
    Account,
    Clearinghouse,
    OrderRecord,
    Position,
    Trigger,
    divide,
    tokens_per_lot,
)
from replay.synthetic.account_wire import AccountWire, usd
from replay.synthetic.book import Fill, Order
from replay.synthetic.coins import Instrument
from replay.synthetic.context import RATE_DECIMALS, FundingRow, rate_text
from replay.synthetic.flow import address
from replay.synthetic.market import ZERO_HASH, Market, Trade
from replay.synthetic.settlement import FEE_ONE, PERP_FEES, settle_perp, settle_spot
from toolkit.rng import seeded

__all__ = ["Exchange", "News"]

#: Least order, in quote currency.
NOTIONAL_MIN = 10
#: How far through the mark a liquidation may trade, as a divisor: a tenth.
_LIQUIDATION_REACH = 10


@dataclass(slots=True)
class News:
    """What one account must be told after a block, as rows that the venue prints."""

    updates: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    fills: list[dict[str, Any]] = field(default_factory=list)
    fundings: list[dict[str, Any]] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    liquidations: list[dict[str, Any]] = field(default_factory=list)
    system_cancels: list[dict[str, Any]] = field(default_factory=list)


class Exchange:
    """
    The accounts, and the only way for their owners to trade.

    Args:
        market: Where their orders rest.
        wire: How rows are written.
        seed: Of the addresses and hashes.
    """

    def __init__(self, market: Market, wire: AccountWire, seed: int | str) -> None:
        self.market = market
        self.wire = wire
        self.accounts: dict[str, Account] = {}
        #: Agent wallets: they may act for an account and own nothing.
        self.agents: dict[str, str] = {}
        #: Called in every block after the venue's own duties.
        self.owners: list[Callable[[int], None]] = []
        self.news: dict[str, News] = {}
        self._random = seeded(f"{seed}/exchange")
        self._liquidated: Account | None = None
        self._lid = 0
        self._executing = -1
        self._liquidator = address(self._random.getrandbits(160))

    # Accounts ------------------------------------------------------------------------------------------------------

    def open_account(self, name: str, *, master: str | None = None) -> Account:
        """A new account under a seeded address."""
        account = Account(address(self._random.getrandbits(160)), name, master=master)
        self.accounts[account.address] = account
        return account

    def add_agent(self, master: Account) -> str:
        """An agent wallet of an account; returns its address."""
        agent = address(self._random.getrandbits(160))
        self.agents[agent] = master.address
        return agent

    def deposit(self, account: Account, instrument: Instrument, amount: int) -> None:
        """Add collateral (1e-6) to the margin account of a perpetual's dex."""
        account.clearinghouse(instrument).balance += amount
        self.note_ledger(account, {"type": "deposit", "usdc": usd(amount)})

    def to_spot(self, account: Account, instrument: Instrument, amount: int) -> None:
        """Move USDC (1e-6) from perpetual margin to the spot balance."""
        account.clearinghouse(instrument).balance -= amount
        account.balance("USDC").total += amount * 10 ** (SPOT_DECIMALS - 6)
        self.note_ledger(account, {"type": "accountClassTransfer", "usdc": usd(amount), "toPerp": False})

    def to_sub_account(self, master: Account, sub: Account, instrument: Instrument, amount: int) -> None:
        """Move USDC (1e-6) between a master and its sub-account; both ledgers say so."""
        master.clearinghouse(instrument).balance -= amount
        sub.clearinghouse(instrument).balance += amount
        delta = {
            "type": "subAccountTransfer",
            "usdc": usd(amount),
            "user": master.address,
            "destination": sub.address,
        }
        digest = self._hash()
        self.note_ledger(master, delta, digest)
        self.note_ledger(sub, delta, digest)

    def note_ledger(self, account: Account, delta: dict[str, Any], digest: str | None = None) -> None:
        """Write a row into an account's ledger."""
        row = {"time": self.market.time_ms, "hash": digest or self._hash(), "delta": delta}
        account.ledger.append(row)
        self._news(account).ledger.append(row)

    def _hash(self) -> str:
        return f"0x{self._random.getrandbits(256):064x}"

    def _news(self, account: Account) -> News:
        return self.news.setdefault(account.address, News())

    def take_news(self) -> dict[str, News]:
        """What happened since the last call, by address."""
        news, self.news = self.news, {}
        return news

    # Orders --------------------------------------------------------------------------------------------------------

    def place(
        self,
        account: Account,
        coin: str,
        is_buy: bool,
        px: int,
        lots: int,
        *,
        tif: str = "Gtc",
        reduce_only: bool = False,
        cloid: str | None = None,
        trigger: Trigger | None = None,
    ) -> OrderRecord:
        """Send an order; the record says what became of it. `px` and `lots` are units of the coin."""
        market, instrument = self.market, self.market.instruments[coin]
        order = Order(
            market.next_oid(),
            account.address,
            is_buy,
            px,
            lots,
            cloid=cloid,
            tif=tif,
            reduce_only=reduce_only,
            time_ms=market.time_ms,
        )
        kind = "Market" if tif in ("FrontendMarket", "LiquidationMarket") else "Limit"
        record = OrderRecord(order, instrument, order_type=kind if trigger is None else trigger.order_type)
        record.trigger = trigger
        account.remember(record)
        refusal = self._refusal(account, record)
        if refusal is not None:
            self._set_status(account, record, refusal)
        elif trigger is not None:
            account.open[order.oid] = record
            self._set_status(account, record, "open")
        else:
            self._execute(account, record)
        return record

    def _refusal(self, account: Account, record: OrderRecord) -> str | None:
        """The status of an order that the venue does not take, None if it does."""
        order, instrument = record.order, record.instrument
        if not instrument.is_valid_px(order.px):
            return "tickRejected"
        spot = instrument.family == "spot"
        # A reduce-only order may close a remainder that is worth less than the least order.
        if not order.reduce_only and order.px * order.lots < NOTIONAL_MIN * instrument.one * instrument.lots_per_unit:
            return "minTradeSpotNtlRejected" if spot else "minTradeNtlRejected"
        if spot:
            token = instrument.quote_name if order.is_buy else instrument.base_name
            need = order.px * order.lots if order.is_buy else order.lots * tokens_per_lot(instrument)
            if need > account.balance(token).total - account.held(token):
                return "insufficientSpotBalanceRejected"
        else:
            house = account.clearinghouse(instrument)
            position = house.position(instrument)
            if order.reduce_only:
                if position.lots == 0 or (position.lots > 0) == order.is_buy:
                    return "reduceOnlyRejected"
                order.lots = order.orig_lots = min(order.lots, abs(position.lots))
            elif not self._has_margin(house, position, order):
                return "perpMarginRejected"
        if order.tif == "Alo" and self.market.books[instrument.coin].crosses(order.is_buy, order.px):
            return "badAloPxRejected"
        return None

    def _has_margin(self, house: Clearinghouse, position: Position, order: Order) -> bool:
        """Whether the account could carry the position that the order leads to, with its fee."""
        signed = order.lots if order.is_buy else -order.lots
        mark = self.market.perps[position.instrument.coin].mark
        grown = abs(position.lots + signed) - abs(position.lots)
        need = max(0, grown) * max(mark, order.px) // position.leverage
        fee = order.lots * order.px * PERP_FEES[0] // FEE_ONE
        return house.value(self.market) - house.margin_used(self.market) >= need + fee

    def _execute(self, account: Account, record: OrderRecord, digest: str | None = None) -> None:
        """Trade an order and rest or end what is left of it."""
        order, coin = record.order, record.instrument.coin
        rests = order.tif in ("Gtc", "Alo")
        if rests:
            # The venue says that it took an order before it says what came of it.
            self._set_status(account, record, "open")
        self._executing = order.oid
        fills, own = self.market.take(coin, order, tx_hash=digest)
        self._executing = -1
        for each in own:
            self._end(account, account.open[each.oid], "selfTradeCanceled")
        if not order.lots:
            self._end(account, record, "filled")
        elif rests:
            account.open[order.oid] = record
            self.market.books[coin].rest(order)
        else:
            self._end(account, record, "canceled" if fills else "iocCancelRejected")

    def cancel(self, account: Account, oid: int, status: str = "canceled") -> bool:
        """Take an open order back; False if it is not open any more."""
        record = account.open.get(oid)
        if record is None:
            return False
        self.market.books[record.instrument.coin].cancel(oid)
        self._end(account, record, status)
        return True

    def modify(self, account: Account, oid: int, px: int, lots: int) -> OrderRecord | None:
        """Cancel and replace under the same cloid, which is how the venue modifies: the order id is new."""
        record = account.open.get(oid)
        if record is None:
            return None
        order = record.order
        self.cancel(account, oid)
        return self.place(
            account,
            record.instrument.coin,
            order.is_buy,
            px,
            lots,
            tif=order.tif,
            reduce_only=order.reduce_only,
            cloid=order.cloid,
        )

    def _end(self, account: Account, record: OrderRecord, status: str) -> None:
        account.open.pop(record.order.oid, None)
        self._set_status(account, record, status)

    def _set_status(self, account: Account, record: OrderRecord, status: str) -> None:
        record.status = status
        record.status_ms = self.market.time_ms
        news = self._news(account)
        news.updates.append(self.wire.update(record))
        news.history.append(self.wire.historical(record))

    # The market calls back -----------------------------------------------------------------------------------------

    def act(self, market: Market, block: int, time_ms: int) -> None:
        for account in self.accounts.values():
            self._liquidate(account)
        for account in self.accounts.values():
            self._wake_triggers(account)
        for owner in self.owners:
            owner(block)

    def filled(self, coin: str, fill: Fill, trade: Trade) -> None:
        maker, taker = self.accounts.get(fill.maker.owner), self.accounts.get(fill.taker.owner)
        if maker is not None:
            self._fill(maker, coin, fill.maker, fill, trade, crossed=False)
            if not fill.maker.lots:
                self._end(maker, maker.open[fill.maker.oid], "filled")
        if taker is not None:
            self._fill(taker, coin, fill.taker, fill, trade, crossed=True)

    def matched(self, coin: str) -> None:
        for account in self.accounts.values():
            for record in [each for each in account.open.values() if each.order.reduce_only]:
                order, instrument = record.order, record.instrument
                if instrument.coin != coin or order.oid == self._executing:
                    continue
                lots = account.clearinghouse(instrument).position(instrument).lots
                # One that waits for its trigger is cut to the position when it wakes.
                too_big = record.trigger is None and order.lots > abs(lots)
                if lots == 0 or (lots > 0) == order.is_buy or too_big:
                    self.cancel(account, order.oid, "reduceOnlyCanceled")

    def funded(self, row: FundingRow) -> None:
        instrument = self.market.instruments[row.coin]
        for account in self.accounts.values():
            house = account.clearinghouses.get(instrument.dex)
            position = None if house is None else house.positions.get(row.coin)
            if house is None or position is None or not position.lots:
                continue
            paid = divide(position.lots * row.oracle * row.rate, 10**RATE_DECIMALS)
            house.balance -= paid
            position.funding_all += paid
            position.funding_open += paid
            position.funding_change += paid
            payment = {
                "time": row.time_ms,
                "coin": row.coin,
                "usdc": usd(-paid),
                "szi": instrument.sz_text(position.lots),
                "fundingRate": rate_text(row.rate),
                "nSamples": None,
            }
            account.fundings.append(payment)
            self._news(account).fundings.append(payment)

    # Fills ---------------------------------------------------------------------------------------------------------

    def _fill(self, account: Account, coin: str, order: Order, fill: Fill, trade: Trade, *, crossed: bool) -> None:
        instrument = self.market.instruments[coin]
        notional = fill.px * fill.lots
        if crossed:
            account.volume_taken += notional
        else:
            account.volume_made += notional
        settle = settle_spot if instrument.family == "spot" else settle_perp
        settled = settle(account, instrument, order.is_buy, fill, crossed=crossed)
        direction = settled.direction
        if self._liquidated is account:
            direction = f"Liquidated Cross {direction.rpartition(' ')[2]}"
        row: dict[str, Any] = {
            "coin": coin,
            "px": instrument.px_text(fill.px),
            "sz": instrument.sz_text(fill.lots),
            "side": "B" if order.is_buy else "A",
            "time": trade.time_ms,
            "startPosition": settled.start,
            "dir": direction,
            "closedPnl": settled.pnl,
            "hash": trade.hash,
            "oid": order.oid,
            "crossed": crossed,
            "fee": settled.fee,
            "tid": trade.tid,
        }
        if order.cloid is not None:
            row["cloid"] = order.cloid
        if self._liquidated is not None:
            row["liquidation"] = {
                "liquidatedUser": self._liquidated.address,
                "markPx": instrument.px_text(self.market.perps[coin].mark),
                "method": "market",
            }
        row |= {"feeToken": settled.fee_token, "twapId": None}
        account.fills.append(row)
        self._news(account).fills.append(row)

    # Triggers and liquidations -------------------------------------------------------------------------------------

    def _wake_triggers(self, account: Account) -> None:
        for record in list(account.open.values()):
            trigger = record.trigger
            if trigger is None or not record.is_open:
                continue
            mark = self.market.perps[record.instrument.coin].mark
            if mark >= trigger.px if trigger.above else mark <= trigger.px:
                self._set_status(account, record, "triggered")
                order = record.order
                order.tif = "Ioc"
                if order.reduce_only:
                    house = account.clearinghouse(record.instrument)
                    order.lots = min(order.lots, abs(house.position(record.instrument).lots))
                # A triggered order is no user's transaction.
                self._execute(account, record, ZERO_HASH)

    def _liquidate(self, account: Account) -> None:
        """Close everything on a dex where the account value has fallen below the maintenance margin."""
        market = self.market
        for house in account.clearinghouses.values():
            positions = house.open_positions()
            value = house.value(market)
            if not positions or value >= house.maintenance(market):
                continue
            cancelled = [each for each in account.open.values() if each.instrument.coin in house.positions]
            for record in cancelled:
                self.cancel(account, record.order.oid, "liquidatedCanceled")
            rows = [{"coin": each.instrument.coin, "oid": each.order.oid} for each in cancelled]
            self._news(account).system_cancels.extend(rows)
            notional = house.notional(market)
            sizes = [{"coin": each.instrument.coin, "szi": each.instrument.sz_text(each.lots)} for each in positions]
            self._liquidated = account
            for position in positions:
                self._close_at_market(account, position)
            self._liquidated = None
            self._announce_liquidation(account, notional, value, sizes)

    def _close_at_market(self, account: Account, position: Position) -> None:
        instrument = position.instrument
        mark, is_buy = self.market.perps[instrument.coin].mark, position.lots < 0
        px = mark + mark // _LIQUIDATION_REACH if is_buy else mark - mark // _LIQUIDATION_REACH
        px -= px % instrument.tick(px)
        order = Order(
            self.market.next_oid(),
            account.address,
            is_buy,
            px,
            abs(position.lots),
            tif="LiquidationMarket",
            reduce_only=True,
            time_ms=self.market.time_ms,
        )
        record = OrderRecord(order, instrument, order_type="Market")
        account.remember(record)
        self._execute(account, record, ZERO_HASH)

    def _announce_liquidation(self, account: Account, notional: int, value: int, sizes: list[dict[str, Any]]) -> None:
        self._lid += 1
        self._news(account).liquidations.append(
            {
                "lid": self._lid,
                "liquidator": self._liquidator,
                "liquidated_user": account.address,
                "liquidated_ntl_pos": usd(notional),
                "liquidated_account_value": usd(value),
            }
        )
        self.note_ledger(
            account,
            {
                "type": "liquidation",
                "liquidatedNtlPos": usd(notional),
                "accountValue": usd(value),
                "leverageType": "Cross",
                "liquidatedPositions": sizes,
            },
            ZERO_HASH,
        )
