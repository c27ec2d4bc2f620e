"""
What a callback saw live is what both replays of the recording give it, object for object, and so are the books.

The session is as bad as a venue can be: dropped and closed connections, text that is no text, JSON cut short, values of
wrong types and channels that nobody knows.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from recordings.care.verifying import verify
from recordings.format.manifest import Manifest
from recordings.recording import Recording
from recordings.states.checkpoints import decode_checkpoint, encode_checkpoint, load_checkpoint
from recordings.states.normalizer import Normalizer
from replay.embedded import EmbeddedVenue
from replay.source import Fidelity
from tests.deadlines import HANG_S
from tests.live_tapes import CHANNELS, QUICK, recorder_for, started
from tests.tapes import Seen, seen_in_replay
from toolkit.clock import SystemClock
from toolkit.errors import ConnectFailed, SymbolError, TickdeckError
from toolkit.messages import BookSnapshot, EventKind, StreamEvent, Trade

PAIRS = ("BTC-USD", "PURR-USDC", "@107", "xyz:SP500", "#7510", "#7511")
GARBAGE: list[bytes | str] = [
    b"\xff\xfe no text",
    "no JSON",
    '{"channel":"l2Book","data":{"coin":"BTC","time":1,"lev',
    '{"channel":"l2Book","data":{"coin":"BTC","time":"noon","levels":[[],[]]}}',
    '{"channel":"l2Book","data":{"coin":"BTC","time":99999999999999999999,"levels":[[],[]]}}',
    '{"channel":"bbo","data":{"coin":"BTC","time":1785000000000,"bbo":[{"px":"nan","sz":"1","n":1},null]}}',
    '{"channel":"trades","data":[{"coin":"BTC","side":"X","px":"1","sz":"1","time":1,"tid":1}]}',
    '{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"markPx":"inf"}}}',
    '{"channel":"somethingNew","data":{}}',
    "[" * 100_000,
]  # fmt: skip


class Session(NamedTuple):
    """A recording, and what a callback saw while it was made."""

    folder: Path
    manifest: Manifest
    seen: Seen


async def record(folder: Path) -> Session:
    async with EmbeddedVenue(seed=11, clock=SystemClock(), options=QUICK) as venue:
        recorder = recorder_for(folder, venue, PAIRS, backoff_seed=1, rotate_s=0.25)
        run, listener = await started(recorder)
        await listener.until(BookSnapshot, 20)
        for number, payload in enumerate(GARBAGE):
            venue.send_raw(payload, binary=isinstance(payload, bytes))
            await listener.until(StreamEvent, 1, EventKind.PARSE_ERROR)
            if number == 4:
                venue.drop_connections()
                await listener.until(StreamEvent, 3, EventKind.GAP)
        await listener.until(BookSnapshot, 20)
        venue.close_connections(1012, "deploy")
        await listener.until(StreamEvent, 3, EventKind.CONNECTED)
        await listener.until(BookSnapshot, 40)
        recorder.stop()
        return Session(folder, await run, listener.seen)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    async def main() -> Session:
        async with asyncio.timeout(HANG_S):
            return await record(tmp_path_factory.mktemp("live") / "tape")

    return asyncio.run(main())


def test_the_session_was_as_bad_as_it_should_be(session: Session) -> None:
    """Else the rest would prove little."""
    counts = session.manifest.counts
    assert session.manifest.status == "sealed"
    assert counts["event_parse_error"] >= len(GARBAGE)
    assert counts["event_disconnected"] >= 6
    assert counts["event_gap"] > 10
    assert len(session.manifest.segments) > 1
    assert {message.symbol for message, _ in session.seen} == {*_SYMBOLS, ""}
    history = [m.is_history for m, _ in session.seen if isinstance(m, Trade)]
    assert any(history)
    assert not all(history)


_SYMBOLS = ("BTC", "PURR/USDC", "@107", "xyz:SP500", "#7510", "#7511")


@pytest.mark.parametrize(
    ("fidelity", "batch_rows"),
    [("raw", None), ("raw", 1), ("raw", 7), ("normalized", None), ("normalized", 1), ("normalized", 13)],
)
def test_a_replay_gives_the_messages_and_books_of_the_live_session(
    session: Session, fidelity: Fidelity, batch_rows: int | None
) -> None:
    """All of them, from the first word to the last, in order."""
    seen, digest = seen_in_replay(Recording.open(session.folder), fidelity, batch_rows)
    assert len(session.seen) > 300
    assert seen == session.seen
    assert digest == session.manifest.live_digest == session.manifest.digest


def test_verify_finds_one_digest_four_times(session: Session) -> None:
    result = verify(session.folder)
    assert result.problems == []
    assert {result.live_digest, result.recorded_digest, result.raw_digest, result.normalized_digest} == {
        session.manifest.digest
    }


_PROGRAM = """
import sys
from recordings.recording import Recording
from tests.tapes import seen_in_replay
from hashlib import blake2b
for fidelity in ("raw", "normalized"):
    seen, digest = seen_in_replay(Recording.open(sys.argv[1]), fidelity)
    print(digest, blake2b(repr(seen).encode()).hexdigest())
