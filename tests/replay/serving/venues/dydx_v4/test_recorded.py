"""What a recording says as dYdX v4: numbers of a connection, snapshots, both forms of updates, errors, REST."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from replay.serving.deck import Deck
from replay.serving.face import Ask, Drop
from replay.serving.venues.dydx_v4.recorded.streams import BATCH, data_frame, read, renumbered, split
from tests.frame_tapes import Script, Visitor, deck_of, step
from tests.tapes import TS, collector_line, import_files
from toolkit.clock import NS_PER_S

DYDX = "dydx_v4"
ADDRESS = "dydx1n56z5fhmemtffzkt2eqyf9kuc7ycjfs86mvqy7"
ACCOUNT = f"{ADDRESS}/0"
MARKETS = {"markets": {"BTC-USD": {"ticker": "BTC-USD", "clobPairId": "0", "oraclePrice": "100", "openInterest": "1", "tickSize": "1"},
                       "ETH-USD": {"ticker": "ETH-USD", "clobPairId": "1", "oraclePrice": "10", "openInterest": "2", "tickSize": "0.1"}}}  # fmt: skip


def get(deck: Deck, path: str, **query: Any) -> tuple[int, Any]:
    asked = {name: str(value) for name, value in query.items()}
    reply = deck.venues[DYDX].answer(Ask("GET", f"/v4/{path}", asked, b"", "", "127.0.0.1"), 0)
    return reply.status, json.loads(reply.body)


class Tape(Script):
    """Frames as the venue sends them to our recorder, with the numbers of its connection."""

    def __init__(self) -> None:
        super().__init__(DYDX)
        self.number = 0

    def _frame(self, type: str, **fields: Any) -> bytes:
        self.number += 1
        return self.said({"type": type, "connection_id": "recorder", "message_id": self.number, **fields})

    def subscribe(self, channel: str, contents: Any, id: str = "", *, batched: bool = False) -> bytes:
        """A subscribe, and its answer with a snapshot."""
        name = {"id": id} if id else {}
        self.sent({"type": "subscribe", "channel": channel, **name, **({"batched": True} if batched else {})})
        shown = {} if channel == "v4_markets" else {"id": id or channel}
        return self._frame("subscribed", channel=channel, **shown, contents=contents)

    def data(self, channel: str, contents: Any, id: str = "", **more: Any) -> bytes:
        name = {} if channel == "v4_markets" else {"id": id or channel}
        return self._frame("channel_data", **name, channel=channel, version="1.0.0", contents=contents, **more)

    def batch(self, channel: str, contents: list[Any], id: str = "") -> bytes:
        return self._frame("channel_batch_data", id=id, channel=channel, version="1.0.0", contents=contents)

    def got(self, tag: str, path: str, answer: Any) -> None:
        about = {"id": len(self.frames), "method": "GET", "path": f"/{path}", "tag": tag}
        self.put("rest_out", b"", -1, json.dumps(about))
        self.put("rest_in", msgspec.json.encode(answer), -1, json.dumps(about | {"status": 200}))


def opening() -> Tape:
    tape = Tape()
    tape.got("perpetualMarkets", "perpetualMarkets", MARKETS)
    tape.said({"type": "connected", "connection_id": "recorder", "message_id": 0})
    return tape


def book(bids: Any, asks: Any) -> Any:
    return {
        name: [{"price": p, "size": s} for p, s in side] for name, side in (("bids", bids), ("asks", asks))
    }  # fmt: skip


class Caller(Visitor):
    """A client that has been greeted."""

    def __init__(self, deck: Deck) -> None:
        super().__init__(deck, DYDX, "/v4/ws")
        (greeting,) = self.client.take()
        self.name = json.loads(greeting)["connection_id"]
        assert json.loads(greeting) == {"type": "connected", "connection_id": self.name, "message_id": 0}

    def ask(self, channel: str, id: str = "", type: str = "subscribe", **more: Any) -> list[Any]:
        return self.say({"type": type, "channel": channel, **({"id": id} if id else {}), **more})

    def as_mine(self, payload: bytes, number: int) -> bytes:
        """A recorded frame with this connection's numbers: byte for byte the same but for them."""
        head, _, rest = payload.partition(b'"connection_id":"recorder","message_id":')
        return head + b'"connection_id":"%b","message_id":%d' % (self.name.encode(), number) + rest[rest.index(b",") :]


