"""The states of orders at the venue, beside those that an owner sees."""

from __future__ import annotations

from replay.market.layout import EVENT, ORDER, ORDER_TRANSITIONS, REPORT, REQUEST, STATES, StateCode
from toolkit.account_messages import OrderState
from toolkit.accounts.orders import TRANSITIONS


def test_what_may_follow_at_the_venue_may_follow_for_an_owner() -> None:
    """An owner has more states, of what is on the way; none of the venue's steps is illegal to him."""
    for state, following in ORDER_TRANSITIONS.items():
        before = STATES.get(state, OrderState.PENDING_CREATE)
        for after in following:
            assert state is after or STATES[after] in TRANSITIONS[before]


def test_every_state_is_in_the_table_and_ends_stay() -> None:
    assert set(ORDER_TRANSITIONS) == set(StateCode)
    assert {state for state, following in ORDER_TRANSITIONS.items() if not following} == {
        StateCode.FILLED,
        StateCode.CANCELLED,
        StateCode.REJECTED,
        StateCode.EXPIRED,
    }


def test_rows_have_no_bytes_that_nobody_sets() -> None:
    """States and reports are compared bit by bit, so there is no padding between their fields."""
    for layout in (EVENT, REQUEST, ORDER, REPORT):
        assert layout.itemsize == sum(layout[name].itemsize for name in layout.names or ())
