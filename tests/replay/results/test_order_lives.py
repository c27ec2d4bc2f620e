"""How orders fared, by hand: latency both ways, time to fill, refusals, and requests that came too late."""

from __future__ import annotations

import msgspec

from replay.market.layout import BUY, Reason, Role
from replay.results.order_lives import Lives
from replay.results.result import Result
from replay.results.run_record import DecisionRow, FillRow, OrderRow
from replay.results.run_recorder import RunRecorder
from replay.strategy.context import Context
from replay.strategy.log_rows import ANSWER_FIELDS
from replay.strategy.views import OwnOrder
from tests.replay.backtest.market_messages import Messages
from tests.replay.results.runs import at, recorder
from tests.replay.strategy.sessions import Opener, market, opened
from toolkit.account_messages import OrderState

MS = 1_000_000


def order(made: RunRecorder, now: float, venue: float | None, number: int, state: OrderState, **fields: object) -> None:
    """What was heard of an order at a time, ms."""
    row = {"status": state.value, "side": BUY, "tick": 100, "lots": 100, "left": 100, **fields}
    row |= {"now_ns": at(now / 1000), "venue_ns": None if venue is None else at(venue / 1000)}
    made.order(OrderRow(pair=0, order_id=number, state=state, **row))  # type: ignore[arg-type]


def lives(made: RunRecorder) -> Lives:
    made.frame_done(at(50))
    return Result.of(made.finish(at(60))).lives


def test_ways_and_waiting_are_measured_at_the_venue() -> None:
    """Sent at 0, there after 30 ms, heard of after 20 more; filled 100 ms after it came. Another took 40 and 10."""
    made = recorder()
    for number, there in ((1, 30), (2, 40)):
        order(made, 0, None, number, OrderState.PENDING_CREATE)
        order(made, 50, there, number, OrderState.OPEN)
    fill = FillRow(now_ns=at(0.15), venue_ns=at(0.13), pair=0, order_id=1, side=BUY, tick=100, lots=40, role=Role.MAKER)
    made.fill(fill)
    order(made, 150, 130, 1, OrderState.PARTIALLY_FILLED, left=60)
    found = lives(made)
    assert found.entry is not None
    assert found.response is not None
    assert found.to_fill is not None
    assert (found.entry.count, found.entry.p50, found.entry.p99) == (2, 30 * MS, 40 * MS)
    assert (found.response.p50, found.response.p99) == (10 * MS, 20 * MS)
    assert (found.to_fill.count, found.to_fill.p50) == (1, 100 * MS)
    # 0.4 of 2.
    assert found.filled_share == {("hyperliquid", "BTC-USD"): 0.2}


def test_no_latency_is_a_latency_and_what_was_never_sent_has_none() -> None:
    made = recorder()
    order(made, 5, None, 1, OrderState.PENDING_CREATE)
    order(made, 5, 5, 1, OrderState.OPEN)
    order(made, 9, None, 2, OrderState.FAILED, status="limit of position")
    found = lives(made)
    assert found.entry is not None
    assert (found.entry.count, found.entry.p99) == (1, 0)
    assert found.rejections == [("limit of position", 1)]
    assert found.filled_share == {("hyperliquid", "BTC-USD"): 0.0}


def test_refusals_are_gathered_by_their_words_and_codes_stay() -> None:
    made = recorder()
    for number, text in enumerate(("bad: bbo was 99@101.5", "bad: bbo was 98@102", "-5022", "-2010 of 7"), 1):
        order(made, number, number, number, OrderState.REJECTED, status=text)
    assert lives(made).rejections == [("bad: bbo was …@…", 2), ("-2010 of …", 1), ("-5022", 1)]


def test_a_request_after_the_fill_is_too_late() -> None:
    """As the session writes it down, and not where nothing was written down."""

    class Late(Opener):
        """Cancels what is filled before the cancel arrives: it takes 101 and asks for it back at once."""

        def go(self, ctx: Context) -> None:
            sent = ctx.buy(ctx.pairs[0], 1, 101.0)
            ctx.set_timer("cancel", after="1ms")
            self.sent: OwnOrder = sent

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            ctx.cancel(self.sent)

    say, played = Messages(), opened(Late, latency="entry=2ms,response=5ms")
    for message in [*market(say), say.diff(50 * MS, {97: 1}), say.diff(90 * MS, {97: 2})]:
        played.session.take(message)
    assert Result.of(played.session.finish()).lives.late == 1
    assert lives(recorder()).late is None
    made = recorder()
    made.decision(DecisionRow(at(1), "timer", "x", None, None, "[]", "00"))
    assert lives(made).late == 0


def test_what_came_too_late_is_read_out_of_the_log_of_a_result_that_did_not_count_it() -> None:
    """Of two requests that found no order the one about an order that was filled; results of before have no count."""
    made = recorder()
    order(made, 1, 1, 1, OrderState.FILLED)
    order(made, 2, 2, 2, OrderState.CANCELLED)
    for number in (1, 2):
        row = ["refused", number, 0, "", "buy", 100, 0, 0, 0, "", 0, Reason.UNKNOWN_ORDER, "", False]
        text = msgspec.json.encode(row).decode()
        made.decision(DecisionRow(at(3), "response", "1", None, None, text, "00" * 16))
    assert lives(made).late == 1


def test_the_row_of_an_answer_is_read_where_its_fields_are() -> None:
    assert (ANSWER_FIELDS[1], ANSWER_FIELDS[11]) == ("order", "reason")
