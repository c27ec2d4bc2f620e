"""What a recording says as Binance: both forms, routes, acknowledgements and errors, REST, and the book that a client joins."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.serving.deck import Deck
from replay.serving.face import Ask, Drop
from tests.frame_tapes import MS, Script, Visitor, deck_of, step
from tests.tapes import TS, collector_line, import_files
from toolkit.clock import NS_PER_S

USDM = "binance-usdm"
SPOT = "binance-spot"
COINM = "binance-coinm"
NOW_MS = TS // 1_000_000
PREFIX = {USDM: "/fapi/v1/", SPOT: "/api/v3/", COINM: "/dapi/v1/"}


def get(deck: Deck, what: str, venue: str = USDM, **query: Any) -> tuple[int, Any]:
    asked = {name: str(value) for name, value in query.items()}
    reply = deck.venues[venue].answer(Ask("GET", PREFIX[venue] + what, asked, b"", "", "127.0.0.1"), 0)
    return reply.status, json.loads(reply.body) if reply.content_type == "application/json" else reply.body


def diff(first: int, last: int, prev: int | None, bids: Any = (), asks: Any = (), symbol: str = "BTCUSDT") -> Any:
    data = {"e": "depthUpdate", "E": NOW_MS + last, "T": NOW_MS + last - 1, "s": symbol, "U": first, "u": last}
    return data | ({} if prev is None else {"pu": prev}) | {"b": list(bids), "a": list(asks)}


def base(last: int, bids: Any, asks: Any) -> Any:
    return {"lastUpdateId": last, "E": NOW_MS, "T": NOW_MS, "bids": bids, "asks": asks}


def quote(update_id: int, bid: str = "10.0", ask: str = "11.0") -> Any:
    return {"e": "bookTicker", "u": update_id, "s": "BTCUSDT", "b": bid, "B": "1.0", "a": ask, "A": "2.0", "T": NOW_MS}


def trade(number: int) -> Any:
    return {
        "e": "trade",
        "E": NOW_MS,
        "T": NOW_MS + number,
        "s": "BTCUSDT",
        "t": number,
        "p": "10.5",
        "q": "0.2",
        "m": True,
    }


def mark(due: int, rate: str = "0.0001", price: str = "10.4") -> Any:
    return {
        "e": "markPriceUpdate",
        "E": NOW_MS,
        "s": "BTCUSDT",
        "p": price,
        "i": "10.3",
        "P": "10.2",
        "r": rate,
        "T": due,
    }


class Tape(Script):
    """Frames as our recorder has them: combined, on a connection of each route."""

    def __init__(self, venue: str = USDM) -> None:
        super().__init__(venue)
        self._questions = 0

    def stream(self, name: str, data: Any, conn_id: int = 0) -> bytes:
        return self.said({"stream": name, "data": data}, conn_id)

    def subscribe(self, *names: str, conn_id: int = 0) -> None:
        self.sent({"method": "SUBSCRIBE", "params": names, "id": 1}, conn_id)
        self.said({"result": None, "id": 1}, conn_id)

    def got(self, tag: str, what: str, answer: Any, status: int = 200) -> bytes:
        """A REST question and its answer."""
        self.ask(tag, what)
        return self.reply(tag, what, answer, status)

    def ask(self, tag: str, what: str) -> None:
        self._questions += 1
        self.put("rest_out", b"", -1, self._about(tag, what))

    def reply(self, tag: str, what: str, answer: Any, status: int = 200) -> bytes:
        about = json.loads(self._about(tag, what)) | {"status": status}
        return self.put("rest_in", msgspec.json.encode(answer), -1, json.dumps(about))

    def _about(self, tag: str, what: str) -> str:
        return json.dumps({"id": self._questions, "method": "GET", "path": PREFIX[self.venue] + what, "tag": tag})


def visit(deck: Deck, path: str = "/public/stream", *names: str, venue: str = USDM, query: str = "") -> Visitor:
    visitor = Visitor(deck, venue, path, query)
    if names:
        assert visitor.say({"method": "SUBSCRIBE", "params": names, "id": 1}) == [{"result": None, "id": 1}]
    return visitor


# Both forms ------------------------------------------------------------------------------------------------------------


def test_each_form_is_sent_to_clients_of_each_form_byte_for_byte(tmp_path: Path) -> None:
    """The data is never touched; only its wrapper goes on or off."""
    odd = b'{"e":"trade",  "E":1,"s":"BTCUSDT","t":7,"p":"10.50000000","q":"1","T":1785000000123,"m":true}'
    tape = Tape()
    wrapped = tape.said(b'{"stream":"btcusdt@trade","data":' + odd + b"}")
    combined = deck_of(tape.recording(tmp_path / "combined"))
    raw = deck_of(import_files(tmp_path / "raw", collector_line(TS, odd), venue=USDM))
    for deck in (combined, raw):
        stream, ws = visit(deck, "/public/stream", "btcusdt@trade"), visit(deck, "/public/ws", "btcusdt@trade")
        deck.player.play()
        assert stream.heard() == [wrapped]
        assert ws.heard() == [odd]


def test_a_client_may_change_its_form(tmp_path: Path) -> None:
    tape = Tape()
    for number in range(2):
        tape.stream("btcusdt@bookTicker", quote(number))
    deck = deck_of(tape.recording(tmp_path / "tape"))
    visitor = visit(deck, "/public/ws", "btcusdt@bookTicker")
    step(deck)
    assert msgspec.json.decode(visitor.heard()[0]) == quote(0)
    assert visitor.say({"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}) == [{"result": None, "id": 5}]
    assert visitor.say({"method": "GET_PROPERTY", "params": ["combined"], "id": 6}) == [{"result": True, "id": 6}]
    step(deck)
    assert msgspec.json.decode(visitor.heard()[0]) == {"stream": "btcusdt@bookTicker", "data": quote(1)}


def test_raw_frames_are_told_by_their_own_words(tmp_path: Path) -> None:
    frames = {
        "btcusdt@depth@100ms": diff(1, 2, None, [["1", "0"]]),
        "btcusdt@bookTicker": {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"},
        "btcusdt@trade": trade(1),
        "btcusdt@aggTrade": {"e": "aggTrade", "s": "BTCUSDT", "a": 1, "T": NOW_MS},
        "btcusdt@kline_1m": {"e": "kline", "s": "BTCUSDT", "k": {"i": "1m"}},
        "btcusdt@ticker": {"e": "24hrTicker", "s": "BTCUSDT"},
        "!miniTicker@arr": [{"e": "24hrMiniTicker", "s": "BTCUSDT"}],
    }
    lines = b"".join(collector_line(TS + n, frame) for n, frame in enumerate(frames.values()))
    deck = deck_of(import_files(tmp_path / "tape", lines, venue=SPOT))
    visitors = {name: visit(deck, "/ws", name, venue=SPOT) for name in frames}
    deck.player.play()
    assert {name: [json.loads(each) for each in visitor.heard()] for name, visitor in visitors.items()} == {
        name: [frame] for name, frame in frames.items()
    }


# Streams ---------------------------------------------------------------------------------------------------------------


def test_only_what_is_subscribed_and_on_its_route_is_sent(tmp_path: Path) -> None:
    """The wrong route acknowledges and is silent; a path without a route is public; trades are on both."""
    tape = Tape()
    sent = {
        "btcusdt@depth@100ms": tape.stream("btcusdt@depth@100ms", diff(1, 2, 0)),
        "btcusdt@trade": tape.stream("btcusdt@trade", trade(1)),
        "btcusdt@markPrice@1s": tape.stream("btcusdt@markPrice@1s", mark(1), 1),
    }
    tape.stream("ethusdt@depth@100ms", diff(1, 2, 0, symbol="ETHUSDT"))
    deck = deck_of(tape.recording(tmp_path / "tape"))
    names = [*sent, "nosuch@depth", "BTCUSDT@trade", "nonsense"]
    on = {route: visit(deck, f"{route}/stream", *names) for route in ("/public", "/market", "")}
    leaver = visit(deck, "/public/stream", *names)
    assert leaver.say({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": "x-1"}) == [
        {"result": None, "id": "x-1"}
    ]
    left = [name for name in names if name != "btcusdt@trade"]
    assert leaver.say({"method": "LIST_SUBSCRIPTIONS", "id": 3}) == [{"result": left, "id": 3}]
    deck.player.play()
    depth, trades, price = sent.values()
    assert on["/public"].heard() == on[""].heard() == [depth, trades]
    assert on["/market"].heard() == [trades, price]
    assert leaver.heard() == [depth]


def test_streams_may_be_named_in_the_url(tmp_path: Path) -> None:
    tape = Tape(SPOT)
    trades, quotes = tape.stream("btcusdt@trade", trade(1)), tape.stream("btcusdt@bookTicker", quote(1))
    deck = deck_of(tape.recording(tmp_path / "tape"))
    before = deck.subscription_count
    combined = visit(deck, "/stream", venue=SPOT, query="streams=btcusdt@trade/btcusdt@bookTicker")
    raw = visit(deck, "/ws/btcusdt@trade/btcusdt@bookTicker", venue=SPOT)
    numbered = visit(deck, "/ws/0", venue=SPOT)
    assert deck.subscription_count > before
    deck.player.play()
    assert combined.heard() == [trades, quotes]
    assert [json.loads(each) for each in raw.heard()] == [trade(1), quote(1)]
    assert numbered.heard() == []


@pytest.mark.parametrize(("path", "is_one"), [("/ws", True), ("/stream", True), ("/ws/a@trade", True), ("/public/ws", False),
                                              ("/", False), ("/wsx", False), ("/private/ws", False), ("/ws-api/v3", False)])  # fmt: skip
def test_paths(path: str, is_one: bool, tmp_path: Path) -> None:
    recordings = [Tape(venue) for venue in (SPOT, USDM)]
    for tape in recordings:
        tape.stream("btcusdt@trade", trade(1))
    spot, usdm = (deck_of(tape.recording(tmp_path / tape.venue)).venues[tape.venue] for tape in recordings)
    assert spot.is_ws_path(path) is is_one
    assert usdm.is_ws_path(path) is (is_one or path == "/public/ws")


def test_another_speed_of_the_same_stream_stands_in(tmp_path: Path) -> None:
    """Under the name that was asked for, with the data as it was recorded; also when it turns up later."""
    tape = Tape()
    tape.said({"result": None, "id": 1})
    tape.now += 70 * NS_PER_S  # beyond what is looked at before the tape is played
    first, second = diff(1, 2, 0), mark(1)
    tape.stream("btcusdt@depth@0ms", first)
    tape.stream("btcusdt@markPrice@1s", second, 1)
    tape.stream("btcusdt@depth20@500ms", diff(5, 5, 4))
    deck = deck_of(tape.recording(tmp_path / "tape"))
    depth, price = visit(deck, "/public/stream", "btcusdt@depth"), visit(deck, "/market/stream", "btcusdt@markPrice")
    partial = visit(deck, "/public/stream", "btcusdt@depth10")
    deck.player.play()
    assert [json.loads(each) for each in depth.heard()] == [{"stream": "btcusdt@depth", "data": first}]
    assert [json.loads(each) for each in price.heard()] == [{"stream": "btcusdt@markPrice", "data": second}]
    assert partial.heard() == []


def test_a_stream_of_the_whole_market_is_made_of_those_of_its_symbols(tmp_path: Path) -> None:
    tape = Tape()
    tape.stream("btcusdt@bookTicker", quote(1))
    tape.stream("ethusdt@bookTicker", quote(2) | {"s": "ETHUSDT"})
    deck = deck_of(tape.recording(tmp_path / "tape"))
    visitor = visit(deck, "/public/stream", "!bookTicker")
    deck.player.play()
    heard = [json.loads(each) for each in visitor.heard()]
    assert [(each["stream"], each["data"]["s"]) for each in heard] == [
        ("!bookTicker", "BTCUSDT"),
        ("!bookTicker", "ETHUSDT"),
    ]


def test_a_shutdown_is_announced_to_everybody(tmp_path: Path) -> None:
    tape = Tape(SPOT)
    tape.stream("btcusdt@trade", trade(1))
    notice = tape.said({"e": "serverShutdown", "E": NOW_MS})
    deck = deck_of(tape.recording(tmp_path / "tape"))
    raw, combined = visit(deck, "/ws", "ethusdt@trade", venue=SPOT), visit(deck, "/stream", "btcusdt@trade", venue=SPOT)
    deck.player.play()
    assert raw.heard() == [notice]
    assert json.loads(combined.heard()[1]) == {
        "stream": "!serverShutdown",
        "data": {"e": "serverShutdown", "E": NOW_MS},
    }


def test_a_lost_connection_closes_those_who_heard_of_it_and_no_others(tmp_path: Path) -> None:
    tape = Tape()
    for conn_id, role in enumerate(("public", "market")):
        tape.control("connected", conn_id, role=role, url="")
    tape.stream("btcusdt@trade", trade(1))
    tape.stream("btcusdt@markPrice@1s", mark(1), 1)
    tape.control("disconnected", 0, role="public", code=1006, reason="", error="", cause="")
    recording = tape.recording(tmp_path / "tape")
    for hides in (False, True):
        deck = deck_of(recording, hides_disconnects=hides)
        public, market = visit(deck, "/public/ws", "btcusdt@trade"), visit(deck, "/market/ws", "btcusdt@markPrice")
        deck.player.play()
        assert public.client.drop == (None if hides else Drop())
        assert market.client.drop is None


# Errors and limits -----------------------------------------------------------------------------------------------------


def errors_deck(tmp_path: Path, venue: str = USDM) -> Deck:
    tape = Tape(venue)
    tape.stream("btcusdt@trade", trade(1))
    return deck_of(tape.recording(tmp_path / "tape"))


@pytest.mark.parametrize(
    ("text", "code"),
    [("{", 3), ("[]", 2), ('{"method":"NOPE","id":1}', 2), ('{"id":1}', 2), ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
     ('{"method":"SUBSCRIBE","params":["x"],"id":1.5}', 2), ('{"method":"GET_PROPERTY","params":["x"],"id":1}', 0),
     ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1),
     (json.dumps({"method": "SUBSCRIBE", "params": ["x" * 200], "id": 1}), 2),
     (json.dumps({"method": "SUBSCRIBE", "params": [f"s{n}@trade" for n in range(1025)], "id": 1}), 2)],
)  # fmt: skip
def test_what_is_malformed_is_refused_and_the_connection_stays(text: str, code: int, tmp_path: Path) -> None:
    visitor = visit(errors_deck(tmp_path))
    (answer,) = visitor.say(text)
    assert answer["code"] == code
    assert visitor.say({"method": "LIST_SUBSCRIPTIONS", "id": 2}) == [{"result": [], "id": 2}]


@pytest.mark.parametrize(("venue", "most"), [(SPOT, 5), (USDM, 10)])
def test_more_messages_in_a_second_than_allowed_end_the_connection(venue: str, most: int, tmp_path: Path) -> None:
    visitor = visit(errors_deck(tmp_path, venue), "/ws", venue=venue)
    for number in range(most):
        assert visitor.say({"method": "LIST_SUBSCRIPTIONS", "id": number})
    assert visitor.client.drop is None
    assert visitor.say({"method": "LIST_SUBSCRIPTIONS", "id": 0}) == []
    assert visitor.client.drop == Drop(1008, "Too many requests")


def test_microseconds_are_refused_where_the_tape_has_none(tmp_path: Path) -> None:
    visitor = visit(errors_deck(tmp_path, SPOT), "/ws/btcusdt@trade", venue=SPOT, query="timeUnit=MICROSECOND")
    assert visitor.client.drop is not None
    assert visitor.client.drop.code == 1008


def test_a_client_that_is_gone_leaves_nothing_behind(tmp_path: Path) -> None:
    deck = errors_deck(tmp_path)
    visitor = visit(deck, "/public/stream", "btcusdt@trade", "nosuch@trade")
    deck.disconnect(visitor.client)
    assert deck.venues[USDM]._askers == {}  # type: ignore[attr-defined]
    deck.player.play()
    assert visitor.heard() == []


# The book --------------------------------------------------------------------------------------------------------------


def session(venue: str = USDM) -> Tape:
    """Two diffs, the recorder's snapshot, which lies within the second, and one more."""
    tape = Tape(venue)
    chain = venue != SPOT
    tape.subscribe("btcusdt@depth@100ms")
    tape.stream("btcusdt@depth@100ms", diff(1, 5, 0 if chain else None, [["9.0", "1.0"]]))
    tape.ask("depth:BTCUSDT", "depth?symbol=BTCUSDT&limit=1000")
    tape.stream("btcusdt@depth@100ms", diff(6, 10, 5 if chain else None, [["9.5", "2.0"]], [["11.0", "0.0"]]))
    tape.reply(
        "depth:BTCUSDT",
        "depth?symbol=BTCUSDT&limit=1000",
        base(8, [["9.5", "7.0"], ["9.0", "1.0"]], [["11.0", "3.0"], ["12.0", "1.0"]]),
    )
    tape.stream("btcusdt@depth@100ms", diff(11, 15, 10 if chain else None, [["9.0", "0.0"]], [["12.50", "4.0"]]))
    return tape


