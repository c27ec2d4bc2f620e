"""Hyperliquid's account data as normalized messages. Everything here raises ParseError for what no account can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

import msgspec

from toolkit.account_messages import (
    AccountEvent,
    AccountEventKind,
    Fill,
    FundingPayment,
    OrderState,
    OrderUpdate,
    PositionUpdate,
)
from toolkit.accounts.exact_sums import exact, exact_sum
from toolkit.clock import NS_PER_MS
from toolkit.errors import ParseError
from toolkit.frames import Frame
from toolkit.messages import BalanceUpdate
from toolkit.venues.hyperliquid.accounts_status import order_state
from toolkit.venues.hyperliquid.accounts_wire import (
    ClearinghouseState,
    LiquidationEvent,
    MarginSummary,
    WireFill,
    WireFunding,
    WireLedgerRow,
    WireOrder,
    WirePosition,
)
from toolkit.venues.hyperliquid.convert import SIDES
from toolkit.venues.hyperliquid.symbols import SymbolTable

__all__ = ["AccountMessages", "fill_id", "funding_id", "ledger_id", "liquidation_id", "oldest_first"]

_encode = msgspec.json.Encoder(order="sorted").encode

_LEDGER_KINDS: Final = {
    "deposit": AccountEventKind.DEPOSIT,
    "withdraw": AccountEventKind.WITHDRAWAL,
    "liquidation": AccountEventKind.LIQUIDATION,
    "rewardsClaim": AccountEventKind.REWARD,
}
_TRANSFERS: Final = frozenset(
    {
        "internalTransfer",
        "accountClassTransfer",
        "spotTransfer",
        "subAccountTransfer",
        "send",
        "vaultCreate",
        "vaultDeposit",
        "vaultDistribution",
        "vaultWithdraw",
    }
)


def oldest_first(rows: Sequence[Any]) -> list[Any]:
    """Rows with a `time`, oldest first; those of one time stay as they were."""
    return sorted(rows, key=lambda row: row.time)


def fill_id(fill: WireFill) -> str:
    """
    What tells a fill from all others of the account and coin.

    `tid` is a hash of the two orders, the same for both sides of a trade with oneself, and 0 for a dust conversion;
    fills of 2023 have none. Without it, the order and the position it started from stand in.
    """
    if fill.tid:
        return f"{fill.time}/{fill.tid}/{fill.side}"
    return f"{fill.time}/{fill.oid}/{fill.dir}/{fill.startPosition}/{fill.px}/{fill.sz}"


def funding_id(payment: WireFunding) -> str:
    """A coin pays once at a time."""
    return str(payment.time)


def liquidation_id(notional: float, value: float) -> str:
    """The announcement and the ledger row of a liquidation share nothing but these two figures."""
    return f"liquidation/{notional}/{value}"


def ledger_id(row: WireLedgerRow) -> str:
    """What tells a row of the ledger from all others."""
    delta = row.delta
    if delta.get("type") == "liquidation":
        return liquidation_id(_number(delta, "liquidatedNtlPos") or 0.0, _number(delta, "accountValue") or 0.0)
    # One transaction may move several tokens; the moment alone may be shared by rows without a transaction.
    token = delta.get("token", "")
    return f"{row.time}/{row.hash}/{delta.get('type')}/{token}/{delta.get('usdc', delta.get('amount', ''))}"


class AccountMessages:
    """
    Makes the messages that one frame means to one account.

    Args:
        venue: Name of the venue.
        coins: Table of coins: their pairs, and the collateral of dexes.
        frame: Where they come from.
        account: The address.
    """

    def __init__(self, venue: str, coins: SymbolTable, frame: Frame, account: str) -> None:
        self._venue = venue
        self._coins = coins
        self._frame = frame
        self._account = account

    def _head(
        self, coin: str, time_ms: int | None, sub_seq: int
    ) -> tuple[str, str, str, int | None, int, int, int, str]:
        frame = self._frame
        pair = self._coins.pair(coin) if coin else ""
        ts_event = None if time_ms is None else time_ms * NS_PER_MS
        return self._venue, coin, pair, ts_event, frame.ts_recv, frame.capture_seq, sub_seq, self._account

    def order(
        self,
        sub_seq: int,
        order: WireOrder,
        status: str,
        time_ms: int | None,
        *,
        is_history: bool,
        state: OrderState | None = None,
    ) -> OrderUpdate:
        """
        An order with its status; `time_ms` is None where the venue does not say since when.

        `state` is what a status means that is not in the table.
        """
        state = order_state(status) or state
        if state is None:
            raise ParseError(f"order {order.oid} has the unknown status {status!r}")
        size: float | None = order.origSz if order.origSz is not None else order.sz
        _check(f"order {order.oid}", order.side, order.limitPx or 0.0, order.origSz or 0.0, order.sz)
        # A take-profit or stop of a whole position has the size 0 until it wakes: how much it will be is not known.
        remaining: float | None = order.sz if size else None
        return OrderUpdate(
            *self._head(order.coin, time_ms, sub_seq),
            str(order.oid),
            state,
            status,
            SIDES[order.side],
            order.limitPx,
            size or None,
            remaining,
            order.cloid,
            order.timestamp * NS_PER_MS,
            (order.orderType or "").lower(),
            (order.tif or "").lower(),
            order.triggerPx if order.isTrigger else None,
            order.reduceOnly,
            is_history,
        )

    def lost_order(self, sub_seq: int, oid: int, coin: str, side: str) -> OrderUpdate:
        """An order that the venue says it does not know."""
        return OrderUpdate(
            *self._head(coin, None, sub_seq), str(oid), OrderState.FAILED, "unknownOid", SIDES[side], None, None, None
        )

    def fill(self, sub_seq: int, fill: WireFill, *, is_history: bool) -> Fill:
        """A fill."""
        _check(f"fill {fill.tid} of order {fill.oid}", fill.side, fill.px, fill.sz, fill.fee)
        cause = None
        if self._is_own_liquidation(fill):
            cause = "liquidation"
        elif fill.dir in ("Settlement", "Auto-Deleveraging", "Spot Dust Conversion"):
            cause = fill.dir.lower()
        is_spot = fill.coin.startswith(("@", "#")) or "/" in fill.coin
        return Fill(
            *self._head(fill.coin, fill.time, sub_seq),
            str(fill.oid),
            fill_id(fill),
            SIDES[fill.side],
            fill.px,
            fill.sz,
            fill.fee,
            fill.feeToken,
            None if fill.crossed is None else not fill.crossed,
            fill.cloid,
            str(fill.tid) if fill.tid else "",
            fill.closedPnl,
            None if is_spot else fill.startPosition,
            fill.dir,
            cause,
            is_history,
        )

    def _is_own_liquidation(self, fill: WireFill) -> bool:
        """Whether a fill closed the account's own position by force: the counterparty has the note too."""
        if fill.liquidation is None:
            return False
        whose = (fill.liquidation.liquidatedUser or "").lower()
        if whose and self._account:
            return whose == self._account
        # A liquidated position takes; the resting order was there before.
        return fill.crossed is not False

    def funding(self, sub_seq: int, payment: WireFunding, *, is_history: bool) -> FundingPayment:
        """A funding payment; in the collateral of the coin's dex."""
        known = self._coins.get(payment.coin)
        return FundingPayment(
            *self._head(payment.coin, payment.time, sub_seq),
            funding_id(payment),
            _finite(payment.usdc, "funding"),
            known.settle if known is not None else "" if ":" in payment.coin else "USDC",
            payment.fundingRate,
            payment.szi,
            is_history,
        )

    def position(self, sub_seq: int, position: WirePosition, time_ms: int | None) -> PositionUpdate:
        """A position."""
        leverage = position.leverage
        return PositionUpdate(
            *self._head(position.coin, time_ms, sub_seq),
            position.szi,
            position.entryPx,
            position.unrealizedPnl,
            position.positionValue,
            position.liquidationPx,
            position.marginUsed,
            leverage.value if leverage is not None else None,
            leverage.type if leverage is not None else "",
            position.cumFunding.sinceOpen if position.cumFunding is not None else None,
        )

    def no_position(self, sub_seq: int, coin: str, time_ms: int | None) -> PositionUpdate:
        """A position that is closed: the venue no longer lists it."""
        return PositionUpdate(*self._head(coin, time_ms, sub_seq), 0.0)

    def margin(self, sub_seq: int, dex: str, state: ClearinghouseState, summary: MarginSummary) -> BalanceUpdate:
        """The margin account of one dex."""
        total = _finite(summary.accountValue, "accountValue")
        used = _finite(summary.totalMarginUsed, "totalMarginUsed")
        free = state.withdrawable if state.withdrawable is not None else _less(total, used)
        return BalanceUpdate(
            *self._head("", state.time, sub_seq),
            self._coins.collateral(dex),
            total,
            _finite(free, "withdrawable"),
            f"perp:{dex}" if dex else "perp",
            used,
            state.crossMaintenanceMarginUsed,
        )

    def spot(self, sub_seq: int, token: str, total: float, hold: float) -> BalanceUpdate:
        """The spot balance of one token. The venue does not say as of when."""
        total, hold = _finite(total, token), _finite(hold, token)
        return BalanceUpdate(*self._head("", None, sub_seq), token, total, _less(total, hold), "spot")

    def ledger(self, sub_seq: int, row: WireLedgerRow, *, is_history: bool) -> AccountEvent:
        """A row of the ledger."""
        kind = str(row.delta.get("type", ""))
        asset, amount = _moved(kind, row.delta, self._account)
        return AccountEvent(
            *self._head("", row.time, sub_seq),
            _LEDGER_KINDS.get(kind, AccountEventKind.TRANSFER if kind in _TRANSFERS else AccountEventKind.OTHER),
            ledger_id(row),
            asset,
            amount,
            "",
            _encode(row.delta).decode(),
            is_history,
        )

    def liquidation(self, sub_seq: int, event: LiquidationEvent) -> AccountEvent:
        """A liquidation as it is announced, the account's own or one that it took over; its time is not said."""
        is_own = self._account in ("", event.liquidated_user.lower())
        return AccountEvent(
            *self._head("", None, sub_seq),
            AccountEventKind.LIQUIDATION if is_own else AccountEventKind.OTHER,
            liquidation_id(event.liquidated_ntl_pos, event.liquidated_account_value),
            detail=_encode(event).decode(),
        )

    def system_cancel(self, sub_seq: int, coin: str, oid: int) -> AccountEvent:
        """An order that the system cancelled; its time is not said."""
        return AccountEvent(
            *self._head(coin, None, sub_seq), AccountEventKind.SYSTEM_CANCEL, f"cancel/{oid}", order_id=str(oid)
        )


