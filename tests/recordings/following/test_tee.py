"""The tee over real sockets: what a client gets, who is turned away, and that a recorder never waits for anybody."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recordings.following.tee import CLIENTS_MAX, Batch, Ring, Tee, TeeOptions
from recordings.following.tee_client import TeeConnection
from recordings.following.tee_wire import (
    CODE_ENDED,
    CODE_GONE,
    CODE_SLOW,
    CODE_SPOKE,
    TEE_FILE,
    BatchDecoder,
    decode_hello,
    read_tee_file,
)
from recordings.format.manifest import SourceInfo
from recordings.format.rows_to_messages import frames as frames_of
from recordings.format.schema import FORMAT_VERSION
from tests.deadlines import HANG_S
from tests.hand_recorder import HandRecorder
from tests.tapes import TS
from toolkit.errors import ConfigError, ConnectFailed, ProtocolError
from toolkit.frames import Frame
from toolkit.transport.websocket import Closed
from toolkit.venues.hyperliquid.protocol import HyperliquidProtocol

STARTED = TS + 5


@contextlib.asynccontextmanager
async def teed(folder: Path, **options: Any) -> AsyncIterator[tuple[HandRecorder, Tee]]:
    """A recorder driven by hand, and its tee."""
    async with contextlib.AsyncExitStack() as stack:
        made: list[Tee] = []

        def on_written(first_seq: int, last_seq: int, content: bytes) -> None:
            made[0].written(first_seq, last_seq, content)

        recorder = HandRecorder(folder, on_written)
        tee = Tee(folder, recorder.manifest, TeeOptions(**options), started_ns=STARTED, next_seq=0)
        made.append(await stack.enter_async_context(tee))
        stack.callback(recorder.journal.close)
        yield recorder, tee


async def settled(tee: Tee, next_seq: int) -> None:
    """Until the tee has what the journal's thread has written."""
    while tee._ring.next_seq < next_seq:  # noqa: ASYNC110  # it is the loop's turn that brings it
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(HANG_S):
            await test()

    asyncio.run(main())


async def collect(client: TeeConnection, until_seq: int) -> list[Frame]:
    found: list[Frame] = []
    while not found or found[-1].capture_seq < until_seq:
        batch = await client.receive()
        assert not isinstance(batch, Closed), batch
        found += batch
    return found


# -- the ring -------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 40))), st.integers(0, 3), st.integers(0, 100))
def test_a_ring_holds_the_newest_batches_and_finds_every_frame_of_them(
    sizes: list[tuple[int, int]], first: int, limit: int
) -> None:
    ring, all_batches, seq = Ring(limit, first), [], first
    for count, size in sizes:
        all_batches.append(Batch(seq, seq + count - 1, b"x" * size))
        seq += count
        ring.add(all_batches[-1])
    held = [ring.at(position) for position in range(ring.begin, ring.end)]
    assert held == all_batches[len(all_batches) - len(held) :]
    assert ring.byte_count == sum(len(batch.content) for batch in held)
    assert ring.byte_count <= limit or len(held) == 1
    assert (ring.first_seq, ring.next_seq) == (held[0].first_seq if held else first, seq)
    for wanted in range(first + seq + 3):
        place = ring.find(wanted)
        if wanted >= seq:
            assert place == ring.end
        elif wanted < ring.first_seq:
            assert place is None
        else:
            assert place is not None
            assert ring.at(place).first_seq <= wanted <= ring.at(place).last_seq


# -- what a client gets ---------------------------------------------------------------------------------------------


