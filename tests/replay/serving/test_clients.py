"""Clients that were never written for us, against a served recording: the venue's official SDK, and a bare WebSocket."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from hyperliquid.info import Info
from websockets.asyncio.client import connect

from recordings.recording import Recording
from tests.deadlines import HANG_S
from tests.serving import COIN_STREAMS, COINS, Served, serving, synthetic_session
from toolkit.frames import REST_IN, WS_IN

#: What the SDK can subscribe that the tape has, for one coin.
CHANNELS = ("l2Book", "trades", "bbo", "activeAssetCtx")


class Tape(NamedTuple):
    recording: Recording
    user: str

    def payloads(self, channel: str, coin: str = "") -> list[bytes]:
        """Everything received on a channel, of a coin where that is said."""
        start = b'{"channel":"%s","data":' % channel.encode()
        found = []
        for batch in self.recording.raw_frames():
            for frame in batch:
                if frame.kind == WS_IN and frame.payload.startswith(start):
                    data = msgspec.json.decode(frame.payload)["data"]
                    if not coin or (data[0] if isinstance(data, list) else data)["coin"] == coin:
                        found.append(frame.payload)
        return found

    def reply(self, tag: str) -> Any:
        """The recorded reply to a request."""
        for batch in self.recording.raw_frames():
            for frame in batch:
                if frame.kind == REST_IN and json.loads(frame.context or "{}").get("tag") == tag:
                    return msgspec.json.decode(frame.payload)
        raise AssertionError(tag)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    return Tape(*synthetic_session(tmp_path_factory.mktemp("served") / "tape"))


@pytest.fixture
def served(tape: Tape) -> Iterator[Served]:
    with serving(tape.recording) as server:
        yield server


# The official SDK, unmodified, given only a base_url -------------------------------------------------------------------


def test_the_sdk_starts_and_every_question_is_answered_from_the_tape(tape: Tape, served: Served) -> None:
    info = Info(served.url, skip_ws=True)
    assert info.meta() == tape.reply("meta")
    assert info.spot_meta() == tape.reply("spotMeta")
    assert info.name_to_asset("ETH") == 1
    served.play_to_the_end()
    user = tape.user
    book = info.l2_snapshot("BTC")
    last = msgspec.json.decode(tape.payloads("l2Book", "BTC")[-1])["data"]
    best = msgspec.json.decode(tape.payloads("bbo", "BTC")[-1])["data"]
    assert book["time"] == max(last["time"], best["time"])
    assert [side[0] for side in book["levels"]] == best["bbo"]
    mids = info.all_mids()
    prices = [float(level["px"]) for level in best["bbo"]]
    assert float(mids["BTC"]) == sum(prices) / 2
    assert mids.keys() == msgspec.json.decode(tape.payloads("allMids")[-1])["data"]["mids"].keys()
    assert info.funding_history("BTC", 0) == tape.reply("fundingHistory:BTC")
    states = msgspec.json.decode(tape.payloads("allDexsClearinghouseState")[-1])["data"]["clearinghouseStates"]
    assert info.user_state(user) == dict(states)[""]
    spot = msgspec.json.decode(tape.payloads("spotState")[-1])["data"]["spotState"]
    assert info.spot_user_state(user) == spot
    orders = msgspec.json.decode(tape.payloads("openOrders")[-1])["data"]["orders"]
    assert orders
    assert info.frontend_open_orders(user) == orders
    assert [order["oid"] for order in info.open_orders(user)] == [order["oid"] for order in orders]
    fills = [row for text in tape.payloads("userFills") for row in msgspec.json.decode(text)["data"]["fills"]]
    newest_first = info.user_fills(user)
    assert len(newest_first) == len({row["tid"] for row in fills})
    assert newest_first[0]["time"] == max(row["time"] for row in fills)
    assert (
        info.meta_and_asset_ctxs()[1][0]
        == msgspec.json.decode(tape.payloads("activeAssetCtx", "BTC")[-1])["data"]["ctx"]
    )


def test_the_sdk_is_delivered_exactly_what_was_recorded_in_order(tape: Tape, served: Served) -> None:
    info = Info(served.url)
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    wanted: list[dict[str, Any]] = [{"type": kind, "coin": coin} for kind in CHANNELS for coin in COINS]
    wanted += [{"type": "allMids"}, *({"type": kind, "user": tape.user} for kind in ("orderUpdates", "userFills"))]
    try:
        for subscription in wanted:
            info.subscribe(subscription, heard.put)
        served.until(lambda status: status["subscriptions"] == len(wanted))
        served.play_to_the_end()
        expected = {
            **{(kind, coin): tape.payloads(kind, coin) for kind in CHANNELS for coin in COINS},
            **{(kind, ""): tape.payloads(kind) for kind in ("allMids", "orderUpdates", "userFills")},
        }
        assert all(expected.values())
        got: dict[tuple[str, str], list[Any]] = {key: [] for key in expected}
        for _ in range(sum(map(len, expected.values()))):
            message = heard.get(timeout=HANG_S)
            data = message["data"]
            first = data[0] if isinstance(data, list) else data
            coin = first.get("coin", "") if message["channel"] in CHANNELS else ""
            got[message["channel"], coin].append(message)
        assert got == {key: [msgspec.json.decode(text) for text in texts] for key, texts in expected.items()}
        assert heard.empty()
    finally:
        info.disconnect_websocket()


# A bare WebSocket ------------------------------------------------------------------------------------------------------


def test_a_bare_websocket_gets_the_recorded_bytes_in_order(tape: Tape, served: Served) -> None:
    """All streams of the market on one socket: the very bytes, and across streams in the order of the tape."""

    async def main() -> list[bytes]:
        wanted = [{**stream, "coin": coin} for stream in COIN_STREAMS for coin in COINS]
        async with connect(f"ws{served.url.removeprefix('http')}/ws") as client:
            for subscription in wanted:
                await client.send(json.dumps({"method": "subscribe", "subscription": subscription}))
            acks = [json.loads(await client.recv()) for _ in wanted]
            assert {ack["channel"] for ack in acks} == {"subscriptionResponse"}
            await asyncio.to_thread(served.play_to_the_end)
            await client.send('{"method":"ping"}')
            received = []
            async for payload in client:
                assert isinstance(payload, str)
                if payload == '{"channel":"pong"}':
                    break
                received.append(payload.encode())
            return received

    recorded = [
        frame.payload
        for batch in tape.recording.raw_frames()
        for frame in batch
        if frame.kind == WS_IN and msgspec.json.decode(frame.payload)["channel"] in CHANNELS
    ]
    assert asyncio.run(main()) == recorded
    assert len(recorded) > 200
