"""The short way in for whole messages gives what the library's own way gives, however the bytes come."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import DATA_OPCODES, Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from tests.toolkit.live_harness import in_loop
from toolkit.transport.connection import FRAMES_BUFFERED, VenueConnection

LIMIT = 70_000
SIZES = st.sampled_from([0, 1, 2, 125, 126, 127, 300, 65_535, 65_536, LIMIT]) | st.integers(0, 2_000)


class _Wire(asyncio.Transport):
    """The other end of a connection, where what it writes is counted and what it reads is given by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.reads = True
        self.pauses = 0

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """The other end does not mind."""

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False
        self.pauses += 1

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=False)


def _payload(size: int) -> bytes:
    return (b"\xff%d " % size * (size // 2 + 1))[:size]


@st.composite
def _in_fragments(draw: st.DrawFn) -> bytes:
    """A message in fragments, as a rule with a ping in between."""
    sizes = draw(st.lists(st.integers(0, 200) | st.just(LIMIT // 2), min_size=2, max_size=4))
    parts = [
        frame(Opcode.TEXT if not at else Opcode.CONT, _payload(size), fin=at == len(sizes) - 1)
        for at, size in enumerate(sizes)
    ]
    parts.insert(draw(st.integers(1, len(parts))), frame(Opcode.PING, b"in between"))
    return b"".join(parts)


WHOLE = st.builds(frame, st.sampled_from([Opcode.TEXT, Opcode.BINARY]), SIZES.map(_payload))
CONTROL = st.builds(frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.integers(0, 125).map(_payload))
#: After each of these the library has nothing more to say.
LAST = st.sampled_from(
    [
        frame(Opcode.CLOSE, Close(1012, "Service Restart").serialize()),
        frame(Opcode.CLOSE, b""),
        frame(Opcode.CLOSE, b"\x03"),  # half a code
        frame(Opcode.CLOSE, b"\x03\xe8\xff"),  # a reason that is no text
        frame(Opcode.TEXT, b"x" * (LIMIT + 1)),
        frame(Opcode.TEXT, b"x" * LIMIT, fin=False) + frame(Opcode.CONT, b"x"),
        frame(Opcode.TEXT, b"x", fin=False) + frame(Opcode.TEXT, b"y"),
        frame(Opcode.CONT, b"of nothing"),
        b"\x89\x7e\0\x7e" + b"x" * 126,  # a ping that is too long
        b"\x09\x01x",  # a ping in fragments
        Frame(Opcode.TEXT, b"masked").serialize(mask=True),
        b"\xc1\x01x",  # a reserved bit
        b"\x83\x01x",  # a reserved opcode
        b"\x81\xff" + b"\xff" * 8 + b"x",  # masked, and of no length there is
    ]
)
STREAMS = st.tuples(st.lists(WHOLE | CONTROL | _in_fragments(), max_size=8), st.lists(LAST | WHOLE, max_size=3))
CUTS = st.lists(st.integers(0, 200_000), max_size=12)


def library(stream: bytes) -> tuple[list[bytes], Protocol, int]:
    """What the library makes of it: messages, state, and how many bytes it answers."""
    protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=LIMIT)
    protocol.receive_data(stream)
    messages: list[bytes] = []
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.TEXT, Opcode.BINARY):
            messages.append(b"")
        if event.opcode in DATA_OPCODES:
            messages[-1] += bytes(event.data)
    if messages and protocol.current_size is not None:
        messages.pop()  # the rest of it never came
    return messages, protocol, sum(map(len, protocol.data_to_send()))


def opened() -> tuple[VenueConnection, _Wire, bytes]:
    """A connection that has sent its request, its wire, and what a venue answers to it."""
    protocol = ClientProtocol(parse_uri("ws://venue.test/"), max_size=LIMIT)
    connection = VenueConnection(protocol, frame_bytes_max=LIMIT, ping_interval=None)
    wire = _Wire()
    connection.connection_made(wire)
    request = protocol.connect()
    protocol.send_request(request)
    connection.send_data()
    wire.written.clear()
    response = ServerProtocol().accept(Request("/", request.headers))
    return connection, wire, response.serialize()


def pieces(content: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    return [content[a:b] for a, b in itertools.pairwise(places)]


async def received(connection: VenueConnection) -> list[bytes]:
    messages: list[bytes] = []
    try:
        while True:
            turn = await connection.messages()
            assert 0 < len(turn) <= FRAMES_BUFFERED
            messages += turn
    except ConnectionClosed:
        return messages


@settings(deadline=None)
@given(STREAMS, CUTS)
@in_loop
async def test_it_is_what_the_library_makes_of_the_same_bytes(
    frames: tuple[list[bytes], list[bytes]], cuts: list[int]
) -> None:
    """Messages, pongs, and how it ends: for every order of frames, allowed or not, and every way to cut the stream."""
    stream = b"".join(itertools.chain(*frames))
    expected, protocol, answered = library(stream)
    connection, wire, answer = opened()
    for piece in pieces(answer + stream, cuts):
        connection.data_received(piece)
    assert len(wire.written) == answered
    assert connection.protocol.close_sent == protocol.close_sent
    assert connection.protocol.close_rcvd == protocol.close_rcvd
    connection.connection_lost(None)
    assert await received(connection) == expected


@in_loop
async def test_a_stream_byte_by_byte_is_the_same() -> None:
    """Headers of every length, each cut in every place."""
    sent = [_payload(size) for size in (0, 1, 125, 126, 300, 65_536)]
    connection, _, answer = opened()
    for byte in answer + b"".join(frame(Opcode.TEXT, payload) for payload in sent):
        connection.data_received(bytes((byte,)))
    connection.connection_lost(None)
    assert await received(connection) == sent


@in_loop
async def test_what_is_over_the_limit_is_refused_by_its_header() -> None:
    """Before its bytes have come."""
    connection, _, answer = opened()
    connection.data_received(answer + frame(Opcode.TEXT, b"small") + frame(Opcode.TEXT, b"x" * (LIMIT + 1))[:10])
    assert connection.protocol.close_sent is not None
    assert connection.protocol.close_sent.code == 1009
    connection.connection_lost(None)
    assert await received(connection) == [b"small"]


@in_loop
async def test_reading_pauses_until_the_reader_has_caught_up() -> None:
    """One read of the socket may bring more than fits; a second one on top of it has to wait."""
    connection, wire, answer = opened()
    many = frame(Opcode.TEXT, b"x") * (2 * FRAMES_BUFFERED)
    connection.data_received(answer + many)
    assert wire.reads
    connection.data_received(many)
    assert not wire.reads
    sizes = []
    while not wire.reads:
        sizes.append(len(await connection.messages()))
    assert sizes == [FRAMES_BUFFERED] * 4
    assert wire.pauses == 1


@in_loop
async def test_a_reader_that_has_more_to_read_lets_others_have_their_turn() -> None:
    """A burst of tiny messages must not hold up the loop for all of them."""
    connection, _, answer = opened()
    connection.data_received(answer + frame(Opcode.TEXT, b"x") * (3 * FRAMES_BUFFERED))
    turns: list[str] = []

    async def read() -> None:
        for _ in range(3):
            await connection.messages()
            turns.append("reader")

    async def other() -> None:
        for _ in range(2):
            turns.append("other")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        group.create_task(other())
    assert turns == ["other", "reader", "other", "reader", "reader"]


@in_loop
async def test_cancelling_a_wait_loses_nothing() -> None:
    """The next call has what came meanwhile."""
    connection, _, answer = opened()
    connection.data_received(answer)
    waiting = asyncio.get_running_loop().create_task(connection.messages())
    await asyncio.sleep(0)
    connection.data_received(frame(Opcode.TEXT, b"first"))
    waiting.cancel()
    await asyncio.wait({waiting})
    connection.data_received(frame(Opcode.TEXT, b"second"))
    connection.connection_lost(None)
    assert await received(connection) == [b"first", b"second"]
