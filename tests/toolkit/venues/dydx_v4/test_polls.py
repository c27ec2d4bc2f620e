"""dYdX v4: what is asked for because of the time, since when, and what an answer may change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.toolkit.venues.dydx_harness import START_NS, Session, data, events, market, of, protocol, trade, trade_id
from toolkit.books.tracker import OrderBookTracker
from toolkit.clock import NS_PER_S
from toolkit.messages import EventKind, FundingInfo, Instrument
from toolkit.protocol import Request, RestCall

BTC = "BTC-USD"


def paths(requests: list[Request], what: str) -> list[str]:
    """What is asked for by REST below that path."""
    return [each.path for each in requests if isinstance(each, RestCall) and each.path.startswith(what)]


def settled(*hours: int) -> dict[str, Any]:
    """Rates charged so many hours after the start, newest first."""
    rows = []
    for hour in sorted(hours, reverse=True):
        time = datetime.fromtimestamp(START_NS // NS_PER_S + hour * 3600, UTC).isoformat().replace("+00:00", ".2Z")
        rows.append({"ticker": BTC, "rate": "0.1", "price": "9", "effectiveAt": time})
    return {"historicalFunding": rows}


def test_settled_funding_is_asked_for_after_each_hour() -> None:
    """The last day's at first, then the newest, once an hour."""
    session = Session.ready(BTC, channels=("funding",))
    session.connect("venue")
    assert [call.path for call in session.calls()] == ["/historicalFunding/BTC-USD?limit=24"]
    session.rest(f"historicalFunding:{BTC}", settled(-2, -1))
    # The session starts at midnight, which is before the poll of that hour: it comes 20 s later.
    assert paths(session.wait(20), "/hist") == ["/historicalFunding/BTC-USD?limit=3"]
    session.rest(f"historicalFunding:{BTC}", settled(-2, -1, 0))
    assert paths(session.wait(3599), "/hist") == []
    assert paths(session.wait(1), "/hist") == ["/historicalFunding/BTC-USD?limit=3"]
    assert paths(session.wait(1), "/hist") == []
    session.calls()
    session.control("disconnected")
    session.connect("venue", name="d")
    assert session.calls() == []


def test_settled_funding_is_asked_for_since_the_last_rate_known() -> None:
    """However long REST was down, or nobody recorded."""
    session = Session.ready(BTC, channels=("funding",))
    session.connect("venue")
    session.calls()
    session.rest(f"historicalFunding:{BTC}", settled(-1, 0))
    asked = [paths(session.wait(3600), "/hist")[-1] for _ in range(6)]
    assert asked == [f"/historicalFunding/BTC-USD?limit={count}" for count in (3, 3, 4, 5, 6, 7)]
    told = session.rest(f"historicalFunding:{BTC}", settled(*range(7)))
    assert len(of(FundingInfo, told)) == 6
    session.control("session_end", -1)
    session.calls()
    state = session.subject.checkpoint()
    session.subject = protocol(BTC, channels=("funding",))
    session.subject.restore(state)
    session.now_s += 40 * 3600
    session.connect("venue", name="d")
    assert [call.path for call in session.calls()] == ["/historicalFunding/BTC-USD?limit=41"]


def test_settled_rates_that_an_answer_does_not_reach_back_to_are_asked_for() -> None:
    """The venue may give fewer than it was asked for."""
    session = Session.ready(BTC, channels=("funding",))
    session.rest(f"historicalFunding:{BTC}", settled(0))
    assert len(of(FundingInfo, session.rest(f"historicalFunding:{BTC}", settled(8, 9, 10)))) == 3
    (call,) = session.calls()
    assert call.path == "/historicalFunding/BTC-USD?limit=1000&effectiveBeforeOrAt=2024-08-23T08:00:00.200Z"
    assert len(of(FundingInfo, session.rest(call.tag, settled(*range(3, 9))))) == 5
    (call,) = session.calls()
    assert len(of(FundingInfo, session.rest(call.tag, settled(*range(-3, 4))))) == 5
    assert session.calls() == []
    assert of(FundingInfo, session.rest(call.tag, settled(*range(-3, 11)))) == []