# Numbers and snapshots -------------------------------------------------------------------------------------------------


def test_every_byte_but_the_connections_numbers_is_the_recorded_one(tmp_path: Path) -> None:
    """Who waits is answered with the recorder's own snapshot; each connection counts for itself."""
    tape = opening()
    first = tape.subscribe("v4_orderbook", book([("9", "1")], [("11", "2")]), "BTC-USD")
    second = tape.data("v4_orderbook", {"bids": [["9.5", "3"]]}, "BTC-USD")
    tape.data("v4_orderbook", {"bids": [["1", "3"]]}, "ETH-USD")
    third = tape.data("v4_orderbook", {"asks": [["11", "0"]]}, "BTC-USD")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    one, other = Caller(deck), Caller(deck)
    assert one.name != other.name
    assert one.ask("v4_orderbook", "BTC-USD") == []
    assert other.ask("v4_block_height", type="unsubscribe")[0]["message_id"] == 1
    assert other.ask("v4_orderbook", "BTC-USD") == []
    deck.player.play()
    assert one.heard() == [one.as_mine(text, number) for number, text in enumerate((first, second, third), 1)]
    assert other.heard() == [other.as_mine(text, number) for number, text in enumerate((first, second, third), 2)]


def test_an_answer_may_come_after_data_with_higher_numbers(tmp_path: Path) -> None:
    """It has the number of the moment it was asked for, as on the venue."""
    tape = opening()
    tape.subscribe("v4_block_height", {"height": "1", "time": "2025-01-01T00:00:00.000Z"})
    tape.data("v4_block_height", {"blockHeight": "2", "time": "2025-01-01T00:00:01.000Z"})
    tape.subscribe("v4_orderbook", book([("9", "1")], []), "BTC-USD")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    caller = Caller(deck)
    caller.ask("v4_orderbook", "BTC-USD")
    caller.ask("v4_block_height")
    deck.player.play()
    heard = [json.loads(each) for each in caller.heard()]
    assert [(each["type"], each["message_id"]) for each in heard] == [
        ("subscribed", 2),
        ("channel_data", 3),
        ("subscribed", 1),
    ]


def test_nothing_is_sent_before_the_answer(tmp_path: Path) -> None:
    """An update whose snapshot the tape does not have, as in a capture that began in between."""
    tape = opening()
    tape.data("v4_orderbook", {"bids": [["1", "3"]]}, "BTC-USD")
    first = tape.subscribe("v4_orderbook", book([("9", "1")], []), "BTC-USD")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    caller = Caller(deck)
    caller.ask("v4_orderbook", "BTC-USD")
    deck.player.play()
    assert caller.heard() == [caller.as_mine(first, 1)]


def test_a_book_of_the_present_is_uncrossed_and_cut(tmp_path: Path) -> None:
    """Of two levels that cross, the one said later stays."""
    tape = opening()
    tape.subscribe(
        "v4_orderbook", book([("99", "1"), ("98", "1")], [(str(101 + n), "1") for n in range(100)]), "BTC-USD"
    )
    tape.data("v4_orderbook", {"bids": [["102", "5"], ["97", "1"]]}, "BTC-USD")
    tape.data("v4_orderbook", {"asks": [["98.5", "4"], ["300", "1"]]}, "BTC-USD")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    deck.player.play()
    caller = Caller(deck)
    (answer,) = caller.ask("v4_orderbook", "BTC-USD")
    contents = answer.pop("contents")
    assert answer == {
        "type": "subscribed",
        "connection_id": caller.name,
        "message_id": 1,
        "channel": "v4_orderbook",
        "id": "BTC-USD",
    }
    assert contents["bids"] == [{"price": "98", "size": "1"}, {"price": "97", "size": "1"}]
    assert contents["asks"][0] == {"price": "98.5", "size": "4"}
    assert contents["asks"][1] == {"price": "101", "size": "1"}
    assert len(contents["asks"]) == 100
    assert get(deck, "orderbooks/perpetualMarket/BTC-USD") == (200, contents)


