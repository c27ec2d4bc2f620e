"""What a recording says as Hyperliquid: routes, first frames, accounts, REST, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from replay.serving.deck import Deck
from replay.serving.face import Ask, Drop
from tests.frame_tapes import Script, Visitor, ask, deck_of, step
from tests.tapes import TS, book_frame, collector_line, import_files, trade

USER = "0x" + "ab" * 20
OTHER = "0x" + "cd" * 20
META = {"universe": [{"szDecimals": 5, "name": "BTC", "maxLeverage": 40}, {"szDecimals": 1, "name": "ETH"}]}
SPOT_META = {"universe": [{"tokens": [1, 0], "name": "@107", "index": 107}], "tokens": [{"name": "USDC", "index": 0}]}


def opening() -> Script:
    """A session that has read the listing and is about to subscribe."""
    script = Script()
    script.control("session_start", -1)
    script.rest("spotMeta", "/info", {"type": "spotMeta"}, SPOT_META)
    script.rest("meta", "/info", {"type": "meta"}, META)
    return script


def played(script: Script, tmp_path: Path, **options: Any) -> Deck:
    deck = deck_of(script.recording(tmp_path / "tape"), **options)
    deck.player.play()
    return deck


def fill(tid: int, time: int, sz: str = "1.0") -> dict[str, Any]:
    return {"coin": "BTC", "px": "5.0", "sz": sz, "side": "B", "time": time, "startPosition": "0.0", "dir": "Open Long",
            "closedPnl": "0.0", "hash": "0x0", "oid": 7, "crossed": True, "fee": "0.1", "tid": tid, "feeToken": "USDC"}  # fmt: skip


# Subscriptions ---------------------------------------------------------------------------------------------------------


def test_acknowledgement_then_the_last_frame_of_that_very_stream(tmp_path: Path) -> None:
    """Of three forms of a book each has its own last word, and the bytes are the recorded ones."""
    script = opening()
    script.subscribed(0, type="l2Book", coin="BTC")
    script.subscribed(1, type="l2Book", coin="BTC", fast=True)
    script.subscribed(2, type="l2Book", coin="BTC", nSigFigs=3)
    plain = script.said(book_frame("BTC", 1, [(9.0, 1.0)], [(11.0, 1.0)]), 0)
    fast = script.said(book_frame("BTC", 2, [(9.5, 1.0)], [(10.5, 1.0)], fast=True), 1)
    rounded = script.said(book_frame("BTC", 3, [(8.0, 1.0)], [(12.0, 1.0)], spread="4.0"), 2)
    deck = played(script, tmp_path)
    for wanted, expected in (({}, plain), ({"fast": True}, fast), ({"nSigFigs": 3}, rounded)):
        visitor = Visitor(deck)
        deck.receive(
            visitor.client,
            msgspec.json.encode(
                {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC", **wanted}}
            ).decode(),
            0,
        )
        ack, first = visitor.client.take()
        fields = {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False, **wanted}
        assert msgspec.json.decode(ack) == {
            "channel": "subscriptionResponse",
            "data": {"method": "subscribe", "subscription": fields},
        }
        assert first == expected


def test_only_its_own_frames_reach_a_subscription(tmp_path: Path) -> None:
    script = opening()
    script.subscribed(0, type="l2Book", coin="BTC")
    script.subscribed(0, type="l2Book", coin="ETH")
    script.subscribed(0, type="trades", coin="BTC")
    script.subscribed(1, type="l2Book", coin="BTC", fast=True)
    wanted = script.said(book_frame("BTC", 1))
    script.said(book_frame("ETH", 1))
    script.said({"channel": "trades", "data": [trade("BTC", 1, 1)]})
    script.said(book_frame("BTC", 2, fast=True), 1)
    script.said({"channel": "pong"})
    script.said({"channel": "error", "data": "Already subscribed: {}"})
    script.said(b"Websocket connection established.")
    script.said(b"\xff\xfe")
    deck = deck_of(script.recording(tmp_path / "tape"))
    visitor = Visitor(deck)
    visitor.subscribe("l2Book", coin="BTC")
    deck.player.play()
    assert visitor.heard() == [wanted]


def test_frames_written_with_spaces_are_told_as_well(tmp_path: Path) -> None:
    """A capture that went through somebody's JSON writer."""
    texts = [
        b'{"channel": "bbo", "data": {"coin": "BTC", "time": 1, "bbo": [null, null]}}',
        b'{"data": {"coin": "BTC", "ctx": {"markPx": "5.0"}}, "channel": "activeAssetCtx"}',
        b'{"channel": "l2Book", "data": {"coin": "BTC", "time": 1, "levels": [[], []], "fast": true}}',
        b'{"channel": "trades", "data": [ {"coin": "BTC", "tid": 1, "px": "1", "sz": "1", "side": "B", "time": 1} ]}',
        b'{"channel": "candle", "data": {"s": "BTC", "i": "1m", "t": 1}}',
        b'{"channel": "allMids", "data": {"mids": {"BTC": "5.0"}}}',
    ]
    deck = deck_of(import_files(tmp_path / "tape", b"".join(collector_line(TS + n, t) for n, t in enumerate(texts))))
    visitor = Visitor(deck)
    for kind in ("bbo", "activeAssetCtx", "trades"):
        visitor.subscribe(kind, coin="BTC")
    visitor.subscribe("l2Book", coin="BTC", fast=True)
    visitor.subscribe("candle", coin="BTC", interval="1m")
    visitor.subscribe("allMids")
    deck.player.play()
    assert visitor.heard() == texts