def test_missed_rates_stay_missed_while_the_newest_ones_are_answered_twice() -> None:
    """Also for the next session, should this one end before the older ones come."""
    session = Session.ready(BTC, channels=("funding",))
    session.now_s = 60.0
    session.connect("venue")
    session.rest(f"historicalFunding:{BTC}", settled(0))
    session.rest(f"historicalFunding:{BTC}", settled(8, 9, 10))
    session.calls()
    assert of(FundingInfo, session.rest(f"historicalFunding:{BTC}", settled(8, 9, 10))) == []
    assert session.calls() == []
    session.control("session_end", -1)
    state = session.subject.checkpoint()
    session.subject = protocol(BTC, channels=("funding",))
    session.subject.restore(state)
    session.now_s += 10 * 3600
    session.connect("venue", name="d")
    (call,) = session.calls()
    assert call.path == "/historicalFunding/BTC-USD?limit=12"
    assert len(of(FundingInfo, session.rest(call.tag, settled(*range(-1, 11))))) == 8
    assert session.calls() == []


@pytest.mark.parametrize("how", ["no answer", "an answer of no use"])
def test_a_poll_without_an_answer_is_an_event_and_a_gap_and_made_again(how: str) -> None:
    session = Session.ready(BTC, channels=("funding",))
    session.now_s = 100.0
    session.connect("venue")
    session.calls()
    session.rest(f"historicalFunding:{BTC}", settled(0))
    session.now_s = 150.0
    if how == "no answer":
        told = session.control("request_failed", -1, tag=f"historicalFunding:{BTC}", attempts=5, error="timed out")
    else:
        told = session.rest(f"historicalFunding:{BTC}", {}, 503)
    assert events(told, EventKind.REQUEST_FAILED)
    (stale,) = events(told, EventKind.STALE, "settled")
    assert (stale.symbol, stale.cause, stale.ts_start) == (BTC, "no_answer", START_NS + 100 * NS_PER_S)
    assert paths(session.wait(29), "/hist") == []
    assert paths(session.wait(1), "/hist") == ["/historicalFunding/BTC-USD?limit=3"]
    assert paths(session.wait(59), "/hist") == []
    assert paths(session.wait(1), "/hist") == ["/historicalFunding/BTC-USD?limit=3"]
    told = session.rest(f"historicalFunding:{BTC}", settled(0, 1))
    (gap,) = events(told, EventKind.GAP, "settled")
    assert (gap.ts_start, gap.ts_end) == (START_NS + 100 * NS_PER_S, START_NS + 240 * NS_PER_S)
    assert len(of(FundingInfo, told)) == 1
    assert paths(session.wait(600), "/hist") == []


def test_missed_trades_are_asked_for_again_until_they_come() -> None:
    session = Session.ready(BTC, channels=("trades",))
    session.now_s = 100.0
    session.connect("trades-0")
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(100))]}, 1, "subscribed"))
    session.control("disconnected")
    session.connect("trades-0", name="d")
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(300))]}, 1, "subscribed", "d"))
    (call,) = session.calls()
    session.control("request_failed", -1, tag=call.tag, attempts=5, error="timed out")
    assert session.wait(29) == []
    assert session.wait(1) == [call]
    session.rest(call.tag, {"trades": [trade(trade_id(height)) for height in (300, 200, 100)]})
    assert paths(session.wait(3000), "/trades") == []


# -- terms ---------------------------------------------------------------------------------------------------------


def test_terms_are_read_again_and_told_when_they_change() -> None:
    """From their time on, and no figure of them: the stream's are newer."""
    session = Session.ready(BTC, channels=("full",))
    session.connect("books-0")
    session.calls()
    assert paths(session.wait(599), "/perp") == []
    (call,) = [each for each in session.wait(1) if isinstance(each, RestCall)]
    assert call.path == "/perpetualMarkets?ticker=BTC-USD"
    assert session.rest(call.tag, {"markets": {BTC: market(oraclePrice="5")}}) == []
    told = session.rest(call.tag, {"markets": {BTC: market(tickSize="1", stepSize="0.01", status="PAUSED")}})
    (changed,) = of(Instrument, told)
    assert told == [changed]
    assert (changed.price_tick, changed.size_step, changed.is_active) == (1.0, 0.01, False)
    assert session.rest(call.tag, {"markets": {BTC: market(tickSize="1", stepSize="0.01", status="PAUSED")}}) == []


