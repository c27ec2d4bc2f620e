"""
What dYdX v4 says of an account as messages. Everything that could fail was checked when it was read.

Positions and balances have no time of their own: the venue sends them with the height of a block, not its time.
"""

from __future__ import annotations

from typing import Final

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
from toolkit.frames import Frame
from toolkit.messages import BalanceUpdate, Message, Side
from toolkit.venues.dydx_v4 import accounts_wire as wire
from toolkit.venues.dydx_v4.auth import CHILD_NUMBER_MIN
from toolkit.venues.dydx_v4.wire import time_ns

__all__ = ["COLLATERAL", "WALLET_COLLATERAL", "WALLET_EQUITY", "AccountMessages", "less"]

#: Fees, funding and profit are in this.
COLLATERAL: Final = "USDC"
#: The whole subaccount: collateral and unrealised profit; the venue computes it only when it is asked.
WALLET_EQUITY: Final = "perp"
#: What was paid in, paid out and realised, without positions; pushed whenever it changes.
WALLET_COLLATERAL: Final = "collateral"

#: Why a fill happened, where it was not simply traded.
_CAUSES: Final = {"LIQUIDATED": "liquidation", "DELEVERAGED": "deleveraging", "OFFSETTING": "offsetting"}
_TRANSFERS: Final = {
    "DEPOSIT": AccountEventKind.DEPOSIT,
    "WITHDRAWAL": AccountEventKind.WITHDRAWAL,
    "TRANSFER_IN": AccountEventKind.TRANSFER,
    "TRANSFER_OUT": AccountEventKind.TRANSFER,
}
_IS_MAKER: Final = {"MAKER": True, "TAKER": False}

_encode = msgspec.json.encode
_Head = tuple[str, str, str, int | None, int, int, int, str]


class AccountMessages:
    """
    Makes the messages that one frame means to subaccounts, and numbers them.

    Args:
        venue: Name of the venue.
        frame: Where they come from.
        messages: Where they go; what is in it already is numbered.
    """

    def __init__(self, venue: str, frame: Frame, messages: list[Message]) -> None:
        self.messages = messages
        self._venue = venue
        self._frame = frame

    @property
    def seq(self) -> int:
        """The frame they come from."""
        return self._frame.capture_seq

    @property
    def mono(self) -> int:
        """Our monotonic clock when it came, ns."""
        return self._frame.ts_mono

    def _head(self, account: str, symbol: str, ts_event: int | None) -> _Head:
        frame = self._frame
        number = len(self.messages)
        return self._venue, symbol, symbol, ts_event, frame.ts_recv, frame.capture_seq, number, account

    def order(
        self,
        account: str,
        row: wire.Order,
        state: OrderState,
        status: str,
        side: Side | None,
        *,
        is_history: bool,
        generation: int,
    ) -> None:
        """An order. What the venue leaves out is None; its side is known from before, mostly."""
        filled = row.totalFilled
        self.messages.append(
            OrderUpdate(
                *self._head(account, row.ticker, time_ns(row.updatedAt) if row.updatedAt is not None else None),
                row.id,
                state,
                status,
                side,
                row.price,
                row.size,
                less(row.size, filled) if row.size is not None and filled is not None else None,
                row.clientId,
                None,  # the venue gives the height of its block only
                (row.type or "").lower().replace("_", " "),
                "post only" if row.postOnly else (row.timeInForce or "").lower(),
                row.triggerPrice,
                bool(row.reduceOnly),
                is_history,
                generation or None,
            )
        )

    def ended(
        self,
        account: str,
        order_id: str,
        ticker: str,
        state: OrderState,
        status: str,
        side: Side | None,
        *,
        is_history: bool,
        generation: int,
    ) -> None:
        """An order whose end follows from the height of the chain; the venue says nothing, so there is no time."""
        self.messages.append(
            OrderUpdate(
                *self._head(account, ticker, None),
                order_id,
                state,
                status,
                side,
                None,
                None,
                None,
                is_history=is_history,
                generation=generation or None,
            )
        )

    def fill(self, account: str, row: wire.Fill, *, is_history: bool, generation: int) -> None:
        """A fill. One without an order (a liquidation) stands for an order of its own."""
        self.messages.append(
            Fill(
                *self._head(account, row.symbol, time_ns(row.createdAt)),
                row.orderId or row.id,
                row.id,
                wire.SIDES[row.side],
                row.price,
                row.size,
                row.fee if row.fee is not None else 0.0,
                # Frames before 2024 do not say what it cost.
                COLLATERAL if row.fee is not None else "",
                _IS_MAKER.get(row.liquidity),
                None,
                row.trade_id,
                None,
                None,
                row.type,
                _CAUSES.get(row.type),
                is_history,
                generation or None,
            )
        )

    def position(self, account: str, row: wire.Position) -> None:
        """A position; one that is closed has a size of 0 and no price."""
        size = row.signed_size
        number = int(account.rpartition("/")[2])
        self.messages.append(
            PositionUpdate(
                *self._head(account, row.market, None),
                size,
                row.entryPrice if size else None,
                row.unrealizedPnl if size else None,
                margin_mode="isolated" if number >= CHILD_NUMBER_MIN else "cross",
                # What it has received, there; 0 has no sign.
                funding_paid=(-row.netFunding or 0.0) if row.netFunding is not None else None,
            )
        )

    def no_position(self, account: str, market: str) -> None:
        """A position that the venue no longer lists."""
        self.messages.append(PositionUpdate(*self._head(account, market, None), 0.0))

    def equity(self, account: str, equity: float, free: float) -> None:
        """The whole subaccount, as of the venue's answer."""
        self.messages.append(
            BalanceUpdate(
                *self._head(account, "", None), COLLATERAL, equity, free, WALLET_EQUITY, less(equity, free), None
            )
        )

    def collateral(self, account: str, asset: str, total: float) -> None:
        """Collateral; negative: owed. Which of it margin takes is not said here, so all that is not owed is free."""
        self.messages.append(
            BalanceUpdate(*self._head(account, "", None), asset, total, max(total, 0.0), WALLET_COLLATERAL)
        )

    def transfer(self, account: str, event_id: str, row: wire.Transfer, *, is_history: bool) -> None:
        """Collateral that came or went."""
        self.messages.append(
            AccountEvent(
                *self._head(account, "", time_ns(row.createdAt)),
                _TRANSFERS.get(row.type, AccountEventKind.OTHER),
                event_id,
                row.symbol or row.asset,
                row.signed(account),
                "",
                _encode({"type": row.type, "sender": row.sender, "recipient": row.recipient}).decode(),
                is_history,
            )
        )

    def reward(self, account: str, event_id: str, row: wire.Reward, *, is_history: bool) -> None:
        """A reward for trading."""
        self.messages.append(
            AccountEvent(
                *self._head(account, "", time_ns(row.createdAt)),
                AccountEventKind.REWARD,
                event_id,
                "DYDX",
                row.tradingReward,
                is_history=is_history,
            )
        )

    def funding(self, account: str, row: wire.FundingRow, *, is_history: bool) -> None:
        """A funding payment."""
        self.messages.append(
            FundingPayment(
                *self._head(account, row.ticker, time_ns(row.createdAt)),
                str(row.createdAtHeight),
                row.payment,
                COLLATERAL,
                row.rate,
                -abs(row.size) if row.side == "SHORT" else abs(row.size),
                is_history,
            )
        )


def less(total: float, part: float) -> float:
    """The difference as a decimal would have it."""
    return float(exact_sum(exact(total), -exact(part)))