def test_spot_contexts_come_on_their_own_channel(tmp_path: Path) -> None:
    script = opening()
    spot = script.said({"channel": "activeSpotAssetCtx", "data": {"coin": "@107", "ctx": {"markPx": "5.0"}}})
    deck = played(script, tmp_path)
    assert Visitor(deck).subscribe("activeAssetCtx", coin="@107")[1] == msgspec.json.decode(spot)


def test_the_first_trades_are_history(tmp_path: Path) -> None:
    """The newest thirty, oldest first, each as it was recorded."""
    script = opening()
    rows = [trade("BTC", number, number) for number in range(50)]
    for number in range(0, 50, 2):
        script.said({"channel": "trades", "data": rows[number : number + 2]})
    deck = played(script, tmp_path)
    _, first = Visitor(deck).subscribe("trades", coin="BTC")
    assert first == {"channel": "trades", "data": rows[-30:]}


def test_what_the_tape_does_not_have_is_refused(tmp_path: Path) -> None:
    """It would be silent for ever; the connection stays."""
    script = opening()
    script.subscribed(0, type="bbo", coin="BTC")
    visitor = Visitor(played(script, tmp_path))
    assert visitor.subscribe("bbo", coin="ETH") == [
        {"channel": "error", "data": 'Invalid subscription {"type":"bbo","coin":"ETH"}'}
    ]
    assert len(visitor.subscribe("bbo", coin="BTC")) == 1
    assert visitor.client.drop is None


def test_an_unknown_coin_ends_the_connection_without_a_word(tmp_path: Path) -> None:
    visitor = Visitor(played(opening(), tmp_path))
    assert visitor.subscribe("bbo", coin="NOPE") == []
    assert visitor.client.drop == Drop()


def test_pings_errors_and_posts(tmp_path: Path) -> None:
    visitor = Visitor(played(opening(), tmp_path))
    assert visitor.say({"method": "ping"}) == [{"channel": "pong"}]
    assert visitor.say("junk") == [
        {"channel": "error", "data": "Error parsing JSON into valid websocket request: junk"}
    ]
    post = {"method": "post", "id": 3, "request": {"type": "info", "payload": {"type": "meta"}}}
    (answer,) = visitor.say(post)
    assert answer["data"] == {"id": 3, "response": {"type": "info", "payload": {"type": "meta", "data": META}}}
    (answer,) = visitor.say({**post, "request": {"type": "info", "payload": {"type": "l2Book", "coin": "BTC"}}})
    assert answer["data"]["response"] == {
        "type": "error",
        "payload": "the recording holds no book of BTC up to this point",
    }


# Accounts --------------------------------------------------------------------------------------------------------------


def account(script: Script, user: str = USER, conn_id: int = 2) -> None:
    for kind in ("orderUpdates", "userEvents", "userFills"):
        script.subscribed(conn_id, type=kind, user=user)


