"""Orders, whatever the order in which the venue speaks of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toolkit.account_harness import ACCOUNT, fill, update
from toolkit.account_messages import TERMINAL_ORDER_STATES, Fill, OrderState, OrderUpdate
from toolkit.accounts.client_orders import ClientOrderTracker
from toolkit.accounts.exact_sums import ZERO, exact
from toolkit.accounts.orders import TRANSITIONS, InFlightOrder
from toolkit.errors import ConfigError
from toolkit.messages import Side

OPEN, PARTIAL, FILLED, CANCELLED, REJECTED, EXPIRED = (
    OrderState.OPEN,
    OrderState.PARTIALLY_FILLED,
    OrderState.FILLED,
    OrderState.CANCELLED,
    OrderState.REJECTED,
    OrderState.EXPIRED,
)


def order_after(*messages: OrderUpdate | Fill) -> InFlightOrder:
    order = InFlightOrder.of(messages[0])
    for message in messages:
        if isinstance(message, Fill):
            order.fill(message)
        else:
            order.update(message)
    return order


def test_every_state_has_its_transitions_and_ended_orders_never_open_again() -> None:
    assert set(TRANSITIONS) == set(OrderState)
    assert not TRANSITIONS[FILLED]
    for state in (CANCELLED, EXPIRED):
        assert TRANSITIONS[state] == {FILLED}
    assert all(state not in TRANSITIONS[state] for state in OrderState)


@pytest.mark.parametrize(
    ("messages", "state", "filled"),
    [
        ((update(),), OPEN, "0"),
        ((update(), fill(1)), PARTIAL, "1"),
        ((update(), fill(1), fill(2), fill(3)), FILLED, "3"),
        ((update(), fill(1), fill(1)), PARTIAL, "1"),
        ((fill(1), update()), PARTIAL, "1"),
        ((fill(3, 3.0), update()), FILLED, "3"),
        ((update(), update(CANCELLED), fill(1)), CANCELLED, "1"),
        ((update(CANCELLED), update()), CANCELLED, "0"),
        ((update(FILLED), fill(1), fill(2), fill(3)), FILLED, "3"),
        ((update(FILLED), update(CANCELLED)), FILLED, "0"),
        ((update(REJECTED), update()), REJECTED, "0"),
        ((fill(1), update(REJECTED)), CANCELLED, "1"),
        ((update(REJECTED), fill(1)), CANCELLED, "1"),
        ((update(), update(OrderState.FAILED), update()), OPEN, "0"),
        ((update(), fill(1), update(OrderState.FAILED)), CANCELLED, "1"),
        ((update(), fill(1), update(EXPIRED)), EXPIRED, "1"),
    ],
)
def test_state_and_sum_of_fills(messages: tuple[OrderUpdate | Fill, ...], state: OrderState, filled: str) -> None:
    order = order_after(*messages)
    assert (order.state, order.filled) == (state, Decimal(filled))


def test_what_is_filled_without_the_fills_being_told_is_missing() -> None:
    order = order_after(update(FILLED), fill(1))
    assert order.missing == Decimal(2)
    assert order_after(update(FILLED), fill(1, 3.0)).missing == ZERO


def test_a_cancel_that_is_refused_leaves_the_order_as_it_was() -> None:
    order = order_after(update())
    assert order.ask_cancel()
    assert order.state is OrderState.PENDING_CANCEL
    order.update(update(ts_ms=2))
    assert order.state is OrderState.PENDING_CANCEL
    order.fill(fill(1))
    assert order.state is OrderState.PENDING_CANCEL
    assert order.refuse_cancel()
    assert order.state is PARTIAL
    assert not order.refuse_cancel()


def test_a_list_of_open_orders_does_not_take_back_a_newer_word() -> None:
    order = order_after(update(status="triggered", ts_ms=5), update(status="open", ts_ms=None))
    assert order.status == "triggered"
    order.update(update(status="open", ts_ms=4))
    assert order.status == "triggered"


def test_the_word_that_ended_an_order_is_its_status_though_the_venues_clock_went_back() -> None:
    order = order_after(update(ts_ms=60_000), update(CANCELLED, ts_ms=1))
    assert (order.state, order.status) == (CANCELLED, "cancelled")


@pytest.mark.parametrize("size", [0.0, None])
def test_an_order_of_the_whole_position_is_complete_when_the_venue_says_so(size: float | None) -> None:
    """A take-profit of a position has the size 0, or none: ten fills of one do not complete it, its status does."""
    order = order_after(update(size=size), *(fill(number) for number in range(10)))
    assert (order.state, order.filled) == (PARTIAL, Decimal(10))
    order.update(update(FILLED, size=size))
    assert (order.state, order.missing) == (FILLED, ZERO)


def test_money_is_exact_after_a_hundred_thousand_partial_fills() -> None:
    """In float64 the same sums are off by then."""
    order = InFlightOrder.of(update(size=10_000.0))
    total = 0.0
    for number in range(100_000):
        order.fill(fill(number, 0.1, price=0.3, fee=0.0001, realized_pnl=-0.7))
        total += 0.1
    assert total != 10_000.0
    assert order.filled == Decimal(10_000)
    assert order.notional == Decimal(3_000)
    assert order.average_price == Decimal("0.3")
    assert order.fees == {"USDC": Decimal(10)}
    assert order.realized_pnl == Decimal(-70_000)


def test_fees_are_kept_by_asset() -> None:
    order = order_after(update(), fill(1, fee=0.1), fill(2, fee=0.02, fee_asset="HYPE"), fill(3, fee=-0.3))
    assert order.fees == {"USDC": Decimal("-0.2"), "HYPE": Decimal("0.02")}


# The tracker -----------------------------------------------------------------------------------------------------------


def test_orders_move_from_unknown_to_active_to_done() -> None:
    tracker = ClientOrderTracker()
    tracker.on_fill(fill(1))
    assert [len(tracker.unknown), len(tracker.active), len(tracker.done)] == [1, 0, 0]
    tracker.on_order(update())
    assert [len(tracker.unknown), len(tracker.active), len(tracker.done)] == [0, 1, 0]
    assert tracker.active[0].filled == Decimal(1)
    tracker.on_order(update(CANCELLED, ts_ms=2))
    assert [len(tracker.unknown), len(tracker.active), len(tracker.done)] == [0, 0, 1]
    tracker.on_fill(fill(2))
    assert tracker.done[0].filled == Decimal(2)
    assert len(tracker) == 1


def test_the_same_id_of_two_accounts_is_two_orders() -> None:
    from msgspec.structs import replace

    tracker = ClientOrderTracker()
    tracker.on_order(update())
    tracker.on_order(replace(update(), account="0x" + "cd" * 20))
    assert len(tracker.active) == 2


def test_done_and_unknown_orders_are_bounded() -> None:
    tracker = ClientOrderTracker(done_max=2, unknown_max=1)
    for number in range(4):
        tracker.on_order(update(CANCELLED, oid=str(number)))
    tracker.on_fill(fill(1, oid="8"))
    tracker.on_fill(fill(1, oid="9"))
    assert [order.order_id for order in tracker.done] == ["2", "3"]
    assert [order.order_id for order in tracker.unknown] == ["9"]
    assert tracker.forgotten_count == 3


def test_an_order_of_our_own_is_found_by_its_client_order_id() -> None:
    tracker = ClientOrderTracker()
    own = InFlightOrder(
        account=ACCOUNT,
        venue="hyperliquid",
        symbol="BTC",
        trading_pair="BTC-USD",
        client_order_id="c1",
        side=Side.BUY,
        price=10.0,
        size=3.0,
    )
    tracker.start(own)
    assert tracker.active == [own]
    assert own.state is OrderState.PENDING_CREATE
    tracker.on_order(update(client_order_id="c1"))
    assert tracker.active == [own]
    assert (own.order_id, own.state) == ("1", OPEN)
    assert tracker.find("c1") is own is tracker.find("1")


def test_an_order_that_never_reached_the_venue_fails() -> None:
    tracker = ClientOrderTracker()
    own = InFlightOrder(
        account=ACCOUNT, venue="hyperliquid", symbol="BTC", trading_pair="BTC-USD", client_order_id="c1"
    )
    tracker.start(own)
    assert tracker.fail(own)
    assert (own.state, tracker.active, tracker.done) == (OrderState.FAILED, [], [own])


def test_an_order_without_any_id_cannot_be_followed() -> None:
    own = InFlightOrder(account=ACCOUNT, venue="hyperliquid", symbol="BTC", trading_pair="BTC-USD")
    with pytest.raises(ConfigError, match=r"^an order that is followed before .* needs a client_order_id$"):
        ClientOrderTracker().start(own)


# Whatever order, however often -----------------------------------------------------------------------------------------

ENDINGS = (None, FILLED, CANCELLED, REJECTED, EXPIRED)


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[OrderUpdate | Fill], list[OrderUpdate | Fill]]:
    """What a venue says of up to four orders: all of it in order, and as it arrives: shuffled, repeated, in part."""
    truth: list[OrderUpdate | Fill] = []
    for oid in range(draw(st.integers(1, 4))):
        ending = draw(st.sampled_from(ENDINGS))
        sizes = draw(st.lists(st.integers(1, 9), max_size=0 if ending is REJECTED else 5))
        rest = 0 if ending is FILLED else draw(st.integers(1, 5))
        size = (sum(sizes) + rest) / 10 or 0.1
        if ending is FILLED and not sizes:
            ending = CANCELLED
        if ending is not REJECTED:
            truth.append(update(oid=str(oid), size=size, ts_ms=1))
        truth += [fill(number, each / 10, oid=str(oid), ts_ms=2 + number) for number, each in enumerate(sizes)]
        if ending is not None:
            truth.append(update(ending, oid=str(oid), size=size, ts_ms=20))
    repeated = truth + draw(st.lists(st.sampled_from(truth), max_size=8))
    return truth, draw(st.permutations(repeated))


def run(messages: list[OrderUpdate | Fill]) -> ClientOrderTracker:
    """Feed a tracker, holding after each message what must always hold."""
    tracker = ClientOrderTracker()
    before: dict[str, OrderState] = {}
    told: dict[str, dict[str, float]] = {}
    for message in messages:
        if isinstance(message, Fill):
            tracker.on_fill(message)
            told.setdefault(message.order_id, {})[message.fill_id] = message.size
        else:
            tracker.on_order(message)
        places = [*tracker.active, *tracker.done, *tracker.unknown]
        assert len({order.order_id for order in places}) == len(places) == len(tracker)
        assert all(order.is_done for order in tracker.done)
        assert not any(order.is_done for order in [*tracker.active, *tracker.unknown])
        for order in places:
            old = before.get(order.order_id, OrderState.PENDING_CREATE)
            assert order.state is old or order.state in TRANSITIONS[old]
            before[order.order_id] = order.state
            sizes = told.get(order.order_id, {})
            assert order.filled == sum(map(exact, sizes.values()), ZERO)
            assert order.fill_count == len(sizes)
            assert (order.state is PARTIAL) <= (order.filled > 0)
            assert (order.state is OPEN) <= (order.filled == 0)
    return tracker


@settings(max_examples=300)
@given(lives())
def test_shuffled_and_repeated_messages_end_like_ordered_ones(
    life: tuple[list[OrderUpdate | Fill], list[OrderUpdate | Fill]],
) -> None:
    truth, arrived = life

    def ends(tracker: ClientOrderTracker) -> dict[str, tuple[OrderState, Decimal, Decimal]]:
        return {order.order_id: (order.state, order.filled, order.notional) for order in tracker}

    assert ends(run(arrived)) == ends(run(truth))


@settings(max_examples=150)
@given(lives(), st.data())
def test_missing_messages_leave_every_order_in_a_possible_state(
    life: tuple[list[OrderUpdate | Fill], list[OrderUpdate | Fill]], data: st.DataObject
) -> None:
    """And once the missing come, late, nothing is lost."""
    truth, arrived = life
    lost = set(data.draw(st.lists(st.integers(0, len(arrived) - 1), max_size=len(arrived))))
    heard = [message for number, message in enumerate(arrived) if number not in lost]
    run(heard)
    late = run(heard + truth)
    assert {order.order_id: order.filled for order in late} == {order.order_id: order.filled for order in run(truth)}
    ended = {message.order_id for message in truth if not isinstance(message, Fill)}
    for order in late:
        assert order.order_id in ended
        assert order.is_done == any(
            not isinstance(message, Fill)
            and message.order_id == order.order_id
            and message.state in TERMINAL_ORDER_STATES
            for message in truth
        )


# Ids that are used again, ends that were none, profit that nobody says ---------------------------------------------------


def test_orders_of_one_id_are_told_apart_by_their_generation() -> None:
    tracker = ClientOrderTracker()
    tracker.on_order(update())
    tracker.on_fill(fill(1))
    tracker.on_order(update(CANCELLED))
    tracker.on_order(update(size=7.0, generation=1))
    assert [(order.generation, order.size) for order in tracker.active] == [(1, 7.0)]
    tracker.on_fill(fill(2, generation=1))
    tracker.on_fill(fill(3, 2.0))
    assert [(order.generation, order.filled) for order in tracker] == [(1, Decimal(1)), (0, Decimal(3))]
    found = tracker.find("1")
    assert found is not None
    assert (found.generation, found.view().generation, found.state) == (1, 1, PARTIAL)


@pytest.mark.parametrize("is_last_known", [True, False])
def test_the_last_order_of_an_id_is_found_whether_it_lives_or_not(is_last_known: bool) -> None:
    tracker = ClientOrderTracker()
    tracker.on_fill(fill(9, generation=-1))
    tracker.on_order(update(generation=0))
    tracker.on_order(update(FILLED if is_last_known else OPEN, generation=1))
    found = tracker.find("1")
    assert found is not None
    assert found.generation == 1


@pytest.mark.parametrize("end", [CANCELLED, EXPIRED])
def test_an_order_that_was_filled_whole_has_not_ended_otherwise(end: OrderState) -> None:
    order = order_after(update(), update(end), update(FILLED), fill(1, 3.0))
    assert (order.state, order.filled) == (FILLED, Decimal(3))
    assert order_after(update(FILLED), update(end)).state is FILLED


def test_profit_that_is_not_said_of_each_fill_is_not_known() -> None:
    assert order_after(update()).realized_pnl == ZERO
    assert order_after(update(), fill(1, realized_pnl=2.0)).realized_pnl == Decimal(2)
    order = order_after(update(), fill(1, realized_pnl=2.0), fill(2, realized_pnl=None))
    assert order.realized_pnl is None
    assert order.view().realized_pnl is None