"""


def test_another_process_with_another_hash_seed_sees_the_same(session: Session) -> None:
    root = Path(__file__).parent.parent
    outputs = set()
    for seed in ("0", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(session.folder)],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs |= set(done.stdout.splitlines())
    assert len(outputs) == 1
    assert outputs.pop().startswith(session.manifest.digest)


def test_what_was_not_understood_is_on_record_as_it_came(session: Session) -> None:
    recording = Recording.open(session.folder)
    errors = {m.capture_seq for m, _ in session.seen if isinstance(m, StreamEvent) and m.kind is EventKind.PARSE_ERROR}
    payloads = {frame.payload for batch in recording.raw_frames() for frame in batch if frame.capture_seq in errors}
    assert payloads == {each.encode() if isinstance(each, str) else each for each in GARBAGE}


async def _try_to_record(folder: Path, pairs: tuple[str, ...], *, gone: bool = False) -> tuple[str, int]:
    async with EmbeddedVenue(seed=2, clock=SystemClock(), keep_sent=True) as venue:
        recorder = recorder_for(folder, venue, pairs)
        if not gone:
            with pytest.raises(TickdeckError) as caught:
                await recorder.run()
            return f"{type(caught.value).__name__}: {caught.value}", len(venue.sent)
    with pytest.raises(TickdeckError) as caught:
        await recorder.run()
    return f"{type(caught.value).__name__}: {caught.value}", 0


@pytest.mark.parametrize("pair", ["NOPE-USD", "btc-usd", "nodex:SP500", "#99999", "@9999"])
def test_an_unknown_pair_is_refused_before_anything_is_subscribed(tmp_path: Path, pair: str) -> None:
    """In one line, and without leaving a folder behind."""
    text, sent = asyncio.run(_try_to_record(tmp_path / "tape", ("BTC-USD", pair)))
    assert text.startswith(SymbolError.__name__)
    assert pair.partition(":")[0] in text
    assert "\n" not in text
    assert sent == 0
    assert not (tmp_path / "tape").exists()


def test_a_port_that_nobody_listens_on_is_one_line(tmp_path: Path) -> None:
    text, _ = asyncio.run(_try_to_record(tmp_path / "tape", ("BTC-USD",), gone=True))
    assert text.startswith(ConnectFailed.__name__)
    assert "\n" not in text
    assert not (tmp_path / "tape").exists()


def test_the_manifest_says_how_it_was_recorded(session: Session) -> None:
    manifest = json.loads((session.folder / "recording.json").read_bytes())
    source = manifest["sources"][0]
    assert (source["pairs"], source["channels"]) == (list(PAIRS), list(CHANNELS))
    assert source["ws_url"].startswith("ws://127.0.0.1")
    assert manifest["live_digest"] == manifest["digest"]


def test_a_replay_may_begin_at_any_segment(session: Session) -> None:
    """From the state before it a fresh protocol comes to that segment's digest, though gaps and coins span them."""
    recording = Recording.open(session.folder)
    assert len(session.manifest.segments) > 1
    normalizer = Normalizer.for_sources(session.manifest.sources)
    for segment in session.manifest.segments:
        state = encode_checkpoint(normalizer)
        normalizer = Normalizer.for_sources(session.manifest.sources)
        decode_checkpoint(state, normalizer)
        for batch in recording.raw_frames([segment]):
            for frame in batch:
                for message in normalizer.messages(frame):
                    normalizer.take(message)
        assert normalizer.chain.hexdigest() == segment.digest
    assert session.manifest.resume is not None
    kept = load_checkpoint(session.folder, session.manifest.resume)
    assert (kept.digest, kept.tracker) == (normalizer.chain.digest(), normalizer.tracker.export())
