"""The live source against the embedded venue: a real protocol, a synthetic market, faults on demand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from replay.embedded import EmbeddedVenue
from tests.toolkit.live_harness import Tape, in_loop
from toolkit.clock import SystemClock
from toolkit.errors import SymbolError
from toolkit.frames import WS_IN
from toolkit.live import LiveDataSource
from toolkit.live.capture import Capture
from toolkit.messages import Message
from toolkit.protocol import ProtocolOptions, VenueProtocol
from toolkit.venue import find_venue


def protocol_for(*pairs: str) -> VenueProtocol:
    return find_venue("hyperliquid").make_protocol(ProtocolOptions(pairs=pairs))


def source_for(venue: EmbeddedVenue, protocol: VenueProtocol, tape: Tape, **options: Any) -> LiveDataSource:
    options = {"backoff_seed": 1, "backoff_s_max": 0.02, "capture": Capture(sink=tape), **options}
    limits = find_venue("hyperliquid").limits
    return LiveDataSource(protocol, ws_url=venue.ws_url, rest_url=venue.rest_url, limits=limits, **options)


@in_loop
async def test_every_message_the_venue_sent_is_received_once_and_in_order() -> None:
    """Per connection, byte for byte, across dropped and closed connections."""
    tape = Tape()
    async with EmbeddedVenue(seed=3, clock=SystemClock(), keep_sent=True) as venue:
        async with source_for(venue, protocol_for("BTC-USD", "ETH-USD"), tape):
            await tape.until_received(40)
            venue.drop_connections()
            await tape.until_control("connected", 4)
            await tape.until_received(len(tape.payloads()) + 40)
            venue.close_connections(1012, "deploy")
            await tape.until_control("connected", 6)
            await tape.until_received(len(tape.payloads()) + 40)
        sent = list(venue.sent)
    assert [frame.capture_seq for frame in tape.frames] == list(range(len(tape.frames)))
    received: dict[tuple[int, int], list[bytes]] = {}
    for frame in tape.frames:
        if frame.kind == WS_IN:
            received.setdefault((frame.conn_id, frame.conn_epoch), []).append(frame.payload)
    assert len(received) == 6
    sent_by_connection = [
        [message.payload for message in messages]
        for _, messages in itertools.groupby(
            sorted(sent, key=lambda each: each.connection), key=lambda each: each.connection
        )
    ]
    for payloads in received.values():
        # What a dropped connection had under way is lost with it, so a connection's messages are a beginning.
        assert any(each[: len(payloads)] == payloads for each in sent_by_connection)
    assert [details["code"] for details in tape.controls("disconnected")][:4] == [1006, 1006, 1012, 1012]


@in_loop
async def test_replaying_the_frames_gives_the_same_messages() -> None:
    """Through a fresh protocol, with nothing but what was recorded: live equals replay."""
    tape = Tape()
    live: list[Message] = []
    async with EmbeddedVenue(seed=4, clock=SystemClock()) as venue:
        source = source_for(venue, protocol_for("BTC-USD", "SOL-USD"), tape)
        source.set_message_callback(live.append)
        async with source:
            await tape.until_received(30)
            venue.send_raw(b"\xff\xfe no text")
            venue.send_raw(b'{"channel":"l2Book","data":')
            venue.drop_connections()
            await tape.until_control("connected", 4)
            await tape.until_received(len(tape.payloads()) + 30)
            await source.get_snapshot("BTC-USD")
    protocol = protocol_for("BTC-USD", "SOL-USD")
    protocol.bootstrap()
    replayed = [message for frame in tape.frames for message in protocol.receive(frame)]
    assert replayed == live
    assert len(live) > 60


@in_loop
async def test_an_unknown_pair_is_found_before_anything_is_connected() -> None:
    """It would close the whole socket without a word."""
    tape = Tape()
    async with EmbeddedVenue(seed=5, clock=SystemClock()) as venue:
        source = source_for(venue, protocol_for("BTC-USD", "NOPE-USD"), tape)
        with pytest.raises(SymbolError):
            await source.initialize()
    assert set(tape.story) == {"rest_out", "rest_in"}


@in_loop
async def test_rest_failures_during_the_start_are_outlasted() -> None:
    """Each answer is on record."""
    tape = Tape()
    async with EmbeddedVenue(seed=6, clock=SystemClock()) as venue:
        venue.fail_rest(2, 500)
        async with source_for(venue, protocol_for("BTC-USD"), tape):
            await tape.until_received(5)
    assert tape.story[:8] == ["rest_out", "rest_in"] * 4
    assert tape.frames[1].context is not None
    assert '"status":500' in tape.frames[1].context
