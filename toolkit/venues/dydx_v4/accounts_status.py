"""
dYdX v4's words for the status of an order, and the states that they stand for.

A cancel of a short-term order is never final when it is reported: `BEST_EFFORT_CANCELED` says that one node dropped it,
and until the block `goodTilBlock` is past another may still match it. No message announces that end, nor the expiry of
an order that was left alone: the height of the chain decides.

(Indexer, packages/postgres/src/types/order-types.ts and packages/v4-protos, `OrderRemovalReason`.)
"""

from __future__ import annotations

from typing import Final

from toolkit.account_messages import TERMINAL_ORDER_STATES, OrderState

__all__ = ["PASSED", "REASONS", "STATUSES", "USED_AGAIN", "ending", "order_state", "reason_of", "status_text"]

_REASON_PREFIX: Final = "ORDER_REMOVAL_REASON_"

#: Every status the venue is known to send. `CANCELED` is divided by the reason, all but the final ones by the fills.
STATUSES: Final[dict[str, OrderState]] = {
    "PENDING": OrderState.PENDING_CREATE,
    "BEST_EFFORT_OPENED": OrderState.OPEN,
    "OPEN": OrderState.OPEN,
    "UNTRIGGERED": OrderState.OPEN,
    "PARTIALLY_FILLED": OrderState.PARTIALLY_FILLED,
    "FILLED": OrderState.FILLED,
    "BEST_EFFORT_CANCELED": OrderState.PENDING_CANCEL,
    "CANCELED": OrderState.CANCELLED,
    "ERROR": OrderState.FAILED,
}

#: How an order ended that was removed for that reason. `FAILED` is for orders without a fill; one with is cancelled.
REASONS: Final[dict[str, OrderState]] = {
    "USER_CANCELED": OrderState.CANCELLED,
    "REDUCE_ONLY_RESIZE": OrderState.CANCELLED,
    "REPLACED": OrderState.CANCELLED,
    "FINAL_SETTLEMENT": OrderState.CANCELLED,
    "EXPIRED": OrderState.EXPIRED,
    "INDEXER_EXPIRED": OrderState.EXPIRED,
    # By their own terms: what an IOC or FOK order cannot take at once it does not wait for.
    "IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK": OrderState.EXPIRED,
    "FOK_ORDER_COULD_NOT_BE_FULLY_FULLED": OrderState.EXPIRED,  # so spelled
    "UNDERCOLLATERALIZED": OrderState.FAILED,
    "INTERNAL_ERROR": OrderState.FAILED,
    "SELF_TRADE_ERROR": OrderState.FAILED,
    "POST_ONLY_WOULD_CROSS_MAKER_ORDER": OrderState.FAILED,
    "EQUITY_TIER": OrderState.FAILED,
    "VIOLATES_ISOLATED_SUBACCOUNT_CONSTRAINTS": OrderState.FAILED,
    "FULLY_FILLED": OrderState.FILLED,
}

#: Status of an end that the venue never tells: the last block that could hold the order is past.
PASSED: Final = "goodTilBlock passed"
#: Likewise, of an order whose id stands for another one by now.
USED_AGAIN: Final = "id used again"


def reason_of(text: str | None) -> str:
    """A reason without the prefix that all of them have; empty where none is given."""
    return (text or "").removeprefix(_REASON_PREFIX)


def status_text(status: str, reason: str) -> str:
    """The venue's word, and after a colon the reason: `CANCELED: USER_CANCELED`."""
    return f"{status}: {reason}" if reason else status


def order_state(
    status: str, reason: str, filled: float | None, size: float | None, known: OrderState = OrderState.OPEN
) -> OrderState:
    """
    What a status means for an order with so much of it in blocks; one that is not in the table leaves it as `known`.

    `BEST_EFFORT_CANCELED` is a cancel under way. An order that is filled whole is filled, whatever becomes of its rest.
    """
    state = STATUSES.get(status, OrderState.OPEN if known is OrderState.PARTIALLY_FILLED else known)
    if state is OrderState.CANCELLED:
        state = ending(reason, filled)
    if filled and size is not None and filled >= size and state is not OrderState.FILLED:
        return OrderState.FILLED
    return OrderState.PARTIALLY_FILLED if state is OrderState.OPEN and filled else state


def ending(reason: str, filled: float | None) -> OrderState:
    """How an order ended that was removed for a reason; one that is not in the table, or none, is a cancel."""
    state = REASONS.get(reason, OrderState.CANCELLED)
    return OrderState.CANCELLED if state is OrderState.FAILED and filled else state


assert set(REASONS.values()) <= TERMINAL_ORDER_STATES