def _check(what: str, side: str, price: float, *values: float) -> None:
    if side not in SIDES:
        raise ParseError(f"{what} has the side {side!r}, expected 'A' or 'B'")
    if not (isfinite(price) and price >= 0 and all(map(isfinite, values)) and values[0] >= 0):
        raise ParseError(f"{what} is {price} x {values[0]}: expected a price and a size")


def _finite(value: float, what: str) -> float:
    if not isfinite(value):
        raise ParseError(f"{what} is {value}, expected a number")
    return value


def _less(total: float, part: float) -> float:
    """The difference as a decimal would have it."""
    return float(exact_sum(exact(total), exact(-part)))


def _number(delta: Mapping[str, Any], name: str) -> float | None:
    value = delta.get(name)
    if value is None:
        return None
    try:
        return _finite(float(value), name)
    except (TypeError, ValueError):
        raise ParseError(f"{name} of a ledger row is {value!r}, expected a number") from None


def _moved(kind: str, delta: Mapping[str, Any], account: str) -> tuple[str, float | None]:
    """What a ledger row moved, and by how much the account holds more of it after."""
    amount = _number(delta, "usdc")
    asset = "USDC"
    if amount is None:
        amount, asset = _number(delta, "amount"), str(delta.get("token", ""))
    if amount is None:
        return "", None
    if kind == "accountClassTransfer":
        return asset, 0.0  # between the account's own wallets
    if kind in ("withdraw", "vaultDeposit", "vaultCreate"):
        return asset, -amount
    sender, receiver = str(delta.get("user", "")).lower(), str(delta.get("destination", "")).lower()
    if sender == receiver == account:
        return asset, 0.0
    return asset, -amount if sender == account and receiver else amount