@pytest.mark.parametrize("venue", PREFIX)
def test_the_book_is_that_of_the_last_diff_played(venue: str, tmp_path: Path) -> None:
    deck = deck_of(session(venue).recording(tmp_path / "tape"))
    deck.player.play()
    status, book = get(deck, "depth", venue, symbol="BTCUSDT", limit=1000)
    assert (status, book["lastUpdateId"]) == (200, 15)
    assert (book["bids"], book["asks"]) == ([["9.5", "2.0"]], [["12.0", "1.0"], ["12.50", "4.0"]])
    assert ("E" in book) is (venue != SPOT)
    assert ("pair" in book) is (venue == COINM)
    assert get(deck, "depth", venue, symbol="BTCUSDT", limit=5)[1]["asks"][0] == ["12.0", "1.0"]
    assert get(deck, "ticker/bookTicker", venue, symbol="BTCUSDT")[0] == 200


def test_the_first_snapshot_is_given_before_the_tape_reaches_it_and_no_other(tmp_path: Path) -> None:
    """A client asks at once. What the answer is ahead of, its join drops."""
    tape = session()
    deck = deck_of(tape.recording(tmp_path / "tape"))
    assert get(deck, "depth", symbol="BTCUSDT", limit=5)[1]["lastUpdateId"] == 8
    deck.player.play()
    deck.venues[USDM].lost(["btcusdt@depth@100ms"])
    status, answer = get(deck, "depth", symbol="BTCUSDT")
    assert (status, answer["code"]) == (503, -1001)