def test_the_first_trades_are_history_newest_first(tmp_path: Path) -> None:
    """With the height that only snapshots say, which is in the id."""
    tape = opening()
    row = {"side": "BUY", "size": "1", "price": "5", "type": "LIMIT", "createdAt": "2025-01-01T00:00:00.000Z"}
    old = {"id": "0000000a0000000200000002", **row, "createdAtHeight": "10"}
    tape.subscribe("v4_trades", {"trades": [old]}, "BTC-USD")
    news = [{"id": f"0000000b000000020000000{n}", **row} for n in (2, 5)]
    tape.data("v4_trades", {"trades": news}, "BTC-USD")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    deck.player.play()
    (answer,) = Caller(deck).ask("v4_trades", "BTC-USD")
    expected = [{**news[1], "createdAtHeight": "11"}, {**news[0], "createdAtHeight": "11"}, old]
    assert answer["contents"] == {"trades": expected}
    assert get(deck, "trades/perpetualMarket/BTC-USD", limit=2)[1] == {"trades": expected[:2]}
    assert get(deck, "trades/perpetualMarket/BTC-USD", createdBeforeOrAtHeight=10)[1] == {"trades": [old]}


def test_markets_are_merged_and_an_id_gets_the_snapshot_only(tmp_path: Path) -> None:
    tape = opening()
    tape.subscribe("v4_markets", MARKETS)
    tape.data(
        "v4_markets",
        {"trading": {"BTC-USD": {"id": "0", "openInterest": "7"}, "NEW-USD": {"id": "5", "status": "ACTIVE"}}},
    )
    tape.data("v4_markets", {"oraclePrices": {"ETH-USD": {"oraclePrice": "11", "effectiveAt": "x", "marketId": 1}}})
    last = tape.data("v4_markets", {"trading": {"BTC-USD": {"id": "0", "openInterest": "8"}}})
    deck = deck_of(tape.recording(tmp_path / "tape"))
    step(deck, len(tape.frames) - 1)
    trapped, caller = Caller(deck), Caller(deck)
    (answer,) = caller.ask("v4_markets")
    assert "id" not in answer
    markets = answer["contents"]["markets"]
    assert markets["BTC-USD"] == MARKETS["markets"]["BTC-USD"] | {"openInterest": "7"}
    assert markets["ETH-USD"]["oraclePrice"] == "11"
    assert markets["NEW-USD"] == {"ticker": "NEW-USD", "clobPairId": "5", "status": "ACTIVE"}
    assert trapped.ask("v4_markets", "BTC-USD")[0]["type"] == "subscribed"
    deck.player.play()
    assert caller.heard() == [caller.as_mine(last, 2)]
    assert trapped.heard() == []
    assert get(deck, "perpetualMarkets", ticker="BTC-USD")[1]["markets"]["BTC-USD"]["openInterest"] == "8"


@pytest.mark.parametrize("is_batched", [False, True])
def test_updates_come_in_the_form_that_was_asked_for(is_batched: bool, tmp_path: Path) -> None:
    """Contents are what they were, in batches of what the recorder got at once."""
    changes: list[Any] = [{"bids": [["9", "1"]]}, {"asks": [["11", "0"]]}]
    tape = opening()
    tape.subscribe("v4_orderbook", book([], []), "BTC-USD", batched=True)
    batch = tape.batch("v4_orderbook", changes, "BTC-USD")
    tape.subscribe("v4_orderbook", book([], []), "ETH-USD")
    singles = [tape.data("v4_orderbook", change, "ETH-USD") for change in changes]
    deck = deck_of(tape.recording(tmp_path / "tape"))
    caller = Caller(deck)
    for ticker in ("BTC-USD", "ETH-USD"):
        caller.ask("v4_orderbook", ticker, batched=is_batched)
    deck.player.play()
    heard = [each for each in caller.heard() if b"subscribed" not in each[:24]]
    said = [json.loads(each) for each in heard]
    assert [each["message_id"] for each in said] == list(range(3, 3 + len(said)))
    mine = [each for each in said if each["id"] == "BTC-USD"], [each for each in said if each["id"] == "ETH-USD"]
    if is_batched:
        assert heard[0] == caller.as_mine(batch, 3)
        assert [each["contents"] for each in mine[1]] == [[change] for change in changes]
        assert {each["type"] for each in said} == {"channel_batch_data"}
    else:
        assert heard[2:] == [caller.as_mine(text, number) for number, text in enumerate(singles, 5)]
        assert [each["contents"] for each in mine[0]] == changes
        assert {each["type"] for each in said} == {"channel_data"}