def test_frames_that_name_no_account_go_to_the_account_of_their_connection(tmp_path: Path) -> None:
    script = opening()
    account(script)
    account(script, OTHER, 3)
    update = script.said({"channel": "orderUpdates", "data": [{"order": {"oid": 1}, "status": "open"}]}, 2)
    event = script.said({"channel": "user", "data": {"fills": []}}, 2)
    script.said({"channel": "orderUpdates", "data": [{"order": {"oid": 2}, "status": "open"}]}, 3)
    deck = deck_of(script.recording(tmp_path / "tape", accounts=(USER, OTHER)))
    visitor = Visitor(deck)
    visitor.subscribe("orderUpdates", user=USER.upper().replace("0X", "0x"))
    visitor.subscribe("userEvents", user=USER)
    deck.player.play()
    assert visitor.heard() == [update, event]


def test_a_list_begins_with_a_snapshot_of_all_so_far(tmp_path: Path) -> None:
    """Newest first, each row once, though it came in a snapshot and as news."""
    script = opening()
    account(script)
    old, new, newest = fill(1, 10), fill(2, 20), fill(3, 30)
    snapshot = {"user": USER, "fills": [new, old], "isSnapshot": True}
    recorded = script.said({"channel": "userFills", "data": snapshot}, 2)
    script.said({"channel": "userFills", "data": {"user": USER, "fills": [new, newest]}}, 2)
    late = fill(0, 5)
    script.said({"channel": "userFills", "data": {"user": USER, "fills": [late]}}, 2)
    deck = deck_of(script.recording(tmp_path / "tape"))
    early = Visitor(deck)
    assert len(early.subscribe("userFills", user=USER)) == 1
    deck.player.play()
    assert early.heard()[0] == recorded
    _, first = Visitor(deck).subscribe("userFills", user=USER)
    assert first["data"] == {"user": USER, "fills": [newest, new, old, late], "isSnapshot": True}
    assert ask(deck, "userFills", user=USER) == (200, [newest, new, old, late])
    assert ask(deck, "userFillsByTime", user=USER, startTime=20, endTime=29) == (200, [new])


def test_orders_and_money_are_those_of_the_present(tmp_path: Path) -> None:
    script = opening()
    account(script)
    order = {"coin": "BTC", "side": "B", "limitPx": "1.0", "sz": "1.0", "oid": 5, "timestamp": 1, "origSz": "1.0",
             "reduceOnly": False, "cloid": None, "orderType": "Limit", "tif": "Gtc"}  # fmt: skip
    later = {**order, "oid": 6, "reduceOnly": True}
    script.rest("frontendOpenOrders:x:", "/info", {"type": "frontendOpenOrders", "user": USER}, [order])
    script.rest("historicalOrders:x:", "/info", {"type": "historicalOrders", "user": USER},
                [{"order": order, "status": "open", "statusTimestamp": 1}])  # fmt: skip
    asked = len(script.frames)
    script.said({"channel": "openOrders", "data": {"dex": "", "user": USER, "orders": [later]}}, 2)
    filled = {"order": {"coin": "BTC", "oid": 5, "sz": "0.0"}, "status": "filled", "statusTimestamp": 9}
    script.said({"channel": "orderUpdates", "data": [filled]}, 2)
    states = [["", {"withdrawable": "1.0"}], ["xyz", {"withdrawable": "2.0"}]]
    script.said({"channel": "allDexsClearinghouseState", "data": {"user": USER, "clearinghouseStates": states}}, 2)
    script.said({"channel": "spotState", "data": {"user": USER, "spotState": {"balances": []}}}, 2)
    deck = deck_of(script.recording(tmp_path / "tape"))
    step(deck, asked)
    assert ask(deck, "frontendOpenOrders", user=USER, dex="") == (200, [order])
    assert ask(deck, "clearinghouseState", user=USER)[0] == 503
    deck.player.play()
    assert ask(deck, "frontendOpenOrders", user=USER, dex="") == (200, [later])
    assert ask(deck, "openOrders", user=USER) == (
        200,
        [{name: later[name] for name in ("coin", "side", "limitPx", "sz", "oid", "timestamp", "origSz", "reduceOnly")}],
    )
    assert ask(deck, "clearinghouseState", user=USER, dex="") == (200, {"withdrawable": "1.0"})
    assert ask(deck, "clearinghouseState", user=USER, dex="xyz") == (200, {"withdrawable": "2.0"})
    assert ask(deck, "spotClearinghouseState", user=USER) == (200, {"balances": []})
    assert ask(deck, "historicalOrders", user=USER)[1][0] == filled
    assert ask(deck, "orderStatus", user=USER, oid=5) == (200, {"status": "order", "order": filled})
    status, text = ask(deck, "orderStatus", user=USER, oid=99)
    assert (status, text.startswith("the recording says nothing for")) == (503, True)
    assert ask(deck, "userFills", user=OTHER)[0] == 503
    assert ask(deck, "userFills", user="0x12")[0] == 422


