"""Orders across gaps: nothing is matched while a book is stale, and what becomes of what rests is a policy."""

from __future__ import annotations

import msgspec
import pytest

from replay.backtest.gap_policy import GapPolicy
from replay.market.layout import TifCode
from tests.replay.backtest.market_messages import BIDS, Desk
from toolkit.errors import ConfigError
from toolkit.messages import BETWEEN_RECORDINGS, FORM_QUOTE, EventKind, Message

IOC = TifCode.IOC


def gap(desk: Desk, start: int = 300, end: int = 400) -> list[Message]:
    """The book is lost, and trades go on through all prices; it speaks again with a gap, and is whole with a snapshot."""
    say = desk.say
    return [
        say.event(start, EventKind.STALE),
        say.trade(start + 10, "sell", 90, 50),
        say.event(end, EventKind.GAP),
        say.snapshot(end),
    ]


def test_nothing_is_matched_while_the_book_is_stale_and_orders_are_uncertain() -> None:
    """50 trade at 90 in the gap, below our bid of 99: no fill. What fills it afterwards is a guess, and says so."""
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    lost, trade, again, whole = gap(desk)
    desk.take(lost)
    assert order.is_uncertain
    desk.take(trade, again, whole)
    desk.reach(450)
    assert desk.fills() == []
    desk.take(desk.say.trade(500, "sell", 98, 1))
    desk.reach(600)
    assert [each.is_uncertain for each in desk.heard] == [False, True]
    doubt = desk.exchange.doubt
    assert [(span.pair, span.start_ns, span.end_ns, span.cause, span.orders) for span in doubt.spans] == [
        (0, 300, 400, "disconnect", [1])
    ]
    assert (doubt.uncertain_orders, doubt.uncertain_fills) == (1, 1)
    assert (doubt.stale_ns(600), doubt.stale_ns(350), doubt.stale_ns(600, 1)) == (100, 50, 0)


def test_what_the_book_reaches_when_it_is_whole_is_filled_then() -> None:
    """The snapshot has an ask of 2 at 97, below our bid of 99: at 400, not before, 2 of 5."""
    desk = Desk()
    desk.place(200, "buy", 99, 5)
    lost, trade, again, _ = gap(desk)
    desk.take(lost, trade, again, desk.say.snapshot(400, {96: 1}, {97: 2, 101: 3}))
    desk.reach(500)
    assert desk.fills() == [(400, 1, "maker", 99, 2)]


def test_the_policy_to_cancel_acts_at_the_gap() -> None:
    """Not when the book is lost, of which nobody knows yet how it ends; and what comes meanwhile is refused."""
    desk = Desk(policy=GapPolicy.CANCEL)
    desk.place(200, "buy", 99, 5)
    lost, trade, again, whole = gap(desk)
    desk.take(lost, trade)
    desk.place(350, "buy", 98, 1)
    desk.reach(399)
    assert [each[1:] for each in desk.told()] == [(1, "open", "none"), (2, "rejected", "stale")]
    desk.take(again, whole)
    desk.place(410, "buy", 98, 1)
    desk.reach(500)
    assert desk.told()[2:] == [(405, 1, "cancelled", "gap"), (418, 3, "open", "none")]


def test_the_policy_to_fail_ends_the_run_where_orders_rest_across_a_gap() -> None:
    desk = Desk(policy=GapPolicy.FAIL)
    desk.take(*gap(desk))
    desk.place(450, "buy", 99, 5)
    lost, trade, again, _ = gap(desk, 500, 600)
    desk.take(lost, trade)
    with pytest.raises(
        ConfigError, match=r"^BTC-USD on testing: 1 order rested across a gap, and the policy is to fail"
    ):
        desk.take(again)
    desk = Desk(policy=GapPolicy.FAIL)
    desk.take(*gap(desk)[:1])
    desk.place(350, "buy", 99, 5)
    with pytest.raises(ConfigError, match="an order came in a gap, and the policy is to fail"):
        desk.reach(400)