def test_a_book_that_the_recorder_read_anew_is_sent_to_who_listens(tmp_path: Path) -> None:
    """Changes in between are missing on the tape, so nothing else would set it right. Trades are not told twice."""
    tape = opening()
    for _ in range(2):
        snapshot = tape.subscribe("v4_orderbook", book([("9", "1")], []), "BTC-USD")
        tape.subscribe("v4_trades", {"trades": []}, "BTC-USD")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    caller = Caller(deck)
    caller.ask("v4_orderbook", "BTC-USD")
    caller.ask("v4_trades", "BTC-USD")
    deck.player.play()
    heard = caller.heard()
    assert [json.loads(each)["channel"] for each in heard] == ["v4_orderbook", "v4_trades", "v4_orderbook"]
    assert heard[2] == caller.as_mine(snapshot, 3)


def test_a_lost_connection_closes_its_clients_and_who_comes_waits_for_the_new_snapshot(tmp_path: Path) -> None:
    tape = opening()
    tape.control("connected", 0, role="books-0", url="")
    tape.subscribe("v4_orderbook", book([("9", "1")], []), "BTC-USD")
    tape.control("disconnected", 0, role="books-0", code=1012, reason="restart", error="", cause="")
    snapshot = tape.subscribe("v4_orderbook", book([("8", "1")], []), "BTC-USD")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    early = Caller(deck)
    early.ask("v4_orderbook", "BTC-USD")
    step(deck, len(tape.frames) - 2)
    assert early.client.drop == Drop(1012, "restart")
    assert get(deck, "orderbooks/perpetualMarket/BTC-USD")[0] == 503
    late = Caller(deck)
    assert late.ask("v4_orderbook", "BTC-USD") == []
    deck.player.play()
    assert late.heard() == [late.as_mine(snapshot, 1)]


def test_frames_in_another_order_and_with_spaces_are_told_as_well(tmp_path: Path) -> None:
    text = b'{ "channel": "v4_orderbook", "connection_id": "x", "contents": {"bids": [["9", "1"]]}, "id": "BTC-USD", "message_id": 7, "type": "channel_data", "version": "1.0.0" }'
    snapshot = {
        "type": "subscribed",
        "channel": "v4_orderbook",
        "id": "BTC-USD",
        "message_id": 1,
        "connection_id": "x",
        "contents": book([], []),
    }
    lines = [collector_line(TS, snapshot), collector_line(TS + 1, text)]
    deck = deck_of(import_files(tmp_path / "tape", b"".join(lines), venue=DYDX))
    caller = Caller(deck)
    caller.ask("v4_orderbook", "BTC-USD")
    deck.player.play()
    heard = [json.loads(each) for each in caller.heard()]
    assert [each["message_id"] for each in heard] == [1, 2]
    assert heard[1] == json.loads(text) | {"connection_id": caller.name, "message_id": 2}


def test_real_frames_lose_nothing_but_their_numbers(shared_data: Path) -> None:
    """As they were published, and as compact as they were sent."""
    read_count = 0
    for path in sorted((shared_data / "dydx_v4").glob("*.json")):
        text = path.read_bytes()
        frame = json.loads(text)
        for payload in (text, msgspec.json.encode(frame)):
            envelope = read(payload)
            assert (envelope is not None) is ("contents" in frame)
            if envelope is None:
                continue
            read_count += 1
            assert json.loads(renumbered(envelope.payload, b"me", 5)) == {
                **frame,
                "connection_id": "me",
                "message_id": 5,
            }
            if envelope.kind == BATCH:
                assert [json.loads(each)["contents"] for each in split(envelope.payload)] == frame["contents"]
            else:
                assert json.loads(data_frame(BATCH, envelope.payload))["contents"] == [frame["contents"]]
    assert read_count > 50