def test_the_terms_of_many_markets_are_one_request() -> None:
    pairs = tuple(f"C{number}-USD" for number in range(9))
    session = Session.ready(*pairs, channels=("trades",))
    session.connect("trades-0")
    assert paths(session.wait(600), "/perp") == ["/perpetualMarkets"]
    told = session.rest("terms", {"markets": {pair: market(tickSize="7") for pair in pairs}})
    assert [each.price_tick for each in of(Instrument, told)] == [7.0] * 9


def test_a_poll_does_not_undo_terms_that_the_stream_has_just_told() -> None:
    """It is read from a copy, and kept for a second."""
    session = Session.ready(BTC, channels=("funding",))
    session.connect("venue")
    session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 1, "subscribed"))
    session.now_s = 599.0
    assert of(Instrument, session.take(data("v4_markets", None, {"trading": {BTC: {"status": "PAUSED"}}}, 2)))
    session.now_s = 600.0
    assert session.rest(f"terms:{BTC}", {"markets": {BTC: market()}}) == []
    session.now_s = 1200.0
    (back,) = of(Instrument, session.rest(f"terms:{BTC}", {"markets": {BTC: market()}}))
    assert back.is_active


def test_a_pair_that_leaves_the_list_is_an_event_and_goes_on() -> None:
    """One list without it, read again, ends nothing; neither does a recording that is continued."""
    session = Session.ready(BTC, "ETH-USD", channels=("funding",))
    session.connect("venue")
    for _ in range(2):
        told = session.rest("perpetualMarkets", {"markets": {BTC: market()}})
    assert [(event.symbol, event.cause) for event in events(session.messages, EventKind.NOTICE)] == [
        ("ETH-USD", "vanished")
    ]
    assert session.subject.failure is None
    told = session.take(data("v4_markets", None, {"markets": {BTC: market(), "ETH-USD": market()}}, 1, "subscribed"))
    assert [event.cause for event in events(told, EventKind.NOTICE)] == ["listed"]
    session.control("session_end", -1)
    state = session.subject.checkpoint()
    session.subject = protocol(BTC, "ETH-USD", channels=("funding",))
    session.subject.restore(state)
    session.subject.bootstrap()
    told = session.rest("perpetualMarkets", {"markets": {BTC: market()}})
    assert [(event.symbol, event.cause) for event in events(told, EventKind.NOTICE)] == [("ETH-USD", "vanished")]
    assert session.subject.failure is None
    assert session.subject.is_ready


def test_a_poll_sets_no_price_back() -> None:
    """While the stream tells prices, those of REST are older; a rate that was charged has the price of its hour."""
    session = Session.ready(BTC, channels=("funding",))
    session.connect("venue")
    session.take(data("v4_markets", None, {"markets": {BTC: market(oraclePrice="200")}}, 1, "subscribed"))
    (told,) = of(FundingInfo, session.rest(f"perpetualMarkets:{BTC}", {"markets": {BTC: market(oraclePrice="100")}}))
    assert told.mark_price == 200.0
    session.rest(f"historicalFunding:{BTC}", settled(0))
    tracker = OrderBookTracker()
    for message in session.messages:
        tracker(message)
    found = tracker.funding_info(BTC)
    assert found is not None
    assert found.mark_price == 200.0
    assert session.subject.markets.get(BTC).oracle_price == 200.0


def test_an_hour_is_one_whatever_a_clock_that_was_set_shows() -> None:
    session = Session.ready(BTC, channels=("funding",))
    session.now_s = 100.0
    session.connect("venue")
    session.calls()
    session.rest(f"historicalFunding:{BTC}", settled(0))
    polls = session.subject._polls
    polls._wall_less_mono_ns -= 3600 * NS_PER_S  # as the next connection would see it
    asked = sum(bool(paths(session.wait(600), "/hist")) for _ in range(13))
    assert asked >= 2