def test_a_gap_leaves_no_book_until_the_next_snapshot(tmp_path: Path) -> None:
    tape = session()
    tape.stream("btcusdt@depth@100ms", diff(30, 35, 29, [["9.7", "1.0"]]))
    tape.got("depth:BTCUSDT", "depth?symbol=BTCUSDT&limit=1000", base(33, [["9.6", "1.0"]], [["11.0", "1.0"]]))
    deck = deck_of(tape.recording(tmp_path / "tape"))
    step(deck, len(tape.frames) - 2)
    assert get(deck, "depth", symbol="BTCUSDT")[0] == 503
    deck.player.play()
    assert get(deck, "depth", symbol="BTCUSDT")[1]["bids"] == [["9.7", "1.0"], ["9.6", "1.0"]]


def test_a_later_snapshot_fills_in_what_diffs_do_not_say(tmp_path: Path) -> None:
    """It lies behind the newest diff, so those since the question go on top of it; or ahead, and waits for them."""
    tape = session()
    tape.ask("depth:BTCUSDT", "depth")
    tape.stream("btcusdt@depth@100ms", diff(16, 20, 15, [["9.5", "5.0"]]))
    tape.reply("depth:BTCUSDT", "depth", base(18, [["9.5", "1.0"], ["8.0", "1.0"]], [["12.0", "1.0"]]))
    tape.ask("depth:BTCUSDT", "depth")
    tape.reply("depth:BTCUSDT", "depth", base(23, [["9.5", "5.0"], ["7.0", "1.0"]], [["12.0", "1.0"]]))
    tape.stream("btcusdt@depth@100ms", diff(21, 25, 20, [["9.5", "6.0"]]))
    deck = deck_of(tape.recording(tmp_path / "tape"))
    step(deck, len(tape.frames) - 1)
    assert get(deck, "depth", symbol="BTCUSDT")[1]["bids"] == [["9.5", "5.0"], ["8.0", "1.0"]]
    deck.player.play()
    assert get(deck, "depth", symbol="BTCUSDT")[1]["bids"] == [["9.5", "6.0"], ["7.0", "1.0"]]


