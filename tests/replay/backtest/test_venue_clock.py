"""The scheduler on the venue's clock: what happens when, in which order, and who knows of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from replay.backtest.latency import ConstantLatency, InterpolatedLatency
from replay.backtest.requests import Refusal
from replay.backtest.venue_clock import VenueScheduler, calibrate, venue_order
from replay.market.core import MatchingCore, PairFacts
from replay.market.layout import ReportCode, StateCode, TifCode
from replay.market.rules import AmendLeft, CancelEarly, Responses, Rules
from tests.replay.market.market_tapes import BOOK, Step, events

TRADE_AT = 300


def venue(
    steps: list[Step],
    *,
    entry: int = 3,
    response: int = 5,
    rules: Rules | None = None,
    offset: int = 0,
) -> VenueScheduler:
    """The book at 0 to 4, and the steps from `TRADE_AT` on, on a venue whose clock is `offset` ahead of ours."""
    tape = events([*BOOK, *steps])
    tape["time"][len(BOOK) :] += TRADE_AT - len(BOOK)
    tape["time"] += offset
    core = MatchingCore([PairFacts()], rules or Rules(), compiled=False)
    return VenueScheduler(core, tape, ConstantLatency(entry=entry, response=response), clock_offset_ns=offset)


def test_a_request_arrives_after_its_latency_and_its_answer_after_the_other() -> None:
    """Sent at 200, there at 203, heard at 208; traded at 300, heard at 305. Before that nothing is known."""
    scheduler = venue([("sell", 98, 5)])
    assert scheduler.submit(200, 1, side=0, tick=99, lots=5) is None
    assert scheduler.advance(207) == []
    assert [(each.received_ns, each.venue_ns) for each in scheduler.advance(208)] == [(208, 203)]
    assert scheduler.advance(304) == []
    assert [(each.venue_ns, each.lots) for each in scheduler.fills] == [(300, 5)]
    assert [(each.received_ns, each.state) for each in scheduler.advance(305)] == [(305, StateCode.FILLED)]


def test_a_clock_offset_moves_the_venue_and_nothing_else() -> None:
    """1.27 s ahead: the same answers at the same times of ours, and fills on the venue's clock."""
    ours = [venue([("sell", 98, 5)], offset=offset) for offset in (0, 1_270_000_000)]
    for scheduler in ours:
        scheduler.submit(200, 1, side=0, tick=99, lots=5)
        scheduler.finish()
    assert [each.received_ns for each in ours[0].responses] == [each.received_ns for each in ours[1].responses]
    assert [each.venue_ns for each in ours[1].fills] == [1_270_000_300]


def test_the_market_goes_first_at_one_time_of_the_venue() -> None:
    """The ask comes to 100 at 300, and our post-only bid of 100 arrives at 300: it would take."""
    scheduler = venue([("ask", 100, 3)])
    scheduler.advance(297)
    scheduler.submit(297, 1, side=0, tick=100, lots=1)
    scheduler.finish()
    assert [(each.venue_ns, each.role) for each in scheduler.fills] == [(300, 2)]


def test_a_request_that_was_sent_later_never_arrives_earlier() -> None:
    """Sent at 100 it takes 100, sent at 110 only 5: it waits for the one before. So do the answers."""
    tape = events(BOOK)
    core = MatchingCore([PairFacts()], Rules(), compiled=False)
    latency = InterpolatedLatency([(100, 200, 290), (110, 210, 291), (111, 212, 292)])
    latency._entries[1] = 5
    scheduler = VenueScheduler(core, tape, latency)
    scheduler.submit(100, 1, side=0, tick=99, lots=1)
    scheduler.advance(110)
    scheduler.submit(110, 2, side=0, tick=98, lots=1)
    scheduler.finish()
    assert [(each.order_id, each.venue_ns) for each in scheduler.responses] == [(1, 200), (2, 200)]
    assert scheduler.responses[0].received_ns <= scheduler.responses[1].received_ns