# Refusals --------------------------------------------------------------------------------------------------------------


def refused(caller: Caller, *args: Any, **more: Any) -> str:
    (answer,) = caller.ask(*args, **more)
    assert answer["type"] == "error"
    assert answer["message_id"] == caller.client.message_id  # type: ignore[attr-defined]
    return str(answer["message"])


def test_the_venues_own_words_for_what_it_refuses(tmp_path: Path) -> None:
    tape = opening()
    tape.subscribe("v4_orderbook", book([("9", "1")], []), "BTC-USD")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    deck.player.play()
    caller = Caller(deck)
    assert refused(caller, "v4_orderbook", "NO-USD") == "Invalid subscription id for channel: (v4_orderbook-NO-USD)"
    assert refused(caller, "v4_subaccounts", "me") == "Invalid subscription id for channel: (v4_subaccounts-me)"
    assert refused(caller, "v4_nope", "x") == "Invalid channel: v4_nope"
    unfetched = "Internal error, could not fetch data for subscription: "
    assert refused(caller, "v4_orderbook", "ETH-USD") == f"{unfetched}v4_orderbook."
    assert refused(caller, "v4_subaccounts", ACCOUNT) == f"{unfetched}v4_subaccounts."
    assert refused(caller, "v4_markets") == f"{unfetched}v4_markets."
    assert caller.ask("v4_orderbook", "BTC-USD")[0]["type"] == "subscribed"
    text = "Invalid subscribe message: already subscribed (v4_orderbook-BTC-USD)"
    assert refused(caller, "v4_orderbook", "BTC-USD") == text
    assert caller.say({"type": "ping"}) == []
    unsubscribed = caller.ask("v4_orderbook", "BTC-USD", "unsubscribe")[0]
    assert (unsubscribed["type"], unsubscribed["id"]) == ("unsubscribed", "BTC-USD")
    assert caller.client.drop is None


def test_what_is_malformed_or_too_fast_ends_the_connection(tmp_path: Path) -> None:
    tape = opening()
    tape.subscribe("v4_orderbook", book([], []), "BTC-USD")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    deck.player.play()
    rude, hasty = Caller(deck), Caller(deck)
    for text in ("{", "x" * 5000, "[]"):
        assert rude.say(text)[0]["message"].startswith("Invalid message: ")
    for _ in range(3):
        answer = hasty.ask("v4_orderbook", "BTC-USD")
    text = "Too many subscribe attempts for channel v4_orderbook-BTC-USD. Please reconnect and try again."
    assert answer[0]["message"] == text
    assert rude.client.drop == hasty.client.drop == Drop(1008, '{"message":"Rate limited"}')


def test_subscriptions_of_a_channel_are_limited(tmp_path: Path) -> None:
    tape = opening()
    names = [f"C{number}-USD" for number in range(33)]
    for name in names:
        tape.subscribe("v4_trades", {"trades": []}, name)
    deck = deck_of(tape.recording(tmp_path / "tape"))
    deck.player.play()
    caller = Caller(deck)
    for name in names[:32]:
        assert caller.ask("v4_trades", name)[0]["type"] == "subscribed"
    assert (
        refused(caller, "v4_trades", names[32]) == "Per-connection subscription limit reached for v4_trades (limit=32)."
    )


