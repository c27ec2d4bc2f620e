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
from typing import NamedTuple

import msgspec
import pytest

from recordings.care.verifying import verify
from recordings.recording import Recording
from tests.frame_tapes import sealed
from tests.generations import record_of, told
from tests.serving import synthetic_session
from toolkit.frames import CONTROL, WS_IN, WS_OUT, Frame
from toolkit.protocol import ProtocolOptions

PAIRS = ("BTC-USD", "ETH-USD")
CHANNELS = ("full", "bbo", "trades", "funding")


class Generations(NamedTuple):
    original: Recording
    first: Recording
    second: Recording


@pytest.fixture(scope="module")
def generations(tmp_path_factory: pytest.TempPathFactory) -> Generations:
    folder = tmp_path_factory.mktemp("generations")
    original, user = synthetic_session(folder / "original", as_recorder=True)

    async def main() -> Generations:
        wanted = ProtocolOptions(pairs=PAIRS, channels=CHANNELS, accounts=(user,))
        streams = len(CHANNELS) * len(PAIRS)
        first = await record_of(original, folder / "first", wanted, streams)
        return Generations(original, first, await record_of(first, folder / "second", wanted, streams))

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
