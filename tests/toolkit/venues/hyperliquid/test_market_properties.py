"""Hyperliquid's protocol on anything at all, and cut anywhere."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.messages_to_rows import TableBuilders
from recordings.states.normalizer import Normalizer
from tests.tapes import SECOND, VENUE, Feed, bbo_frame, book_frame, import_files, trade
from tests.toolkit.venues.hyperliquid_session import REPLIES, ack, feed_of, send
from toolkit.frames import CONTROL, REST_IN, WS_IN, Frame, control_payload
from toolkit.messages import EventKind, Message, StreamEvent
from toolkit.protocol import ProtocolOptions, VenueProtocol
from toolkit.venue import find_venue
from toolkit.venues.hyperliquid.market import ITEM

MS = 1_785_000_000_000


def make(options: ProtocolOptions) -> VenueProtocol:
    return find_venue(VENUE).make_protocol(options)


# -- garbage -------------------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["BTC", "nan", "inf", "-1", "1e400", "B", "A", "0x0", "#7510", "xyz:SP500"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
CHANNELS = ["l2Book", "bbo", "trades", "activeAssetCtx", "activeSpotAssetCtx", "subscriptionResponse", "pong", "error"]
GOOD: dict[str, Any] = {
    "l2Book": book_frame("BTC", MS, [(10.0, 1.0), (9.0, 1.0)], [(11.0, 1.0)], fast=True)["data"],
    "bbo": bbo_frame("BTC", MS, (10.0, 1.0), (11.0, 1.0))["data"],
    "trades": [trade("BTC", 5, MS)],
    "activeAssetCtx": {"coin": "BTC", "ctx": {"markPx": "5.0", "impactPxs": ["1", "2"], "funding": "0.1"}},
    "activeSpotAssetCtx": {"coin": "@107", "ctx": {"markPx": "5.0", "circulatingSupply": "6"}},
    "subscriptionResponse": {"method": "subscribe", "subscription": {"type": "bbo", "coin": "BTC"}},
    "error": "Already subscribed: {}",
}
TAGS = [
    *REPLIES, "l2Book:BTC", "fundingHistory:BTC", "metaAndAssetCtxs:BTC", "spotMetaAndAssetCtxs:@107", "unheard of"
]  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, value: Any) -> Any:
    """A good value in which one place was replaced by something else."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: draw(spoilt(value[key]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(spoilt(value[place])), *value[place + 1 :]]
    return draw(VALUES)


FRAMES = st.one_of(
    st.tuples(st.just(WS_IN), st.binary(max_size=40), st.none()),
    st.tuples(st.just(WS_IN), VALUES.map(msgspec.json.encode), st.none()),
    st.tuples(
        st.just(WS_IN),
        st.sampled_from(CHANNELS).flatmap(
            lambda name: spoilt(GOOD.get(name)).map(lambda data: msgspec.json.encode({"channel": name, "data": data}))
        ),
        st.none(),
    ),
    st.tuples(
        st.just(REST_IN),
        st.sampled_from([*REPLIES]).flatmap(lambda tag: spoilt(REPLIES[tag])).map(msgspec.json.encode),
        st.sampled_from(TAGS).map(lambda tag: msgspec.json.encode({"tag": tag, "status": 200}).decode()),
    ),
    st.tuples(
        st.just(REST_IN),
        st.binary(max_size=9),
        st.sampled_from(TAGS).map(lambda tag: msgspec.json.encode({"tag": tag, "status": 200}).decode()),
    ),
)


@pytest.fixture(scope="module")
def running() -> bytes:
    """Checkpoint of a protocol in the middle of a session."""
    feed = feed_of("BTC-USD", "@107")
    feed.control("connected", role="main")
    for subscription in send(feed)[:3]:
        ack(feed, subscription)
    feed.text({"channel": "trades", "data": [trade("BTC", 1, MS - 5)]})
    feed.text(bbo_frame("BTC", MS - 5, (9.0, 1.0), None))
    return feed.protocol.checkpoint()


@given(st.lists(FRAMES, max_size=4))
def test_nothing_that_arrives_raises_and_what_is_not_understood_changes_nothing(
    running: bytes, frames: Sequence[tuple[str, bytes, str | None]]
) -> None:
    """One event for a whole frame, a state as before; and whatever was understood can be written down and kept in a checkpoint."""
    protocol = make(ProtocolOptions(pairs=("BTC-USD", "@107")))
    protocol.restore(running)
    normalizer = Normalizer({VENUE: protocol})
    builders = TableBuilders(Path())
    for seq, (kind, payload, context) in enumerate(frames):
        before = protocol.checkpoint()
        frame = Frame(seq, MS * 1_000_000, seq, VENUE, 0, 0, kind, payload, context)
        messages = normalizer.messages(frame)
        assert [message.sub_seq for message in messages] == _row_numbers(messages)
        if any(
            isinstance(each, StreamEvent) and each.kind is EventKind.PARSE_ERROR and each.cause != ITEM
            for each in messages
        ):
            assert len(messages) == 1
            assert protocol.checkpoint() == before
        make(protocol.options).restore(protocol.checkpoint())
        for message in messages:
            # NaN would not equal its replay.
            assert not any(isinstance(each, float) and isnan(each) for each in msgspec.structs.astuple(message))
            builders.add(message)
            normalizer.take(message)
        frames_to_batch([frame])
    builders.flush()