def test_recorded_rubbish_stops_nothing(tmp_path: Path) -> None:
    tape = opening()
    tape.subscribe("v4_orderbook", book([("x", "y"), ("9", "1")], []), "BTC-USD")
    tape.subscribe("v4_markets", {"markets": 7})
    tape.subscribe("v4_trades", {"trades": [{"id": "zz"}]}, "BTC-USD")
    tape.subscribe("v4_block_height", {})
    tape.subscribe("v4_subaccounts", [], ACCOUNT)
    for data in (b"", b"{", b"\xff", b"[]", b'{"type":"channel_data"}', b'{"type":7}'):
        tape.said(data)
    tape.data("v4_orderbook", {"bids": [["9"], ["a", "b"]]}, "BTC-USD")
    tape.data("v4_orderbook", [1], "BTC-USD")
    tape.data("v4_nope", {}, "x")
    tape.got("historicalFunding:BTC-USD", "historicalFunding/BTC-USD", [7])
    tape.got("fills", f"fills?address={ADDRESS}&subaccountNumber=0", {"fills": [{}]})
    deck = deck_of(tape.recording(tmp_path / "tape"))
    callers = [Caller(deck) for _ in range(5)]
    for caller, wanted in zip(callers, (("v4_orderbook", "BTC-USD"), ("v4_trades", "BTC-USD"), ("v4_markets",),
                                        ("v4_block_height",), ("v4_subaccounts", ACCOUNT)), strict=True):  # fmt: skip
        caller.ask(*wanted)
    deck.player.play()
    assert all(caller.client.drop is None for caller in callers)
    for path in ("perpetualMarkets", "trades/perpetualMarket/BTC-USD", "historicalFunding/BTC-USD", "height"):
        assert get(deck, path)[0] in (200, 400, 503)
    assert get(deck, "fills", address=ADDRESS, subaccountNumber=0)[0] == 503


# REST and accounts -----------------------------------------------------------------------------------------------------


def test_an_account_is_what_its_stream_has_said_by_now(tmp_path: Path) -> None:
    order = {"id": "o1", "status": "OPEN", "side": "BUY", "ticker": "BTC-USD", "totalFilled": "0"}
    position = {"market": "BTC-USD", "status": "OPEN", "side": "LONG", "size": "1"}
    snapshot = {"subaccount": {"address": ADDRESS, "subaccountNumber": 0, "equity": "5", "openPerpetualPositions": {}, "assetPositions": {}},
                "orders": [order], "blockHeight": "1"}  # fmt: skip
    tape = opening()
    first = tape.subscribe("v4_subaccounts", snapshot, ACCOUNT)
    fill = {"id": "f1", "ticker": "BTC-USD", "size": "1", "createdAtHeight": "2", "side": "BUY"}
    news = {"orders": [{"id": "o1", "status": "FILLED"}, {"id": "o2", "status": "OPEN", "side": "SELL", "ticker": "ETH-USD"}],
            "perpetualPositions": [position], "assetPositions": [{"symbol": "USDC", "size": "9", "side": "LONG", "assetId": "0", "positionId": "x"}],
            "fills": [fill], "blockHeight": "2"}  # fmt: skip
    tape.data("v4_subaccounts", news, ACCOUNT)
    tape.data("v4_subaccounts", {"perpetualPositions": [{**position, "status": "CLOSED"}], "blockHeight": "3"}, ACCOUNT)
    tape.got(f"accountFills:{ACCOUNT}:1", f"fills?address={ADDRESS}&subaccountNumber=0&limit=1000",
             {"fills": [{"id": "f1", "market": "BTC-USD", "size": "1", "createdAtHeight": "2", "fee": "0.1"}]})  # fmt: skip
    tape.got(
        f"accountTransfers:{ACCOUNT}",
        f"transfers?address={ADDRESS}&subaccountNumber=0&limit=1000",
        {"transfers": [{"id": "t"}] * 3},
    )
    deck = deck_of(tape.recording(tmp_path / "tape"))
    waiting = Caller(deck)
    waiting.ask("v4_subaccounts", ACCOUNT)
    step(deck, len(tape.frames) - 5)
    assert waiting.heard()[0] == waiting.as_mine(first, 1)
    contents = Caller(deck).ask("v4_subaccounts", ACCOUNT)[0]["contents"]
    assert [each["id"] for each in contents["orders"]] == ["o2"]
    assert contents["subaccount"]["openPerpetualPositions"] == {"BTC-USD": position}
    assert contents["subaccount"]["assetPositions"]["USDC"]["size"] == "9"
    assert contents["subaccount"]["equity"] == "5"
    who = {"address": ADDRESS, "subaccountNumber": 0}
    assert get(deck, "fills", **who)[1] == {
        "fills": [{"id": "f1", "market": "BTC-USD", "size": "1", "createdAtHeight": "2", "side": "BUY"}]
    }
    assert get(deck, "transfers", **who)[0] == 503
    deck.player.play()
    status, answer = get(deck, f"addresses/{ADDRESS}/subaccountNumber/0")
    assert (status, answer["subaccount"]["openPerpetualPositions"]) == (200, {})
    assert [(each["id"], each["status"]) for each in get(deck, "orders", **who)[1]] == [
        ("o2", "OPEN"),
        ("o1", "FILLED"),
    ]
    assert get(deck, "orders", **who, status="OPEN")[1][0]["id"] == "o2"
    assert get(deck, "orders/o1")[1] == {**order, "status": "FILLED"}
    assert get(deck, "fills", **who)[1]["fills"][0]["fee"] == "0.1"
    assert len(get(deck, "transfers", **who, limit=2)[1]["transfers"]) == 2
    assert get(deck, "transfers", address=ADDRESS, subaccountNumber=1)[0] == 503