def test_diffs_of_another_speed_have_a_chain_of_their_own(tmp_path: Path) -> None:
    tape = session()
    tape.stream("btcusdt@depth@500ms", diff(1, 40, 0, [["1.0", "1.0"]]))
    tape.stream("btcusdt@depth@100ms", diff(16, 20, 15, [["9.9", "1.0"]]))
    deck = deck_of(tape.recording(tmp_path / "tape"))
    visitor = visit(deck, "/public/stream", "btcusdt@depth@500ms")
    deck.player.play()
    assert [json.loads(each)["data"]["u"] for each in visitor.heard()] == [40]
    book = get(deck, "depth", symbol="BTCUSDT")[1]
    assert (book["lastUpdateId"], book["bids"][0]) == (20, ["9.9", "1.0"])


def test_a_partial_book_answers_where_there_are_no_diffs(tmp_path: Path) -> None:
    tape = Tape(SPOT)
    tape.stream("btcusdt@depth5", {"lastUpdateId": 7, "bids": [["9", "1"], ["8", "1"]], "asks": [["10", "1"]]})
    tape.stream("btcusdt@trade", trade(1))
    deck = deck_of(tape.recording(tmp_path / "tape"))
    deck.player.play()
    assert get(deck, "depth", SPOT, symbol="BTCUSDT", limit=1)[1] == {
        "lastUpdateId": 7,
        "bids": [["9", "1"]],
        "asks": [["10", "1"]],
    }


