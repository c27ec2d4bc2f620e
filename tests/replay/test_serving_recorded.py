"""
A recording of a served recording, and one of that: what is the same in all of them, strictly.

The tape is played frame by frame, each once the recorder has taken the one before, so that not even the order across
connections is left to chance. What must be equal:

- every payload that the venue sent, byte for byte, in order over all connections, and the role of its connection;
  acknowledgements and pongs excepted, which answer a recorder and not the market;
- every message made of these, in order, and the books after each, by their digest; receive times, numbers of frames and
  of connections excepted, which are the recorder's own;
- every message made of REST replies, as a set: when a reply arrives is chance in the original too.

The recorder's wall clock runs in the time of the tape: the funding of the last day is that of the tape's day.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from recordings.normalize import Normalizer
from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from recordings.recording import Recording
from recordings.verifying import verify
from replay.serving.deck import DeckOptions
from replay.serving.server import ServerOptions, TapeServer
from tests.frame_tapes import sealed
from tests.serving import synthetic_session
from toolkit.clock import SystemClock
from toolkit.digest import DigestChain
from toolkit.frames import CONTROL, WS_IN, WS_OUT, Frame
from toolkit.messages import Message, StreamEvent
from toolkit.protocol import ProtocolOptions
from toolkit.tracker import OrderBookTracker
from toolkit.venue import find_venue

PAIRS = ("BTC-USD", "ETH-USD")
CHANNELS = ("full", "bbo", "trades", "funding")
_ANSWERS = (b'{"channel":"subscriptionResponse"', b'{"channel":"pong"')


class ClockOfThen(SystemClock):
    """The machine's clock, set back to a time."""

    def __init__(self, then_ns: int) -> None:
        super().__init__()
        self._behind_ns = self.time_ns() - then_ns

    def time_ns(self) -> int:
        return super().time_ns() - getattr(self, "_behind_ns", 0)


class Told(NamedTuple):
    """What a recording says, without what is the recorder's own."""

    payloads: list[tuple[str, bytes]]
    messages: list[Message]
    digest: str
    replies: Counter[bytes]


def told(recording: Recording) -> Told:
    payloads: list[tuple[str, bytes]] = []
    messages: list[Message] = []
    replies: Counter[bytes] = Counter()
    roles: dict[int, str] = {}
    normalizer = Normalizer.for_sources(recording.manifest.sources)
    tracker, chain = OrderBookTracker(checked=True), DigestChain()
    for batch in recording.raw_frames():
        for frame in batch:
            if frame.kind == CONTROL:
                details = msgspec.json.decode(frame.payload)
                roles[frame.conn_id] = details.get("role", "") or roles.get(frame.conn_id, "")
            made = [plain(each) for each in normalizer.messages(frame) if not isinstance(each, StreamEvent)]
            if frame.kind == WS_IN and not frame.payload.startswith(_ANSWERS):
                payloads.append((roles[frame.conn_id], frame.payload))
                for message in made:
                    messages.append(message)
                    chain.update(message, tracker.apply(message))
            else:
                replies.update(msgspec.json.encode([type(each).__name__, each]) for each in made)
    return Told(payloads, messages, chain.hexdigest(), replies)


def plain(message: Message) -> Message:
    return msgspec.structs.replace(message, ts_recv=0, capture_seq=0, sub_seq=0)


async def record_of(recording: Recording, folder: Path, user: str) -> Recording:
    """Serve a recording, and record it with the live code."""
    options = ServerOptions(start="told")
    async with (
        asyncio.timeout(60),
        TapeServer([recording], clock=SystemClock(), deck=DeckOptions(speed=None), options=options) as server,
    ):
        request = VenueRequest(
            spec=find_venue("hyperliquid"),
            options=ProtocolOptions(pairs=PAIRS, channels=CHANNELS, accounts=(user,)),
            ws_url=server.ws_url_of("hyperliquid"),
            rest_url=server.rest_url_of("hyperliquid"),
        )
        recorder = Recorder(
            options=RecorderOptions(folder=folder, venues=(request,), disk_free_min=0),
            clock=ClockOfThen(server.deck.tape.first_ns),
        )
        run = asyncio.get_running_loop().create_task(recorder.run())

        async def until(count: int) -> None:
            # The recorder tells nobody of a frame that says nothing.
            while recorder.status.frame_count < count and not run.done():  # noqa: ASYNC110
                await asyncio.sleep(0)

        await settled(server, recorder, run)
        player, deck = server.deck.player, server.deck
        while True:
            taken, delivered = recorder.status.frame_count, deck.delivered_count
            if not player.step_frame():
                break
            server.flush()
            await until(taken + deck.delivered_count - delivered)
        recorder.stop()
        await run
    return Recording.open(folder)


async def settled(server: TapeServer, recorder: Recorder, run: asyncio.Task[Any]) -> None:
    """Until the recorder has subscribed everything and nothing more happens."""
    quiet, last = 0, -1
    while quiet < 5 and not run.done():
        await asyncio.sleep(0.05)
        count = recorder.status.frame_count
        quiet = quiet + 1 if count == last and server.deck.subscription_count >= len(CHANNELS) * len(PAIRS) else 0
        last = count


class Generations(NamedTuple):
    original: Recording
    first: Recording
    second: Recording


@pytest.fixture(scope="module")
def generations(tmp_path_factory: pytest.TempPathFactory) -> Generations:
    folder = tmp_path_factory.mktemp("generations")
    original, user = synthetic_session(folder / "original", as_recorder=True)

    async def main() -> Generations:
        first = await record_of(original, folder / "first", user)
        return Generations(original, first, await record_of(first, folder / "second", user))

    return asyncio.run(main())


def test_a_recording_of_a_recording_of_a_recording_says_the_same(generations: Generations) -> None:
    original, first, second = (told(recording) for recording in generations)
    assert len(original.payloads) > 200
    assert first.payloads == original.payloads
    assert second.payloads == original.payloads
    assert first.messages == original.messages
    assert second.messages == original.messages
    assert original.digest == first.digest == second.digest
    assert original.replies == first.replies == second.replies


def test_each_generation_is_a_sound_recording(generations: Generations) -> None:
    for recording in generations:
        assert verify(recording.path).problems == []


def test_the_comparison_sees_a_changed_digit(generations: Generations) -> None:
    """Else it would prove little."""
    frames = [frame for batch in generations.original.raw_frames() for frame in batch]
    assert {frame.kind for frame in frames} >= {WS_IN, WS_OUT, CONTROL}
    at = next(n for n, frame in enumerate(frames) if b'"channel":"bbo"' in frame.payload and frame.kind == WS_IN)
    changed: list[Frame] = list(frames)
    changed[at] = msgspec.structs.replace(frames[at], payload=frames[at].payload.replace(b'"n":', b'"n":1', 1))
    source = generations.original.manifest.sources[0]
    other = told(
        sealed(generations.original.path.with_name("changed"), changed, accounts=source.accounts, pairs=source.pairs)
    )
    original = told(generations.original)
    assert other.payloads != original.payloads
    assert other.messages != original.messages
    assert other.digest != original.digest
