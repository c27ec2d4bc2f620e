"""Hyperliquid's words for the status of an order, and the states that they stand for."""

from __future__ import annotations

from typing import Final

from toolkit.account_messages import OrderState

__all__ = ["STATUSES", "order_state"]

_REJECTIONS: Final = (
    "rejected",
    "tickRejected",
    "minTradeNtlRejected",
    "minTradeSpotNtlRejected",
    "perpMarginRejected",
    "reduceOnlyRejected",
    "badAloPxRejected",
    "badTriggerPxRejected",
    "marketOrderNoLiquidityRejected",
    "positionIncreaseAtOpenInterestCapRejected",
    "positionFlipAtOpenInterestCapRejected",
    "tooAggressiveAtOpenInterestCapRejected",
    "openInterestIncreaseRejected",
    "insufficientSpotBalanceRejected",
    "oracleRejected",
    "perpMaxPositionRejected",
    "tooManyOpenOrdersRejected",
)
_CANCELS: Final = (
    "canceled",
    "marginCanceled",
    "vaultWithdrawalCanceled",
    "openInterestCapCanceled",
    "selfTradeCanceled",
    "reduceOnlyCanceled",
    "siblingFilledCanceled",
    "delistedCanceled",
    "liquidatedCanceled",
    "scheduledCancel",
    "outcomeSettledCanceled",
    "internalCancel",
)

#: Every status the venue is known to send. It has no word for a partial fill: that follows from the fills.
STATUSES: Final[dict[str, OrderState]] = {
    "open": OrderState.OPEN,
    "resting": OrderState.OPEN,
    "accepted": OrderState.OPEN,
    "triggered": OrderState.OPEN,
    "filled": OrderState.FILLED,
    **dict.fromkeys(_CANCELS, OrderState.CANCELLED),
    **dict.fromkeys(_REJECTIONS, OrderState.REJECTED),
    # It was taken in and found no counterparty: by its own terms it ended there.
    "iocCancelRejected": OrderState.EXPIRED,
    # The answer to `orderStatus` for an id that the venue does not know.
    "unknownOid": OrderState.FAILED,
}


def order_state(status: str) -> OrderState | None:
    """The state of a status; of one that is not in the table by its ending, None if that tells nothing either."""
    state = STATUSES.get(status)
    if state is not None:
        return state
    if status.endswith(("Canceled", "Cancel")):
        return OrderState.CANCELLED
    return OrderState.REJECTED if status.endswith("Rejected") else None