def test_a_seek_has_the_book_of_that_time(tmp_path: Path) -> None:
    tape = session()
    deck = deck_of(tape.recording(tmp_path / "tape"))
    deck.player.play()
    deck.player.seek(tape.frames[-1].ts_recv)
    deck.player.step_frame()
    whole = get(deck, "depth", symbol="BTCUSDT")
    deck.player.seek(tape.frames[-1].ts_recv)
    assert get(deck, "depth", symbol="BTCUSDT")[1]["lastUpdateId"] == 10
    assert whole[1]["lastUpdateId"] == 15


# The rest of REST ------------------------------------------------------------------------------------------------------


def test_trades_prices_and_funding_of_the_present(tmp_path: Path) -> None:
    tape = Tape()
    due = NOW_MS + 1000
    for number in (1, 2):
        tape.stream("btcusdt@trade", trade(number))
    tape.stream(
        "btcusdt@aggTrade",
        {"e": "aggTrade", "s": "BTCUSDT", "a": 5, "p": "10.5", "q": "0.4", "f": 1, "l": 2, "T": NOW_MS, "m": True},
        1,
    )
    tape.stream("btcusdt@bookTicker", quote(3))
    tape.stream("btcusdt@markPrice@1s", mark(due, "0.0003", "10.1"), 1)
    tape.stream("btcusdt@markPrice@1s", mark(due + 28_800_000, "0.0001"), 1)
    unseen = mark(due + 57_600_000, "0.0009")  # its predecessor was said eight hours before that settlement
    tape.stream("btcusdt@markPrice@1s", unseen | {"E": NOW_MS + 28_900_000}, 1)
    tape.stream("btcusdt@markPrice@1s", mark(due + 28_800_000, "0.0001"), 1)
    deck = deck_of(tape.recording(tmp_path / "tape"))
    assert get(deck, "trades", symbol="BTCUSDT")[0] == 503
    deck.player.play()
    rows = get(deck, "trades", symbol="BTCUSDT", limit=1)[1]
    assert rows == [
        {"id": 2, "price": "10.5", "qty": "0.2", "quoteQty": "2.10", "time": NOW_MS + 2, "isBuyerMaker": True}
    ]
    assert get(deck, "aggTrades", symbol="BTCUSDT")[1] == [
        {"a": 5, "p": "10.5", "q": "0.4", "f": 1, "l": 2, "T": NOW_MS, "m": True}
    ]
    assert get(deck, "ticker/price", symbol="BTCUSDT")[1] == {"symbol": "BTCUSDT", "price": "10.5", "time": NOW_MS + 2}
    assert get(deck, "ticker/bookTicker")[1] == [
        {"symbol": "BTCUSDT", "bidPrice": "10.0", "bidQty": "1.0", "askPrice": "11.0", "askQty": "2.0", "time": NOW_MS, "lastUpdateId": 3}
    ]  # fmt: skip
    assert get(deck, "premiumIndex", symbol="BTCUSDT")[1] == {
        "symbol": "BTCUSDT", "markPrice": "10.4", "indexPrice": "10.3", "estimatedSettlePrice": "10.2", "lastFundingRate": "0.0001",
        "nextFundingTime": due + 28_800_000, "time": NOW_MS}  # fmt: skip
    assert get(deck, "fundingRate", symbol="BTCUSDT")[1] == [
        {"symbol": "BTCUSDT", "fundingTime": due, "fundingRate": "0.0003", "markPrice": "10.1"}
    ]
    assert get(deck, "time")[1] == {"serverTime": deck.player.position_ns // MS}


def test_recorded_replies_answer_and_only_once_the_tape_has_them(tmp_path: Path) -> None:
    """But for the listing, which was as true before."""
    info = {"symbols": [{"symbol": "BTCUSDT", "status": "TRADING"}, {"symbol": "NEVERUSDT", "status": "TRADING"}]}
    tape = Tape()
    listing = tape.got("exchangeInfo", "exchangeInfo", info)
    tape.got("fundingInfo", "fundingInfo", [{"symbol": "BTCUSDT", "fundingIntervalHours": 4}])
    tape.stream("btcusdt@trade", trade(1))
    tape.got("openInterest:BTCUSDT", "openInterest?symbol=BTCUSDT", {"symbol": "BTCUSDT", "openInterest": "7"})
    deck = deck_of(tape.recording(tmp_path / "tape"))
    assert deck.venues[USDM].answer(Ask("GET", "/fapi/v1/exchangeInfo", {}, b"", "", ""), 0).body == listing
    assert get(deck, "fundingInfo")[1][0]["fundingIntervalHours"] == 4
    assert get(deck, "openInterest", symbol="BTCUSDT")[0] == 503
    assert get(deck, "depth", symbol="NEVERUSDT")[0] == 503
    assert get(deck, "depth", symbol="NOSUCH") == (400, {"code": -1121, "msg": "Invalid symbol."})
    deck.player.play()
    assert get(deck, "openInterest", symbol="BTCUSDT")[1] == {"symbol": "BTCUSDT", "openInterest": "7"}


def test_a_listing_is_made_of_an_import_and_says_so(tmp_path: Path) -> None:
    line = collector_line(
        TS, {"stream": "btcusd_perp@depth@0ms", "data": diff(1, 2, 0, [["61773.60", "10"]], symbol="BTCUSD_PERP")}
    )
    deck = deck_of(import_files(tmp_path / "tape", line, venue=COINM))
    (row,) = get(deck, "exchangeInfo", COINM)[1]["symbols"]
    assert (row["symbol"], row["pair"], row["baseAsset"], row["marginAsset"]) == ("BTCUSD_PERP", "BTCUSD", "BTC", "BTC")
    assert (row["contractType"], row["contractSize"]) == ("PERPETUAL", 100)
    assert [each.get("tickSize", each.get("stepSize")) for each in row["filters"]] == ["0.1", "1"]
    assert [line.partition(":")[0] for line in deck.venues[COINM].synthesized] == ["exchangeInfo", "fundingInfo"]


def test_what_a_recording_cannot_answer_is_refused_in_the_venues_words(tmp_path: Path) -> None:
    deck = errors_deck(tmp_path)
    deck.player.play()
    assert get(deck, "klines", symbol="BTCUSDT", interval="1m")[0] == 503
    assert get(deck, "nonsense")[0] == 404
    assert get(deck, "../../etc/passwd")[0] == 404
    assert get(deck, "depth") == (
        400,
        {"code": -1102, "msg": "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."},
    )
    assert get(deck, "depth", symbol="BTCUSDT", limit=7)[1]["code"] == -4021
    assert get(deck, "trades", symbol="BTCUSDT", limit="x")[1]["code"] == -1102
    for method, path in (("POST", "/fapi/v1/order"), ("GET", "/sapi/v1/account"), ("POST", "/fapi/v1/listenKey")):
        reply = deck.venues[USDM].answer(Ask(method, path, {}, b"", "", ""), 0)
        assert (reply.status, json.loads(reply.body)["code"]) == (401, -2015)


def test_recorded_rubbish_stops_nothing(tmp_path: Path) -> None:
    tape = Tape()
    for data in (b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"stream":"btcusdt@depth@100ms","data":{"U":1}}', b'{"stream":1}',
                 b'{"stream":"btcusdt@depth@100ms","data":{"U":1,"u":2,"pu":0,"b":[["x","y"]],"a":[]}}',
                 b'{"stream":"btcusdt@trade","data":7}', b'{"stream":"btcusdt@aggTrade","data":{"T":1}}',
                 b'{"stream":"btcusdt@bookTicker","data":[]}', b'{"stream":"btcusdt@depth20","data":{"u":1}}',
                 b'{"stream":"btcusdt@markPrice@1s","data":{"T":"x"}}', b'{"lastUpdateId":2,"bids":[["x","1"]],"asks":[]}'):  # fmt: skip
        tape.said(data)
    tape.got("depth:BTCUSDT", "depth", {"lastUpdateId": 1, "bids": [["a", "b"]], "asks": []})
    deck = deck_of(tape.recording(tmp_path / "tape"))
    visitor = visit(deck, "/public/ws", "btcusdt@depth", "btcusdt@trade", "btcusdt@depth20")
    deck.player.play()
    assert visitor.heard()
    for what in ("depth", "trades", "aggTrades", "premiumIndex", "fundingRate", "ticker/bookTicker", "ticker/price"):
        assert get(deck, what, symbol="BTCUSDT")[0] in (200, 400, 503)