def test_a_cancel_before_the_answer_is_queued_behind_the_placement() -> None:
    scheduler = venue([("sell", 98, 5)])
    scheduler.submit(200, 1, side=0, tick=99, lots=5)
    scheduler.advance(201)
    assert scheduler.cancel(201, 1) is None
    scheduler.finish()
    assert [each.state for each in scheduler.responses] == [StateCode.OPEN, StateCode.CANCELLED]
    assert scheduler.fills == []


def test_a_cancel_before_the_answer_is_refused_where_the_rules_say_so() -> None:
    scheduler = venue([], rules=Rules(cancel_early=CancelEarly.REFUSED))
    scheduler.submit(200, 1, side=0, tick=99, lots=5)
    scheduler.advance(204)
    assert scheduler.cancel(204, 1) is Refusal.PENDING
    scheduler.advance(208)
    assert scheduler.cancel(208, 1) is None


def test_a_fill_on_the_way_of_a_cancel_stands_and_the_cancel_is_refused() -> None:
    """Cancelled at 298, traded at 300, there at 301: filled, then refused, which leaves the order filled."""
    scheduler = venue([("sell", 98, 5)])
    scheduler.submit(200, 1, side=0, tick=99, lots=5)
    scheduler.advance(298)
    scheduler.cancel(298, 1)
    scheduler.finish()
    told = [(each.code, each.state) for each in scheduler.responses]
    assert told[1:] == [(ReportCode.EXECUTED, StateCode.FILLED), (ReportCode.REFUSED, StateCode.UNKNOWN)]
    assert scheduler.own.orders[1].state is StateCode.FILLED
    assert scheduler.own.orders[1].pending == {}


def test_ids_are_known_until_they_are_forgotten() -> None:
    scheduler = venue([])
    assert scheduler.cancel(100, 1) is Refusal.UNKNOWN_ID
    scheduler.submit(100, 1, side=0, tick=99, lots=5)
    assert scheduler.submit(100, 1, side=0, tick=99, lots=5) is Refusal.KNOWN_ID
    scheduler.advance(150)
    scheduler.cancel(150, 1)
    scheduler.advance(160)
    assert scheduler.submit(160, 1, side=0, tick=99, lots=5) is Refusal.KNOWN_ID
    scheduler.own.forget_ended()
    assert scheduler.submit(160, 1, side=0, tick=99, lots=5) is None


def test_each_execution_is_answered_or_only_the_last_of_a_request() -> None:
    """A sweep over three levels: four answers, or one that names the last level."""
    sweep = venue([])
    sweep.submit(200, 1, side=0, tick=0, lots=12, is_market=True)
    sweep.finish()
    assert [(each.code.name, each.tick, each.lots) for each in sweep.responses] == [
        ("ACCEPTED", 0, 0),
        ("EXECUTED", 101, 4),
        ("EXECUTED", 102, 6),
        ("EXECUTED", 105, 2),
    ]
    merged = venue([], rules=Rules(responses=Responses.EACH_REQUEST))
    merged.submit(200, 1, side=0, tick=102, lots=12, tif=TifCode.IOC)
    merged.finish()
    told = [(each.state, each.tick, each.lots, each.left) for each in merged.responses]
    assert told == [(StateCode.EXPIRED, 102, 6, 2)]
    assert len(merged.fills) == 2


def test_a_lost_request_never_arrives_and_its_sender_hears_of_it() -> None:
    tape = events([*BOOK, ("sell", 98, 5)])
    core = MatchingCore([PairFacts()], Rules(), compiled=False)
    scheduler = VenueScheduler(core, tape, InterpolatedLatency([(0, 0, 40)]))
    scheduler.submit(1, 1, side=0, tick=99, lots=5)
    assert [(each.received_ns, each.state) for each in scheduler.finish()] == [(41, StateCode.REJECTED)]
    assert len(core.take()) == 0


def test_calibration_makes_the_fastest_message_instant() -> None:
    """Received 7, 3 and 9 after they happened, on a clock that is 1000 behind: 997 would do."""
    tape = events([("bid", 99, 1), ("bid", 98, 1), ("bid", 97, 1)])
    tape["recv"] = tape["time"] - 1000 + [7, 3, 9]
    assert calibrate(tape) == 997
    assert calibrate(tape[:0]) == 0