# REST ------------------------------------------------------------------------------------------------------------------


def test_the_listing_is_known_before_the_tape_begins_and_prices_are_not(tmp_path: Path) -> None:
    script = opening()
    script.said(book_frame("BTC", 1, [(9.0, 1.0)], [(11.0, 1.0)]))
    deck = deck_of(script.recording(tmp_path / "tape"))
    assert deck.venues["hyperliquid"].synthesized == []
    assert ask(deck, "meta") == (200, META)
    assert ask(deck, "spotMeta") == (200, SPOT_META)
    assert ask(deck, "allMids") == (503, "the recording holds no prices up to this point")
    assert ask(deck, "l2Book", coin="BTC")[0] == 503
    deck.player.play()
    assert ask(deck, "allMids") == (200, {"BTC": "10.0"})
    assert ask(deck, "l2Book", coin="BTC")[0] == 200


def test_a_newer_form_of_the_book_wins_where_it_speaks(tmp_path: Path) -> None:
    script = opening()
    full = [(float(price), 1.0) for price in range(10, 2, -1)], [(float(price), 1.0) for price in range(11, 19)]
    script.said(book_frame("BTC", 1, *full))
    fast = [(float(price), 2.0) for price in (9, 8, 7, 6, 5)], [(float(price), 2.0) for price in (12, 13, 14, 15, 16)]
    script.said(book_frame("BTC", 2, *fast, fast=True), 1)
    script.said(
        {"channel": "bbo", "data": {"coin": "BTC", "time": 3, "bbo": [{"px": "8.0", "sz": "7.0", "n": 1}, None]}}, 1
    )
    status, book = ask(played(script, tmp_path), "l2Book", coin="BTC")
    assert (status, book["time"]) == (200, 3)
    bids, asks = ([(level["px"], level["sz"]) for level in side] for side in book["levels"])
    assert bids == [("8.0", "7.0"), ("7.0", "2.0"), ("6.0", "2.0"), ("5.0", "2.0"), ("4.0", "1.0"), ("3.0", "1.0")]
    assert asks == []


def test_a_newer_whole_book_leaves_nothing_of_an_older_form(tmp_path: Path) -> None:
    script = opening()
    script.said(book_frame("BTC", 1, [(9.5, 2.0)] * 5, [(10.5, 2.0)] * 5, fast=True), 1)
    script.said(book_frame("BTC", 2, [(9.0, 1.0)], [(11.0, 1.0)]))
    _, book = ask(played(script, tmp_path), "l2Book", coin="BTC")
    assert [[level["px"] for level in side] for side in book["levels"]] == [["9.0"], ["11.0"]]


def test_recent_trades_come_newest_first(tmp_path: Path) -> None:
    script = opening()
    rows = [trade("BTC", number, number) for number in range(12)]
    script.said({"channel": "trades", "data": rows})
    deck = played(script, tmp_path)
    assert ask(deck, "recentTrades", coin="BTC") == (200, rows[:1:-1])
    assert ask(deck, "recentTrades", coin="ETH")[0] == 503
    assert ask(deck, "recentTrades", coin="NOPE") == (500, None)


def test_settled_funding_ends_at_the_present(tmp_path: Path) -> None:
    """Replies that began at different times are one history."""
    now_ms = TS // 1_000_000
    rows = [
        {"coin": "BTC", "fundingRate": "0.1", "premium": "0.0", "time": now_ms + offset} for offset in (-20, -10, 50)
    ]
    script = opening()
    for part in (rows[:1], rows[1:2]):
        script.rest("fundingHistory:BTC", "/info", {"type": "fundingHistory", "coin": "BTC", "startTime": 1}, part)
    for number in range(60):
        script.said(book_frame("BTC", number))
    script.rest("fundingHistory:BTC", "/info", {"type": "fundingHistory", "coin": "BTC", "startTime": 2}, rows[2:])
    deck = deck_of(script.recording(tmp_path / "tape"))
    assert ask(deck, "fundingHistory", coin="BTC", startTime=0) == (200, rows[:2])
    deck.player.play()
    assert ask(deck, "fundingHistory", coin="BTC", startTime=0) == (200, rows)
    assert ask(deck, "fundingHistory", coin="BTC", startTime=now_ms - 10, endTime=now_ms) == (200, rows[1:2])
    assert ask(deck, "fundingHistory", coin="ETH", startTime=0)[0] == 503