# Real captures ---------------------------------------------------------------------------------------------------------


class Capture(NamedTuple):
    venue: str
    file: str
    symbol: str
    path: str
    depth: str


CAPTURES = [
    Capture(USDM, "usdm_btcusdt_20240808", "BTCUSDT", "/public/stream", "btcusdt@depth@0ms"),
    Capture(SPOT, "spot_btcusdt_20240808", "BTCUSDT", "/stream", "btcusdt@depth@100ms"),
    Capture(COINM, "coinm_btcusd_perp_20240808", "BTCUSD_PERP", "/stream", "btcusd_perp@depth@0ms"),
]


class Joiner:
    """A client of its own making: the venue's page on keeping a book, word for word."""

    def __init__(self, *, is_spot: bool) -> None:
        self._is_spot = is_spot
        self._buffer: list[Any] = []
        self.last_id: int | None = None
        self._is_first = True
        self.sides: dict[str, dict[float, float]] = {}
        self.gaps = 0

    def diff(self, event: Any) -> None:
        if self.last_id is None:
            self._buffer.append(event)
        elif event["u"] > self.last_id if self._is_spot else event["u"] >= self.last_id:
            if self._is_first:
                # "The first processed event should have U <= lastUpdateId AND u >= lastUpdateId" (spot: + 1).
                self.gaps += not event["U"] <= self.last_id + self._is_spot <= event["u"]
            else:
                self.gaps += event["U"] != self.last_id + 1 if self._is_spot else event["pu"] != self.last_id
            self._apply(event)

    def snapshot(self, reply: Any) -> None:
        self.sides = {name: {float(price): float(size) for price, size in reply[name]} for name in ("bids", "asks")}
        self.last_id, self._is_first = reply["lastUpdateId"], True
        for event in self._buffer:
            self.diff(event)

    def _apply(self, event: Any) -> None:
        for name, key in (("bids", "b"), ("asks", "a")):
            for price, size in event[key]:
                if float(size):
                    self.sides[name][float(price)] = float(size)
                else:
                    self.sides[name].pop(float(price), None)
        self.last_id, self._is_first = event["u"], False

    def best(self) -> tuple[float, float, float, float]:
        bid, ask = max(self.sides["bids"]), min(self.sides["asks"])
        return bid, self.sides["bids"][bid], ask, self.sides["asks"][ask]