def test_at_the_venue_events_go_by_its_time_and_then_by_their_place() -> None:
    tape = events([("bid", 99, 1), ("bid", 98, 1), ("bid", 97, 1), ("bid", 96, 1)])
    tape["time"] = [5, 3, 5, 3]
    assert venue_order(tape)["tick"].tolist() == [98, 96, 99, 97]


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 40), st.integers(0, 40))
def test_no_fill_before_arrival_and_no_knowledge_before_the_answer(
    sent: int, entry: int, response: int, cut: int
) -> None:
    """Trades that pass our price at every ns: the first one after arrival is ours, and is heard of as late as it must."""
    steps = [("sell", 98, 1) for _ in range(150)]
    tape = events([*BOOK, *steps])
    core = MatchingCore([PairFacts()], Rules(), compiled=False)
    scheduler = VenueScheduler(core, tape, ConstantLatency(entry=entry, response=response))
    scheduler.advance(sent)
    scheduler.submit(sent, 1, side=0, tick=99, lots=2)
    arrival = max(sent + entry, 0)
    heard = scheduler.advance(sent + cut)
    assert all(each.received_ns <= sent + cut for each in heard)
    scheduler.finish()
    if arrival >= len(BOOK):
        assert [each.venue_ns for each in scheduler.fills][:1] == [arrival + 1]
    assert all(each.venue_ns > arrival or each.role == 2 for each in scheduler.fills)
    assert all(each.received_ns == each.venue_ns + response for each in scheduler.responses)


def test_an_answer_never_overtakes_the_one_before() -> None:
    """What is taken in at 110 takes 100 back, at 120 only 5: it is heard of when the one before is."""
    core = MatchingCore([PairFacts()], Rules(), compiled=False)
    latency = InterpolatedLatency([(100, 110, 210), (110, 120, 125)])
    scheduler = VenueScheduler(core, events(BOOK), latency)
    for sent, order, tick in ((100, 1, 99), (110, 2, 98)):
        scheduler.advance(sent)
        scheduler.submit(sent, order, side=0, tick=tick, lots=1)
    scheduler.finish()
    assert [(each.venue_ns, each.received_ns) for each in scheduler.responses] == [(110, 210), (120, 210)]


def test_without_latency_a_request_is_answered_within_its_instant() -> None:
    scheduler = venue([], entry=0, response=0)
    scheduler.advance(200)
    scheduler.submit(200, 1, side=0, tick=99, lots=5)
    assert [(each.venue_ns, each.received_ns) for each in scheduler.advance(200)] == [(200, 200)]


def test_an_amendment_carries_what_its_sender_knows_to_be_left() -> None:
    """2 of 5 are filled, which is known when 7 at another price are asked for: 3 are left, as in hftbacktest."""
    rules = Rules(amend_left=AmendLeft.OLD_LEFT)
    scheduler = venue([("sell", 98, 2)], rules=rules)
    scheduler.submit(200, 1, side=0, tick=99, lots=5)
    scheduler.advance(320)
    scheduler.amend(320, 1, tick=98, lots=7)
    scheduler.finish()
    assert (scheduler.responses[-1].code, scheduler.responses[-1].left) == (ReportCode.AMENDED, 3)


def test_an_order_is_not_forgotten_while_a_request_about_it_is_under_way() -> None:
    """It is known to be filled, and its cancel is not answered: its id is not free for another order."""
    scheduler = venue([("sell", 98, 5)], entry=30)
    scheduler.submit(200, 1, side=0, tick=99, lots=5)
    scheduler.advance(290)
    scheduler.cancel(290, 1)
    scheduler.advance(310)
    scheduler.own.forget_ended()
    assert scheduler.submit(310, 1, side=0, tick=99, lots=5) is Refusal.KNOWN_ID
    scheduler.advance(330)
    scheduler.own.forget_ended()
    assert scheduler.submit(330, 1, side=0, tick=99, lots=5) is None