def test_a_client_gets_every_frame_from_the_one_it_asked_for_on(tmp_path: Path) -> None:
    """Payloads that are no text too, over a rotation, what was written before it came and what is written after."""

    async def test() -> None:
        async with teed(tmp_path / "tape") as (recorder, tee):
            recorder.write(3)
            recorder.write(3)
            await settled(tee, 6)
            client = await TeeConnection.open(tee.url, 4)
            live = await TeeConnection.open(tee.url)
            recorder.rotate()
            recorder.write(4)
            found = await collect(client, 9)
            assert found == recorder.frames[3:]
            assert any(frame.payload.startswith(b"\xff") for frame in found)
            assert await collect(live, 9) == recorder.frames[6:]
            client.drop()
            live.drop()

    run(test)


def test_the_hello_says_which_recording_and_session_and_how_far_it_is(tmp_path: Path) -> None:
    async def test() -> None:
        async with teed(tmp_path / "tape") as (recorder, tee):
            recorder.write(3)
            await settled(tee, 3)
            async with connect(tee.url) as socket:
                hello = decode_hello((await socket.recv()).encode())  # type: ignore[union-attr]  # a text message
            assert (hello.created_ns, hello.started_ns, hello.software) == (TS, STARTED, "by hand")
            assert (hello.begin_seq, hello.first_seq, hello.next_seq) == (3, 0, 3)
            assert hello.sources == [SourceInfo("hyperliquid", HyperliquidProtocol.version, ("BTC-USD",))]
            file = read_tee_file(tmp_path / "tape")
            assert file is not None
            assert (file.url, file.created_ns, file.started_ns) == (tee.url, TS, STARTED)
        assert not (tmp_path / "tape" / TEE_FILE).exists()

    run(test)


def test_the_binary_messages_in_a_row_are_an_arrow_stream(tmp_path: Path) -> None:
    """Anybody's Arrow reads it, without code of ours."""

    async def test() -> None:
        async with teed(tmp_path / "tape") as (recorder, tee):
            async with connect(f"{tee.url}?from=0") as socket:
                assert isinstance(await socket.recv(), str)
                parts = [await socket.recv()]
                for _ in range(2):
                    recorder.write(3)
                    recorder.rotate()
                    parts.append(await socket.recv())
            table = pa.ipc.open_stream(b"".join(parts)).read_all()  # type: ignore[arg-type]  # binary messages
            assert [each for batch in table.to_batches() for each in frames_of(batch)] == recorder.frames

    run(test)


def test_a_frame_that_is_still_to_come_is_waited_for(tmp_path: Path) -> None:
    """The folder may be read faster than the loop is told of what was written."""

    async def test() -> None:
        async with teed(tmp_path / "tape") as (recorder, tee):
            client = await TeeConnection.open(tee.url, 4)
            for _ in range(3):
                recorder.write(2)
            assert [frame.capture_seq for frame in await collect(client, 5)] == [4, 5]
            client.drop()

    run(test)


def test_what_the_ring_holds_no_longer_is_refused_with_what_it_does(tmp_path: Path) -> None:
    async def test() -> None:
        async with teed(tmp_path / "tape", ring_bytes=1) as (recorder, tee):
            recorder.write(3)
            recorder.write(3)
            await settled(tee, 6)
            client = await TeeConnection.open(tee.url, 2)
            assert (client.hello.begin_seq, client.hello.first_seq, client.hello.next_seq) == (None, 3, 6)
            end = await client.receive()
            assert end == Closed(CODE_GONE, "frame 2 is held no longer, 3 and later are; read the folder up to it", "")

    run(test)


def test_the_end_comes_after_the_last_frame(tmp_path: Path) -> None:
    async def test() -> None:
        async with teed(tmp_path / "tape") as (recorder, tee):
            client = await TeeConnection.open(tee.url, 0)
            recorder.write(5)
            recorder.end()
        assert await collect(client, 4) == recorder.frames
        assert await client.receive() == Closed(CODE_ENDED, "the recording has ended", "")

    run(test)