def test_the_policy_to_keep_lets_orders_come_and_rest_but_take_nothing() -> None:
    """A bid of 101 rests though an ask of 101 was there; it is filled with the book, and is uncertain from the start."""
    desk = Desk()
    desk.take(*gap(desk)[:1])
    desk.place(310, "buy", 101, 5)
    desk.place(311, "buy", 101, 5, IOC)
    desk.place(312, "buy", None, 5)
    desk.reach(390)
    assert [each[1:] for each in desk.told()] == [(1, "open", "none"), (2, "expired", "stale"), (3, "expired", "stale")]
    assert [each.is_uncertain for each in desk.heard] == [True, False, False]
    desk.take(desk.say.snapshot(400))
    desk.reach(500)
    assert desk.fills() == [(400, 1, "maker", 101, 4)]
    assert desk.exchange.doubt.uncertain_orders == 1


def test_cancelling_works_in_a_gap() -> None:
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    desk.take(*gap(desk)[:1])
    desk.exchange.cancel(310, order)
    desk.take(*gap(desk)[2:])
    desk.reach(500)
    assert desk.told()[-1][1:] == (1, "cancelled", "requested")


def test_before_the_first_book_nothing_is_matched_and_no_gap_is_counted() -> None:
    desk = Desk(has_book=False)
    desk.place(100, "buy", 101, 4)
    desk.take(desk.say.trade(150, "sell", 90, 50))
    desk.take(desk.say.snapshot(200))
    desk.reach(300)
    assert desk.fills() == [(200, 1, "maker", 101, 4)]
    assert desk.exchange.doubt.spans == []
    assert desk.exchange.doubt.uncertain_fills == 1
    desk = Desk(has_book=False, policy=GapPolicy.CANCEL)
    desk.place(100, "buy", 101, 4)
    desk.reach(200)
    assert [each[3] for each in desk.told()] == ["stale"]


def test_trades_that_are_not_heard_put_orders_in_doubt_while_the_book_goes_on() -> None:
    """The book still fills what it reaches; what traded at our price is missing."""
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    desk.take(desk.say.event(300, EventKind.STALE, stream="trades"))
    desk.take(desk.say.diff(310, asks={99: 2}))
    desk.take(desk.say.event(400, EventKind.GAP, stream="trades"), desk.say.trade(400, "sell", 98, 1))
    desk.reach(500)
    assert order.is_uncertain
    assert desk.fills() == [(310, 1, "maker", 99, 2), (400, 1, "maker", 99, 1)]
    assert [(span.start_ns, span.end_ns) for span in desk.exchange.doubt.spans] == [(300, 400)]
    assert desk.exchange.doubt.uncertain_fills == 2


def test_a_gap_of_the_trades_alone_cancels_where_the_policy_says_so() -> None:
    desk = Desk(policy=GapPolicy.CANCEL)
    desk.place(200, "buy", 99, 5)
    desk.take(
        desk.say.event(300, EventKind.STALE, stream="trades"), desk.say.event(400, EventKind.GAP, stream="trades")
    )
    desk.reach(500)
    assert desk.told()[-1] == (405, 1, "cancelled", "gap")


def test_numbers_that_are_left_out_are_a_gap_that_is_over_when_it_is_known() -> None:
    """Trades of 250 to 300 are missing, as the number of the one at 300 says: what rested then has rested across it."""
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    event = desk.say.event(300, EventKind.GAP, stream="trades", cause="sequence")
    desk.take(msgspec.structs.replace(event, ts_start=250, ts_end=300))
    assert order.is_uncertain
    spans = [(span.start_ns, span.end_ns, span.cause, span.orders) for span in desk.exchange.doubt.spans]
    assert spans == [(250, 300, "sequence", [1])]
    assert desk.exchange.doubt.stale_ns(275) == 25