def cut_of(capture: Capture, folder: Path, shared_data: Path, lines: int) -> Recording:
    with gzip.open(shared_data / "binance" / f"{capture.file}.gz") as file:
        (folder / "cut.txt").write_bytes(b"".join(islice(file, lines)))
    options = ImportOptions(venue=capture.venue, line_format="collector")
    import_capture([folder / "cut.txt"], folder / "tape", options)
    return Recording.open(folder / "tape")


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture.venue)
@pytest.mark.parametrize("frames_before", [0, 1500])
def test_a_client_of_a_real_capture_has_the_venues_own_best_prices(
    capture: Capture, frames_before: int, tmp_path: Path, shared_data: Path
) -> None:
    """Joined by the venue's rules from REST and diffs, its book equals every best quote of the same update id."""
    deck = deck_of(cut_of(capture, tmp_path, shared_data, 5_000))
    step(deck, frames_before)
    quotes = capture.depth.partition("@")[0] + "@bookTicker"
    visitor = visit(deck, capture.path, capture.depth, quotes, venue=capture.venue)
    book = Joiner(is_spot=capture.venue == SPOT)
    expected: dict[int, tuple[float, float, float, float]] = {}
    got: dict[int, tuple[float, float, float, float]] = {}
    diffs = 0
    while deck.player.step_frame():
        for payload in visitor.heard():
            message = json.loads(payload)
            data = message["data"]
            if message["stream"] == quotes:
                expected[data["u"]] = tuple(float(data[key]) for key in ("b", "B", "a", "A"))  # type: ignore[assignment]
                continue
            diffs += 1
            book.diff(data)
            if book.last_id is None:
                status, reply = get(deck, "depth", capture.venue, symbol=capture.symbol, limit=1000)
                assert status == 200
                book.snapshot(reply)
            elif book.last_id == data["u"]:
                got[book.last_id] = book.best()
    assert diffs > 100
    assert book.gaps == 0
    both = expected.keys() & got.keys()
    assert len(both) > 5
    assert {update_id: got[update_id] for update_id in both} == {update_id: expected[update_id] for update_id in both}