def candle_tape(times_s: list[tuple[float, str]], *, lost_at: int | None = None) -> Script:
    """A frame of trades per time (seconds after a full hour) and price, the connection lost and made again before one."""
    hour = 1_785_000_000_000 // 3_600_000 * 3_600_000
    script = opening()
    script.subscribed(0, type="trades", coin="BTC")
    for number, (second, price) in enumerate(times_s):
        if number == lost_at:
            script.control("disconnected", 0, role="main", code=1006)
            script.control("connected", 0, role="main", url="")
            script.subscribed(0, type="trades", coin="BTC")
        row = {**trade("BTC", number, hour + round(second * 1000)), "px": price, "sz": "0.5"}
        script.said({"channel": "trades", "data": [row, row]})
    return script


def candles(deck: Deck, interval: str) -> list[tuple[Any, ...]]:
    """Minute of the hour, open, high, low, close, volume and number of trades."""
    request = {"coin": "BTC", "interval": interval, "startTime": 0}
    status, found = ask(deck, "candleSnapshot", req=request)
    if status != 200:
        return []
    return [(each["t"] // 60_000 % 60, *(each[name] for name in ("o", "h", "l", "c", "v", "n"))) for each in found]


def test_candles_are_made_of_whole_minutes_of_trades(tmp_path: Path) -> None:
    """Not of the minute in which the tape began; a trade that comes twice counts once."""
    script = candle_tape([(30, "5.0"), (60, "6.0"), (75, "10.0"), (119, "7.0"), (180, "8.0"), (360, "9.0")])
    deck = played(script, tmp_path)
    assert candles(deck, "1m") == [
        (1, "6.0", "10.0", "6.0", "7.0", "1.5", 3),
        (3, "8.0", "8.0", "8.0", "8.0", "0.5", 1),
        (6, "9.0", "9.0", "9.0", "9.0", "0.5", 1),
    ]
    assert candles(deck, "3m") == [(3, "8.0", "8.0", "8.0", "8.0", "0.5", 1), (6, "9.0", "9.0", "9.0", "9.0", "0.5", 1)]
    assert ask(deck, "candleSnapshot", req={"coin": "BTC", "interval": "7m", "startTime": 0})[0] == 422
    assert ask(deck, "candleSnapshot", req={"coin": "ETH", "interval": "1m", "startTime": 0})[0] == 503


def test_no_candle_is_made_of_minutes_that_a_lost_connection_cut_into(tmp_path: Path) -> None:
    script = candle_tape([(0, "1.0"), (60, "2.0"), (130, "3.0"), (250, "4.0"), (310, "5.0")], lost_at=3)
    assert [row[0] for row in candles(played(script, tmp_path, hides_disconnects=True), "1m")] == [1, 5]


def test_recorded_candles_are_given_as_they_were(tmp_path: Path) -> None:
    script = opening()
    script.subscribed(0, type="candle", coin="BTC", interval="1h")
    rows = [{"t": time, "T": time + 3_599_999, "s": "BTC", "i": "1h", "o": "1.0", "c": close, "h": "1.0", "l": "1.0",
             "v": "1.0", "n": 1} for time, close in ((0, "1.0"), (0, "2.0"), (3_600_000, "3.0"))]  # fmt: skip
    for row in rows:
        script.said({"channel": "candle", "data": row})
    request = {"coin": "BTC", "interval": "1h", "startTime": 0, "endTime": 3_600_000}
    assert ask(played(script, tmp_path), "candleSnapshot", req=request) == (200, rows[1:])


def test_contexts_take_their_place_beside_the_listing(tmp_path: Path) -> None:
    """A coin of which the tape says nothing has a context in which nothing is known, and no zeros."""
    script = opening()
    script.said({"channel": "activeAssetCtx", "data": {"coin": "ETH", "ctx": {"markPx": "5.0"}}})
    status, (meta, contexts) = ask(played(script, tmp_path), "metaAndAssetCtxs")
    assert (status, meta) == (200, META)
    assert set(contexts[0].values()) == {None}
    assert contexts[1] == {"markPx": "5.0"}


def test_a_recorded_reply_answers_the_very_same_question(tmp_path: Path) -> None:
    script = opening()
    script.rest(f"userRole:{USER}", "/info", {"type": "userRole", "user": USER}, {"role": "user"})
    deck = deck_of(script.recording(tmp_path / "tape"))
    # Its own clients ask before the tape begins, as the recorder had.
    assert ask(deck, "userRole", user=USER) == (200, {"role": "user"})
    deck.player.play()
    assert ask(deck, "userRole", user=USER.upper().replace("0X", "0x")) == (200, {"role": "user"})
    assert ask(deck, "userRole", user=OTHER) == (
        503,
        f'the recording holds no reply to {{"type":"userRole","user":"{OTHER}"}} up to this point',
    )
    assert ask(deck, "somethingElse") == (422, "Failed to deserialize the JSON body into the target type")


@pytest.mark.parametrize(
    ("ask_", "status"),
    [
        (Ask("GET", "/info", {}, b"", "", ""), 405),
        (Ask("POST", "/info", {}, b"{", "application/json", ""), 400),
        (Ask("POST", "/info", {}, b"[" * 100_000, "application/json", ""), 400),
        (Ask("POST", "/info", {}, b"[]", "application/json", ""), 422),
        (Ask("POST", "/info", {}, b"{}", "text/plain", ""), 415),
        (Ask("GET", "/../../etc/passwd", {}, b"", "", ""), 404),
        (Ask("POST", "/info/../info", {}, b"{}", "application/json", ""), 404),
    ],
)
def test_what_is_no_question_has_the_venues_status(tmp_path: Path, ask_: Ask, status: int) -> None:
    assert played(opening(), tmp_path).venues["hyperliquid"].answer(ask_, 0).status == status


def test_no_order_is_taken(tmp_path: Path) -> None:
    reply = played(opening(), tmp_path).venues["hyperliquid"].answer(Ask("POST", "/exchange", {}, b"{}", "", ""), 0)
    assert msgspec.json.decode(reply.body) == {"status": "err", "response": "This is a recording: it takes no orders"}


def test_a_tape_without_a_listing_lists_its_coins_and_says_so(tmp_path: Path) -> None:
    """With the decimals that their sizes show, and nothing else that nobody knows."""
    trades = [{"channel": "trades", "data": [{**trade(coin, 1, 1), "sz": sz}]} for coin, sz in
              (("BTC", "0.00036"), ("@107", "1.50"), ("xyz:SP500", "2"))]  # fmt: skip
    deck = deck_of(
        import_files(tmp_path / "tape", b"".join(collector_line(TS + n, each) for n, each in enumerate(trades)))
    )
    assert [line.partition(":")[0] for line in deck.venues["hyperliquid"].synthesized] == ["meta", "spotMeta"]
    assert ask(deck, "meta")[1]["universe"] == [{"szDecimals": 5, "name": "BTC"}]
    assert ask(deck, "meta", dex="xyz")[1]["universe"] == [{"szDecimals": 0, "name": "xyz:SP500"}]
    assert ask(deck, "meta", dex="abc") == (500, None)
    assert ask(deck, "perpDexs") == (200, [None, {"name": "xyz"}])
    (spot,) = ask(deck, "spotMeta")[1]["universe"]
    assert (spot["name"], spot["index"]) == ("@107", 107)


# Limits ----------------------------------------------------------------------------------------------------------------


def test_a_connection_that_talks_too_much_is_ended(tmp_path: Path) -> None:
    visitor = Visitor(played(opening(), tmp_path))
    for _ in range(2000):
        visitor.say({"method": "ping"})
    assert visitor.client.drop is None
    visitor.say({"method": "ping"})
    assert visitor.client.drop == Drop(1008, "too many messages")


def test_a_long_request_is_not_quoted_back(tmp_path: Path) -> None:
    visitor = Visitor(played(opening(), tmp_path))
    assert visitor.say("x" * 1_000_000) == [{"channel": "error", "data": "a request of 1,000,000 characters"}]


def test_accounts_of_a_connection_are_limited(tmp_path: Path) -> None:
    script = opening()
    users = [f"0x{number:040x}" for number in range(16)]
    for number, user in enumerate(users):
        script.subscribed(number, type="userFills", user=user)
    visitor = Visitor(played(script, tmp_path))
    for user in users[:15]:
        assert len(visitor.subscribe("userFills", user=user)) == 1
    assert visitor.subscribe("userFills", user=users[15]) == [
        {"channel": "error", "data": "Cannot track more than 15 total users."}
    ]