def test_streams_that_are_no_part_of_the_book_are_no_gap() -> None:
    """Funding, candles, an aggregated book."""
    desk = Desk(policy=GapPolicy.FAIL)
    order = desk.place(200, "buy", 99, 5)
    for stream in ("funding", "candles:1m", "agg:5:2"):
        desk.take(
            desk.say.event(300, EventKind.STALE, stream=stream), desk.say.event(310, EventKind.GAP, stream=stream)
        )
    assert not order.is_uncertain
    assert desk.exchange.doubt.spans == []


def test_a_quote_that_is_lost_makes_the_book_stale_until_it_or_a_snapshot_speaks() -> None:
    desk = Desk()
    desk.take(desk.say.snapshot(100, form=FORM_QUOTE, cap=1))
    order = desk.place(200, "buy", 99, 5)
    desk.take(desk.say.event(300, EventKind.STALE, stream=FORM_QUOTE), desk.say.trade(310, "sell", 90, 9))
    assert (order.is_uncertain, desk.fills()) == (True, [])


def test_the_end_of_a_session_is_no_gap() -> None:
    """Every stream is stale from there on, by its end, and nothing is missing."""
    desk = Desk()
    desk.take(desk.say.event(300, EventKind.SESSION_END, stream="", cause="stop"))
    assert list(desk.exchange.close(300)) == []
    desk.take(desk.say.event(300, EventKind.STALE, cause="stop"))
    assert desk.exchange.doubt.spans == []


def test_a_hole_between_recordings_is_a_gap() -> None:
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    desk.take(desk.say.event(300, EventKind.STALE, cause=BETWEEN_RECORDINGS))
    desk.take(desk.say.event(900, EventKind.GAP, cause=BETWEEN_RECORDINGS), desk.say.snapshot(900))
    desk.reach(1000)
    assert order.is_uncertain
    assert [(span.start_ns, span.end_ns) for span in desk.exchange.doubt.spans] == [(300, 900)]


def test_the_matching_book_is_never_crossed_whatever_was_lost() -> None:
    """The asks up to 102 went while nothing was heard, and bids came there: the snapshot says so, and nothing stays behind."""
    desk = Desk()
    lost, trade, again, _ = gap(desk)
    desk.take(lost, trade, again, desk.say.snapshot(400, {103: 5, **BIDS}, {105: 1}))
    desk.place(410, "sell", 103, 5, IOC)
    desk.place(411, "buy", 105, 5, IOC)
    desk.reach(500)
    assert desk.fills() == [(413, 1, "taker", 103, 5), (414, 2, "taker", 105, 1)]
    bid, ask = desk.exchange._desk_of[0].core.best(0)
    assert bid is not None
    assert ask is None or bid < ask


def test_orders_that_a_gap_left_in_doubt_stay_so_through_amendments() -> None:
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    desk.take(*gap(desk))
    desk.exchange.amend(450, order, tick=98, lots=5)
    desk.reach(500)
    assert (order.is_uncertain, desk.heard[-1].is_uncertain) == (True, True)
    assert desk.exchange.doubt.uncertain_orders == 1


def test_a_pair_is_in_doubt_until_all_that_was_lost_is_heard_again() -> None:
    """Book and trades are lost together; the book is whole at 400, the trades speak at 450."""
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    lost, _, again, whole = gap(desk)
    desk.take(lost, desk.say.event(300, EventKind.STALE, stream="trades"), again, whole)
    late = desk.place(420, "buy", 98, 5)
    desk.reach(430)
    assert late.is_uncertain
    desk.take(desk.say.event(450, EventKind.GAP, stream="trades"), desk.say.trade(450, "sell", 97, 1))
    spans = [(span.start_ns, span.end_ns, span.orders) for span in desk.exchange.doubt.spans]
    assert spans == [(300, 450, [1, 2])]
    assert order.is_uncertain


def test_a_gap_on_a_clock_that_steps_back_begins_at_the_time_it_had_reached() -> None:
    desk = Desk()
    desk.take(desk.say.diff(300, bids={97: 1}))
    desk.exchange.take(desk.say.event(250, EventKind.STALE))
    assert [span.start_ns for span in desk.exchange.doubt.spans] == [300]