@pytest.mark.slow
def test_a_second_capture_goes_on_where_the_first_ended(tmp_path: Path, shared_data: Path) -> None:
    """The second COIN-M capture has no snapshot: its book is that of the first, through the end of that recording."""
    folders = [tmp_path / name for name in ("first", "second")]
    recordings = []
    for folder, name in zip(folders, ("coinm_btcusd_perp_20240808", "coinm_btcusd_perp_20240809"), strict=True):
        with gzip.open(shared_data / "binance" / f"{name}.gz") as file:
            lines = file.readlines()
        folder.mkdir()
        # All diffs of the first, and enough of the second; quotes and trades make no book.
        some = [line for line in lines if b"@depth" in line or b"lastUpdateId" in line]
        (folder / "cut.txt").write_bytes(b"".join(some if name.endswith("8") else some[:500]))
        import_capture([folder / "cut.txt"], folder / "tape", ImportOptions(venue=COINM, line_format="collector"))
        recordings.append(Recording.open(folder / "tape"))
    deck = deck_of(*recordings)
    deck.player.play()
    status, book = get(deck, "depth", COINM, symbol="BTCUSD_PERP", limit=5)
    assert status == 200
    frames = [frame for batch in recordings[1].raw_frames() for frame in batch]
    last = next(json.loads(frame.payload) for frame in reversed(frames) if b"@depth" in frame.payload)
    assert book["lastUpdateId"] == last["data"]["u"]
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])