def test_a_failure_is_no_end_of_the_recording(tmp_path: Path) -> None:
    async def test() -> None:
        stack = contextlib.AsyncExitStack()
        _, tee = await stack.enter_async_context(teed(tmp_path / "tape"))
        client = await TeeConnection.open(tee.url, 0)
        failure = ZeroDivisionError("a strategy")
        await stack.__aexit__(type(failure), failure, None)
        assert await client.receive() == Closed(1001, "the recorder has stopped: ZeroDivisionError", "")

    run(test)


# -- who is turned away ---------------------------------------------------------------------------------------------


async def refusal(url: str, **options: Any) -> int:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, **options):
            pass
    return caught.value.response.status_code


def test_who_asks_wrongly_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async def test() -> None:
        async with teed(tmp_path / "tape") as (_, tee):
            assert await refusal(tee.url, origin="https://evil.example") == 403
            for asked in ("?from=", "?from=-1", "?from=x", "?from=1&from=2", "?from=%D9%A3", f"?from={10**30}"):
                assert await refusal(tee.url + asked) == 400, asked
            assert await refusal(tee.url.replace("/tee", "/other")) == 404
            async with aiohttp.ClientSession() as session, session.get(tee.url.replace("ws:", "http:")) as answer:
                assert (answer.status, await answer.text()) == (426, "a WebSocket is served at /tee?from=FRAME\n")
            async with connect(tee.url, origin="http://localhost:3000"):  # type: ignore[arg-type]  # a str is one
                pass

    run(test)


def test_on_a_network_it_answers_to_the_names_that_it_was_told(tmp_path: Path) -> None:
    """And says that it is open; on loopback there is nothing to say."""

    async def test() -> None:
        async with teed(tmp_path / "here") as (_, tee):
            assert tee.warning is None
        async with teed(tmp_path / "tape", host="0.0.0.0", allowed_hosts=["recorder"]) as (_, tee):
            assert tee.warning is not None
            assert "open to the network" in tee.warning
            assert tee.url.startswith("ws://127.0.0.1:")
            for name in ("recorder", "localhost", "127.0.0.1"):
                async with connect(tee.url.replace("127.0.0.1", name), host="127.0.0.1"):
                    pass
            assert await refusal(tee.url.replace("127.0.0.1", "evil.example"), host="127.0.0.1") == 403

    run(test)


def test_there_is_a_limit_to_clients(tmp_path: Path) -> None:
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            _, tee = await stack.enter_async_context(teed(tmp_path / "tape"))
            for _ in range(CLIENTS_MAX):
                await stack.enter_async_context(connect(tee.url))
            assert await refusal(tee.url) == 503

    run(test)


async def _code(socket: ClientConnection) -> tuple[int, str]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await socket.recv()
    return socket.close_code or 0, socket.close_reason or ""


def test_who_speaks_is_shown_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with teed(tmp_path / "tape") as (recorder, tee):
            for said, code in (("hello", CODE_SPOKE), (b"\0" * 100, CODE_SPOKE), (b"\0" * 5000, 1009)):
                async with connect(tee.url) as socket:
                    await socket.send(said)
                    assert (await _code(socket))[0] == code
            client = await TeeConnection.open(tee.url, 0)
            recorder.write(3)
            assert await collect(client, 2) == recorder.frames
            client.drop()

    run(test)


def test_a_client_that_does_not_read_is_cut_off_with_a_reason_and_the_others_miss_nothing(tmp_path: Path) -> None:
    """The recorder writes far more than the ring and all buffers hold, and never waits."""

    async def test() -> None:
        async with teed(tmp_path / "tape", ring_bytes=400_000) as (recorder, tee):
            lazy = await connect(f"{tee.url}?from=0", max_queue=1)
            assert isinstance(await lazy.recv(), str)
            keen = await TeeConnection.open(tee.url, 0)
            found: list[Frame] = []
            while not tee.cut_count:
                recorder.write(2000)
                found += await collect(keen, recorder.frames[-1].capture_seq)
                assert tee._ring.byte_count <= 500_000
            assert found == recorder.frames
            code, reason = await _code(lazy)
            assert code == CODE_SLOW
            assert reason.startswith("too slow: frames up to ")
            assert tee.client_count == 1
            keen.drop()

    run(test)