def _row_numbers(messages: Sequence[Message]) -> list[int]:
    numbers, number = [], 0
    for message in messages:
        numbers.append(number)
        number += message.row_count
    return numbers


@given(st.binary(max_size=60), st.sampled_from([WS_IN, CONTROL]))
def test_text_of_any_bytes_gives_at_most_one_event(payload: bytes, kind: str) -> None:
    messages = make(ProtocolOptions()).receive(Frame(0, MS, 0, VENUE, 0, 0, kind, payload))
    assert len(messages) <= 1


# -- checkpoints ---------------------------------------------------------------------------------------------------


def later_messages(frames: Sequence[Frame], options: ProtocolOptions, cut: int) -> tuple[list[Message], list[Message]]:
    """Of the frames from `cut` on: what a protocol says that saw all, and one restored from a checkpoint there."""
    whole, restored = make(options), make(options)
    for frame in frames[:cut]:
        whole.receive(frame)
    restored.restore(whole.checkpoint())
    assert restored.checkpoint() == whole.checkpoint()
    return (
        [message for frame in frames[cut:] for message in whole.receive(frame)],
        [message for frame in frames[cut:] for message in restored.receive(frame)],
    )


def bad_session() -> list[Frame]:
    """Subscribes, answers, history, silence, two strikes against a coin, metadata read again, garbage, an end."""
    feed = feed_of("BTC-USD", "@107", "PURR-USDC", channels=("fast", "bbo", "trades", "agg:2"))
    feed.control("connected", 0, role="main")
    feed.control("connected", 1, role="agg:2")
    for subscription in send(feed)[:-3]:
        ack(feed, subscription)
    feed.text(book_frame("BTC", MS, [(10.0, 1.0)], [(11.0, 1.0)], fast=True))
    feed.text(book_frame("BTC", MS, [(10.0, 1.0)], spread="1"), conn_id=1)
    feed.channel("trades", [trade("BTC", 1, MS), trade("BTC", 2, MS)])
    feed.text(b"{")
    feed.control("stale", symbol="BTC", stream="fast", cause="silence")
    for _ in range(2):
        feed.now += SECOND // 10
        feed.control("disconnected", 0, code=1006, cause="disconnect")
        feed.control("connected", 0, role="main")
        for subscription in send(feed)[:-1]:
            ack(feed, subscription)
        send(feed)
    feed.text(book_frame("BTC", MS - 1, [(10.0, 1.0)], [(11.0, 1.0)], fast=True))
    feed.channel("trades", [trade("BTC", 2, MS), trade("BTC", 3, MS), trade("NEW", 1, MS)])
    feed.rest("fundingHistory:BTC", [{"coin": "BTC", "fundingRate": "0.1", "time": MS}])
    feed.rest("meta", {"universe": [*REPLIES["meta"]["universe"], {"name": "NEW", "szDecimals": 1}]})
    feed.control("session_end", -1, cause="stop")
    feed.control("connected", 2, role="main")
    send(feed, 2)
    feed.channel("trades", [trade("BTC", 3, MS), trade("NEW", 1, MS)], conn_id=2)
    feed.rest("fundingHistory:BTC", [{"coin": "BTC", "fundingRate": "0.1", "time": MS}])
    feed.text(bbo_frame("@107", MS, (10.0, 1.0)), conn_id=2)
    return feed.frames


def test_a_protocol_restored_anywhere_in_a_bad_session_says_the_same() -> None:
    frames = bad_session()
    options = ProtocolOptions(pairs=("BTC-USD", "@107", "PURR-USDC"), channels=("fast", "bbo", "trades", "agg:2"))
    for cut in range(len(frames) + 1):
        expected, found = later_messages(frames, options, cut)
        assert found == expected
    assert {message.capture_seq for message in expected} <= {len(frames)}


def test_a_protocol_restored_anywhere_in_a_real_capture_says_the_same(shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "hyperliquid" / "ws_btc_20250126.gz").read_bytes()
    recording = import_files(tmp_path / "tape", gzip.decompress(lines))
    frames = [frame for batch in recording.raw_frames() for frame in batch]
    assert len(frames) == 55
    for cut in range(0, len(frames) + 1, 3):
        expected, found = later_messages(frames, ProtocolOptions(), cut)
        assert found == expected
        assert expected or cut > 52


def test_what_a_protocol_says_does_not_depend_on_whether_it_is_asked_for_requests() -> None:
    """A replay asks for none."""
    frames = bad_session()
    options = ProtocolOptions(pairs=("BTC-USD", "@107", "PURR-USDC"), channels=("fast", "bbo", "trades", "agg:2"))
    asked, silent = make(options), make(options)
    asked.bootstrap()
    for frame in frames:
        said = asked.receive(frame)
        asked.requests()
        asked.due(frame.ts_mono)
        assert silent.receive(frame) == said
    assert asked.checkpoint() == silent.checkpoint()


def test_an_unknown_event_of_the_recorder_is_a_parse_error() -> None:
    protocol = make(ProtocolOptions())
    frame = Frame(0, MS, 0, VENUE, -1, 0, CONTROL, control_payload("nonsense"))
    assert [getattr(each, "kind", None) for each in protocol.receive(frame)] == [EventKind.PARSE_ERROR]
    assert Feed(protocol).control("notice")[0].kind is EventKind.NOTICE