def test_candles_are_told_newest_first(tmp_path: Path) -> None:
    candles = [
        {"startedAt": f"2025-01-01T00:0{n}:00.000Z", "ticker": "BTC-USD", "resolution": "1MIN", "close": "5"}
        for n in range(3)
    ]
    tape = opening()
    tape.subscribe("v4_candles", {"candles": candles[1::-1]}, "BTC-USD/1MIN")
    changed = candles[1] | {"close": "6"}
    tape.data("v4_candles", changed, "BTC-USD/1MIN")
    tape.data("v4_candles", candles[2], "BTC-USD/1MIN")
    deck = deck_of(tape.recording(tmp_path / "tape"))
    deck.player.play()
    expected = [candles[2], changed, candles[0]]
    assert Caller(deck).ask("v4_candles", "BTC-USD/1MIN")[0]["contents"] == {"candles": expected}
    assert get(deck, "candles/perpetualMarkets/BTC-USD", resolution="1MIN", limit=2)[1] == {"candles": expected[:2]}
    assert get(deck, "candles/perpetualMarkets/BTC-USD", resolution="1DAY")[0] == 503


def test_funding_is_that_settled_by_now(tmp_path: Path) -> None:
    tape = opening()
    hour = TS // NS_PER_S
    rows = [{"ticker": "BTC-USD", "rate": f"0.{n}", "price": "5", "effectiveAtHeight": str(n), "effectiveAt": f"2020-01-0{n}T00:00:00.000Z"}
            for n in (3, 2, 1)]  # fmt: skip
    future = {**rows[0], "effectiveAt": "2999-01-01T00:00:00.000Z"}
    tape.got("historicalFunding:BTC-USD", "historicalFunding/BTC-USD?limit=24", {"historicalFunding": [future, *rows]})
    deck = deck_of(tape.recording(tmp_path / "tape"))
    assert hour > 0
    assert get(deck, "historicalFunding/BTC-USD")[1] == {"historicalFunding": rows}
    assert get(deck, "historicalFunding/BTC-USD", limit=1)[1] == {"historicalFunding": rows[:1]}
    assert get(deck, "historicalFunding/BTC-USD", effectiveBeforeOrAtHeight=1)[1] == {"historicalFunding": rows[2:]}
    assert get(deck, "historicalFunding/ETH-USD")[0] == 503


def test_what_a_recording_cannot_answer_is_refused_in_the_venues_form(tmp_path: Path) -> None:
    deck = deck_of(opening().recording(tmp_path / "tape"))
    deck.player.play()
    assert get(deck, "orderbooks/perpetualMarket/NO-USD") == (
        400,
        {"errors": [{"msg": "ticker must be a valid ticker (BTC-USD, etc)"}]},
    )
    assert get(deck, "perpetualMarkets", limit="x")[0] == 400
    for path in ("orderbooks/perpetualMarket/BTC-USD", "trades/perpetualMarket/BTC-USD", "candles/perpetualMarkets/BTC-USD",
                 "height", "sparklines", "pnl", f"addresses/{ADDRESS}", "compliance/screen"):  # fmt: skip
        assert get(deck, path)[0] == 503
    for path in ("nope", "../../etc/passwd", ""):
        assert get(deck, path)[0] == 404
    assert deck.venues[DYDX].answer(Ask("POST", "/v4/orders", {}, b"", "", ""), 0).status == 404
    assert get(deck, "time")[1]["epoch"] == deck.player.position_ns // 10**6 / 1000