def test_half_open_and_broken_connections_disturb_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        async with teed(tmp_path / "tape") as (recorder, tee):
            port = tee._server.port
            writers = []
            for start in (
                b"",
                b"GET /tee HT",
                b"\x16\x03\x01" * 50,
                b"GET /tee HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            ):
                for _ in range(5):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(start)
                    writers.append(writer)
            client = await TeeConnection.open(tee.url, 0)
            for _ in range(5):
                recorder.write(3)
            assert await collect(client, 14) == recorder.frames
            client.drop()
            for writer in writers:
                writer.close()

    run(test)


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    async def test() -> None:
        async with teed(tmp_path / "one") as (_, tee):
            with pytest.raises(
                ConfigError, match=r"^the tee cannot be served on port \d+ of 127.0.0.1: .*; name another$"
            ):
                async with teed(tmp_path / "two", port=tee._server.port):
                    pass
            assert not (tmp_path / "two" / TEE_FILE).exists()

    run(test)


# -- what is no tee -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"hello", "no tee of a recorder answers there ("),
        (
            b'{"tee":"other","created_ns":1,"started_ns":1,"first_seq":0,"next_seq":0}',
            "no tee of a recorder answers there, but",
        ),
        (
            b'{"tee":"tickdeck-tee","version":9,"created_ns":1,"started_ns":1,"first_seq":0,"next_seq":0}',
            (
                f"the recorder speaks version 9 of the tee and format {FORMAT_VERSION}, "
                f"expected at most 1 and {FORMAT_VERSION}: upgrade tickdeck"
            ),
        ),
    ],
)
def test_a_hello_of_something_else_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_hello(text)
    assert str(caught.value).startswith(message)


@given(st.binary(max_size=200))
def test_garbage_is_no_batch(content: bytes) -> None:
    """Our error and nothing else."""
    decoder = BatchDecoder()
    with pytest.raises(ProtocolError, match=r"^the tee sends other columns than this format has: upgrade tickdeck$"):
        decoder.decode(b"\0" + content)


@settings(deadline=None)
@given(st.data())
def test_a_batch_with_any_byte_changed_is_the_same_or_refused(data: st.DataObject) -> None:
    schema, content = _batch()
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    decoder = BatchDecoder()
    decoder.decode(schema)
    with contextlib.suppress(ProtocolError):
        assert decoder.decode(bytes(changed)) == _FRAMES


_FRAMES: list[Frame] = []


def _batch() -> tuple[bytes, bytes]:
    from recordings.format.frames_to_rows import STREAM_BEGIN, batch_checksum, frames_to_batch
    from tests.hand_recorder import frame

    _FRAMES[:] = [frame(number) for number in range(4)]
    batch = frames_to_batch(_FRAMES)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch, custom_metadata={b"crc32": b"%d" % batch_checksum(batch), b"batch": b"0"})
    content = sink.getvalue().to_pybytes()
    assert content.startswith(STREAM_BEGIN)
    return STREAM_BEGIN, content[len(STREAM_BEGIN) : -8]


def test_nobody_there_is_said(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(ConnectFailed, match=r"nothing listens there"):
            await TeeConnection.open("ws://127.0.0.1:9/tee")
        with pytest.raises(ConfigError, match=r"is no URL of that kind"):
            await TeeConnection.open("http://127.0.0.1:9/tee")

    run(test)


def test_a_file_that_cannot_be_read_leads_nowhere(tmp_path: Path) -> None:
    assert read_tee_file(tmp_path) is None
    for content in (b"", b"[]", json.dumps({"url": 5}).encode(), msgspec.json.encode({"url": "ws://x"})):
        (tmp_path / TEE_FILE).write_bytes(content)
        assert read_tee_file(tmp_path) is None
