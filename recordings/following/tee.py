"""
The tee of a recorder: clients on this machine receive its frames while it records.

A frame is given away once the operating system has it, in the bytes that were written: a follower of a recording can
never be ahead of what a crash leaves of it, and nothing is encoded a second time. The newest batches are kept in a ring
of bounded size. Every client reads from the ring at its own pace; one that the ring has left behind is cut off, and gets a message that says
why, and can go on from the folder. No client is ever waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple
from urllib.parse import parse_qs

import msgspec

from recordings.following.tee_wire import (
    CODE_ENDED,
    CODE_FAILED,
    CODE_GONE,
    CODE_SLOW,
    CODE_SPOKE,
    TEE_PATH,
    TeeFile,
    TeeHello,
    remove_tee_file,
    write_tee_file,
)
from recordings.format.frames_to_rows import STREAM_BEGIN
from recordings.format.manifest import Manifest
from toolkit.errors import ConfigError
from toolkit.transport.hosts import open_to_network
from toolkit.transport.server import LoopbackServer, Peer, RestRequest, RestResponse

__all__ = ["RING_BYTES", "Batch", "Ring", "Tee", "TeeOptions"]

#: Bytes of batches that are held for clients.
RING_BYTES: Final = 32 << 20
#: Batches handed to a client's socket beyond the one that is being written.
AHEAD: Final = 2
CLIENTS_MAX: Final = 16
#: How long a client that is cut off may take to read that it was; and all of them, the rest at the end.
GRACE_S: Final = 5.0
END_S: Final = 2.0
#: A client has nothing to say.
FRAME_BYTES_MAX: Final = 1024
_SEQ_DIGITS: Final = 18
#: Of a close frame, RFC 6455.
_REASON_BYTES: Final = 123


@dataclass(frozen=True, slots=True, kw_only=True)
class TeeOptions:
    """
    How a recording can be followed.

    Attributes:
        port: 0 picks a free one.
        host: Address to listen on; anything but loopback is for those who know why.
        allowed_hosts: Further names that clients may reach it by.
        ring_bytes: Bytes of written frames that are held for clients.
    """

    port: int = 0
    host: str = "127.0.0.1"
    allowed_hosts: Collection[str] = ()
    ring_bytes: int = RING_BYTES


class Batch(NamedTuple):
    """Frames as they were written, and the numbers of the first and the last."""

    first_seq: int
    last_seq: int
    content: bytes


class Ring:
    """
    The newest batches, at most so many bytes of them (and always the newest one).

    Args:
        bytes_max: Most bytes of contents.
        next_seq: Number of the frame that the first batch will begin with.

    Attributes:
        next_seq: Number of the frame that the next batch will begin with.
        begin: Position of the oldest batch that is held; positions count from 0.
        end: Position that the next batch will have.
        byte_count: Bytes held.
    """

    def __init__(self, bytes_max: int, next_seq: int) -> None:
        self._bytes_max = bytes_max
        self._batches: dict[int, Batch] = {}
        self.next_seq = next_seq
        self.begin = self.end = 0
        self.byte_count = 0

    @property
    def first_seq(self) -> int:
        """First frame that is held; `next_seq` if none is."""
        return self._batches[self.begin].first_seq if self.begin < self.end else self.next_seq

    def add(self, batch: Batch) -> None:
        """Take the newest batch, and drop the oldest ones."""
        self._batches[self.end] = batch
        self.end += 1
        self.next_seq = batch.last_seq + 1
        self.byte_count += len(batch.content)
        while self.byte_count > self._bytes_max and self.end - self.begin > 1:
            self.byte_count -= len(self._batches.pop(self.begin).content)
            self.begin += 1

    def at(self, position: int) -> Batch:
        """The batch at a position from `begin` to `end`."""
        return self._batches[position]

    def find(self, seq: int) -> int | None:
        """Position of the batch with that frame, `end` for one that is still to come; None if it is not held any more."""
        if seq >= self.next_seq:
            return self.end
        low, high = self.begin, self.end
        while low < high:
            middle = (low + high) // 2
            if self._batches[middle].last_seq < seq:
                low = middle + 1
            else:
                high = middle
        return low if low < self.end and self._batches[low].first_seq <= seq else None


class Tee:
    """
    Serves what a recorder writes, within an `async with` block, and says where in the folder.

    Args:
        folder: The recording.
        manifest: Manifest as it is when the session begins.
        options: Where it listens, and how much it holds.
        started_ns: When the session begins.
        next_seq: Number of its first frame.

    Attributes:
        cut_count: Clients that were cut off because they were too slow.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, options: TeeOptions, *, started_ns: int, next_seq: int
    ) -> None:
        self._folder = folder
        self._options = options
        self._hello = TeeHello(
            software=manifest.software,
            created_ns=manifest.created_ns,
            started_ns=started_ns,
            format_version=manifest.format_version,
            sources=manifest.sources,
            flush_interval_s=manifest.flush_interval_s,
            first_seq=next_seq,
            next_seq=next_seq,
        )
        self._ring = Ring(options.ring_bytes, next_seq)
        #: Position in the ring that each client reads next.
        self._places: dict[Peer, int] = {}
        #: Clients that wait for a frame that is still to come, and for which.
        self._awaited: dict[Peer, int] = {}
        self._end: tuple[int, str] | None = None
        self._empty = asyncio.Event()
        self.cut_count = 0
        self._server = LoopbackServer(
            self,
            host=options.host,
            port=options.port,
            ws_paths=(TEE_PATH,),
            frame_bytes_max=FRAME_BYTES_MAX,
            body_bytes_max=FRAME_BYTES_MAX,
            # What waits for a client is bounded here, by `AHEAD`; the contents are the ring's own.
            queue_frames_max=2 * AHEAD + 4,
            queue_bytes_max=1 << 40,
            connections_max=CLIENTS_MAX,
            allowed_hosts=options.allowed_hosts,
            on_sent=self._on_sent,
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Tee:
        self._loop = asyncio.get_running_loop()
        try:
            await self._server.__aenter__()
        except OSError as exc:
            where = f"port {self._options.port} of {self._options.host}"
            raise ConfigError(f"the tee cannot be served on {where}: {exc.strerror or exc}; name another") from None
        try:
            write_tee_file(self._folder, TeeFile(self.url, self._hello.created_ns, self._hello.started_ns, os.getpid()))
        except BaseException:
            await self._server.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send what is left to those who read it, and say why it is over."""
        with contextlib.suppress(OSError):  # a folder that cannot be written has been reported by then
            remove_tee_file(self._folder)
        await asyncio.sleep(0)  # what the journal's thread has reported comes with the loop's next turn
        failed = f"the recorder has stopped: {type(error).__name__}" if error is not None else ""
        self._end = (CODE_FAILED, failed) if failed else (CODE_ENDED, "the recording has ended")
        for peer in list(self._places):
            self._feed(peer)
        if self._server.peers:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._empty.wait()
        await self._server.__aexit__(kind, error, traceback)

    @property
    def url(self) -> str:
        """Where clients of this machine connect."""
        return f"{self._server.ws_base_url}{TEE_PATH}"

    @property
    def warning(self) -> str | None:
        """What to say where other machines reach it."""
        return open_to_network("the tee", self._options.host, self._server.hosts)

    @property
    def client_count(self) -> int:
        """Clients that are being served."""
        return len(self._places)

    # -- what the journal has ----------------------------------------------------------------------------------

    def written(self, first_seq: int, last_seq: int, content: bytes) -> None:
        """The journal has these frames. May be called in any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: there is no one left to notify
                self._loop.call_soon_threadsafe(self.add, Batch(first_seq, last_seq, content))

    def add(self, batch: Batch) -> None:
        """Give a batch to everybody who is ready for it."""
        ring = self._ring
        ring.add(batch)
        for peer in list(self._places):
            if self._places[peer] < ring.begin:
                self._cut(peer)
            else:
                self._feed(peer)

    def _feed(self, peer: Peer) -> None:
        """Hand on as much as the client's socket takes soon; the rest waits in the ring."""
        place = self._places.get(peer)
        if place is None:
            return
        ring = self._ring
        while place < ring.end and peer.backlog < AHEAD:
            batch = ring.at(place)
            place += 1
            if batch.last_seq < self._awaited.get(peer, 0):
                continue
            self._awaited.pop(peer, None)
            peer.send(batch.content, binary=True)
        self._places[peer] = place
        if place == ring.end and self._end is not None:
            self._dismiss(peer, *self._end)

    def _cut(self, peer: Peer) -> None:
        self.cut_count += 1
        missing = self._ring.first_seq - 1
        self._dismiss(
            peer, CODE_SLOW, f"too slow: frames up to {missing} are held no longer; read them from the folder"
        )
        # A client that reads again learns why; one that does not must not keep a connection for ever.
        if self._loop is not None:
            self._loop.call_later(GRACE_S, peer.abort)

    def _dismiss(self, peer: Peer, code: int, reason: str) -> None:
        self._places.pop(peer, None)
        self._awaited.pop(peer, None)
        peer.close(code, reason[:_REASON_BYTES])

    # -- what the server asks ----------------------------------------------------------------------------------

    def connected(self, peer: Peer) -> RestResponse | None:
        """A client asks for the frames from a number on."""
        begin_seq = self._ring.next_seq
        asked = parse_qs(peer.query, keep_blank_values=True).get("from")
        if asked is not None:
            text = asked[0]
            if len(asked) != 1 or not (text.isascii() and text.isdigit()) or len(text) > _SEQ_DIGITS:
                return RestResponse(
                    status=400, body=b"from: expected the number of a frame\n", content_type="text/plain"
                )
            begin_seq = int(text)
        place = self._ring.find(begin_seq)
        hello = msgspec.structs.replace(
            self._hello,
            begin_seq=begin_seq if place is not None else None,
            first_seq=self._ring.first_seq,
            next_seq=self._ring.next_seq,
        )
        peer.send(msgspec.json.encode(hello))
        if place is None:
            reason = f"frame {begin_seq} is held no longer, {hello.first_seq} and later are; read the folder up to it"
            self._dismiss(peer, CODE_GONE, reason)
            return None
        peer.send(STREAM_BEGIN, binary=True)
        self._places[peer] = place
        if begin_seq > self._ring.next_seq:
            self._awaited[peer] = begin_seq
        return None

    def _on_sent(self, peer: Peer, payload: bytes, binary: bool) -> None:
        """There is room again: the message has left the queue for the socket."""
        if self._loop is not None and peer in self._places:
            self._loop.call_soon(self._feed, peer)

    def received(self, peer: Peer, payload: str | bytes) -> None:
        """A client spoke, which none of ours does."""
        self._dismiss(peer, CODE_SPOKE, "a tee only sends: nothing is expected of a client")

    def disconnected(self, peer: Peer, code: int | None) -> None:
        """Forget a client."""
        self._places.pop(peer, None)
        self._awaited.pop(peer, None)
        if not self._server.peers:
            self._empty.set()

    async def request(self, request: RestRequest) -> RestResponse:
        """Tell a browser what this is."""
        text = f"a WebSocket is served at {TEE_PATH}?from=FRAME\n".encode()
        return RestResponse(status=426 if request.path == TEE_PATH else 404, body=text, content_type="text/plain")
