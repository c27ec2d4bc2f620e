"""
A recording followed while it is made gives what a replay of the finished one gives: messages, books, timers and digest.

The recorder rotates every second or faster and seals meanwhile; followers begin at different times, and their sockets
are cut at random places.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import recordings.following.follower
import replay.follow
from recordings.following.tee import Tee, TeeOptions
from recordings.format.manifest import Manifest
from recordings.storage.lock import FolderLock
from replay.embedded import EmbeddedVenue
from replay.follow import FollowDataSource
from replay.source import ReplayDataSource
from tests.deadlines import HANG_S
from tests.hand_recorder import STEP, HandRecorder
from tests.live_tapes import QUICK, recorder_for, started
from tests.tapes import TS, Seen, pair_state
from toolkit.account_messages import OrderUpdate
from toolkit.clock import NS_PER_MS, SystemClock
from toolkit.errors import ConfigError, RecordingError, SymbolError
from toolkit.messages import BookSnapshot, Message, Trade
from toolkit.rng import seeded

PAIRS = ("BTC-USD", "PURR-USDC")
TICK_NS = 37 * NS_PER_MS


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a folder as long as a user may."""
    monkeypatch.setattr(recordings.following.follower, "POLL_S", 0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(HANG_S):
            await test()

    asyncio.run(main())


class Witness:
    """What a source's callback and its timer saw, in one order: a message with the book after it, or a time."""

    def __init__(self, source: FollowDataSource | ReplayDataSource) -> None:
        self.seen: list[Any] = []
        self._source = source
        source.set_message_callback(self)

    def __call__(self, message: Message) -> None:
        self.seen.append((message, pair_state(self._source.tracker, message)))

    def tick(self) -> None:
        """Have a timer from the first point of the tape on, at round times."""
        clock = self._source.clock
        first_ns = (clock.time_ns() // TICK_NS + 1) * TICK_NS
        clock.call_every(TICK_NS, self.seen.append, first_ns=first_ns)


def replayed(folder: Path, *, with_timer: bool = False, **options: Any) -> tuple[list[Any], str]:
    source = ReplayDataSource(folder, fidelity="raw", with_digest=True, **options)
    witness = Witness(source)
    assert source.player.tape.first_ns
    if with_timer:
        witness.tick()
    source.play()
    assert source.chain is not None
    return witness.seen, source.chain.hexdigest()


# -- a real recorder ------------------------------------------------------------------------------------------------


async def _follow_a_session(folder: Path, seed: int, ring_bytes: int) -> None:
    """Record; follow from the start, from a time and from now; cut sockets at random; compare with the replay."""
    random = seeded(seed)
    sources: list[tuple[FollowDataSource, Witness]] = []
    async with EmbeddedVenue(seed=seed, clock=SystemClock(), options=QUICK) as venue:
        recorder = recorder_for(
            folder, venue, PAIRS, rotate_s=0.4, flush_interval_s=0.02, tee=TeeOptions(ring_bytes=ring_bytes)
        )
        session, listener = await started(recorder)

        async def follow(start_ns: int | None) -> None:
            source = FollowDataSource(folder, start_ns=start_ns, with_digest=True)
            witness = Witness(source)
            await source.initialize()
            witness.tick()
            await source.start()
            sources.append((source, witness))

        begins: list[Callable[[], int | None]] = [
            lambda: None,
            lambda: listener.seen[len(listener.seen) // 3][0].ts_recv,
            SystemClock().time_ns,
        ]
        await listener.until(BookSnapshot, 3)
        for count in range(15):
            await listener.until(BookSnapshot, random.randint(1, 4))
            if begins and count % 4 == 0:
                await follow(begins.pop(0)())
            assert recorder.session is not None
            assert recorder.session.tee is not None
            for peer in recorder.session.tee._server.peers:
                if random.random() < 0.3:
                    peer.abort()
        recorder.stop()
        manifest = await session
    for source, _ in sources:
        await source.wait()
    _compare(folder, manifest, sources)


def _compare(folder: Path, manifest: Manifest, sources: list[tuple[FollowDataSource, Witness]]) -> None:
    assert len(manifest.segments) > 2
    assert sum(source.follower.handover_count for source, _ in sources) > 4
    for source, witness in sources:
        start_ns = source._start_ns
        expected, digest = replayed(folder, with_timer=True, start_ns=start_ns)
        assert source.chain is not None
        assert source.chain.hexdigest() == digest == manifest.digest
        assert len(witness.seen) > 30
        assert witness.seen == expected
        counts = source.follower
        assert counts.disk_count + counts.tee_count == source.frame_count


@pytest.mark.parametrize(("seed", "ring_bytes"), [(1, 32 << 20), (2, 1), (3, 20_000)])
def test_a_follower_whose_socket_is_cut_sees_what_a_replay_sees(tmp_path: Path, seed: int, ring_bytes: int) -> None:
    """From the start, from a time, from now; with a ring that holds all, one batch, and some."""
    run(lambda: _follow_a_session(tmp_path / "tape", seed, ring_bytes))


def test_accounts_come_through_both_faces_in_order(tmp_path: Path) -> None:
    """Market and account messages are one order over the hand-over too."""

    async def test() -> None:
        from dataclasses import replace

        from toolkit.protocol import ProtocolOptions

        async with EmbeddedVenue(seed=5, clock=SystemClock(), options=QUICK) as venue:
            recorder = recorder_for(tmp_path / "tape", venue, PAIRS, flush_interval_s=0.02, tee=TeeOptions())
            (request,) = recorder.options.venues
            options = ProtocolOptions(pairs=PAIRS, accounts=(venue.accounts["taker"],))
            recorder.options = replace(recorder.options, venues=(replace(request, options=options),))
            session, listener = await started(recorder)
            await listener.until(BookSnapshot, 5)
            source = FollowDataSource(tmp_path / "tape")
            market, account = source.market, source.user_stream
            both: list[Message] = []
            market.set_message_callback(both.append)
            account.set_message_callback(both.append)
            async with market:
                assert not source.message_count
                orders = account.listen_for_user_stream()
                async with account:
                    async for message in orders:
                        if isinstance(message, OrderUpdate) and source.follower.is_live:
                            break
                    book = await market.get_snapshot("BTC-USD")
                    assert book.best_bid is not None
                    assert (await market.get_funding_info("BTC-USD")).mark_price
                    recorder.stop()
                    await session
                    await source.wait()
        assert both == [message for message, _ in replayed(tmp_path / "tape")[0]]

    run(test)


# -- a recorder driven by hand --------------------------------------------------------------------------------------


async def _teed(folder: Path, **options: Any) -> tuple[HandRecorder, Tee]:
    made: list[Tee] = []

    def on_written(first_seq: int, last_seq: int, content: bytes) -> None:
        made[0].written(first_seq, last_seq, content)

    recorder = HandRecorder(folder, on_written)
    made.append(Tee(folder, recorder.manifest, TeeOptions(**options), started_ns=TS + 5, next_seq=0))
    await made[0].__aenter__()
    return recorder, made[0]


async def _begun(source: FollowDataSource) -> Seen:
    seen: Seen = []
    source.set_message_callback(lambda message: seen.append((message, pair_state(source.tracker, message))))
    await source.initialize()
    await source.start()
    return seen


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # the other side tells nobody how far it is
        await asyncio.sleep(0.001)


def test_a_finished_recording_is_followed_to_its_end(tmp_path: Path) -> None:
    async def test() -> None:
        recorder = HandRecorder(tmp_path / "tape")
        for _ in range(3):
            recorder.write(10)
            recorder.rotate()
        manifest = recorder.end()
        source = FollowDataSource(tmp_path / "tape", with_digest=True)
        seen = await _begun(source)
        await source.wait()
        assert source.chain is not None
        assert (seen, source.chain.hexdigest()) == (replayed(tmp_path / "tape")[0], manifest.digest)
        assert source.clock.now_ns == TS + 29 * STEP

    run(test)


@pytest.mark.parametrize("options", [{"trading_pairs": ["BTC-USD"]}, {"channels": ["trades"]}])
@pytest.mark.parametrize("start", [None, 0, 9, 11, 12, 29, 31, 100])
def test_filters_and_beginnings_are_those_of_a_replay(
    tmp_path: Path, options: dict[str, Any], start: int | None
) -> None:
    async def test() -> None:
        recorder = HandRecorder(tmp_path / "tape")
        for _ in range(3):
            recorder.write(10)
            recorder.rotate()
        recorder.end()
        start_ns = None if start is None else TS + start * STEP
        source = FollowDataSource(tmp_path / "tape", start_ns=start_ns, **options)
        if start is not None and start >= 30:
            with pytest.raises(ConfigError, match=r"but the tape, which is not being recorded, ends at "):
                await _begun(source)
            return
        seen = await _begun(source)
        await source.wait()
        replay = ReplayDataSource(tmp_path / "tape", fidelity="raw", start_ns=start_ns, **options)
        witness = Witness(replay)
        replay.play()
        assert seen == witness.seen

    run(test)


def test_a_beginning_behind_a_sealed_segment_reads_nothing_before_it(tmp_path: Path) -> None:
    async def test() -> None:
        recorder = HandRecorder(tmp_path / "tape")
        for _ in range(3):
            recorder.write(30)
            recorder.rotate()
            recorder.seal()
        recorder.write(30)
        source = FollowDataSource(tmp_path / "tape", start_ns=TS + 100 * STEP, with_digest=True)
        seen = await _begun(source)
        assert source.follower.recording.next_seq == 90
        await _until(lambda: source.frame_count == 30)
        assert [message.capture_seq for message, _ in seen if isinstance(message, Trade)] == list(range(102, 120, 3))
        manifest = recorder.end()
        await source.wait()
        assert source.chain is not None
        assert source.chain.hexdigest() == manifest.digest

    run(test)


def test_a_follower_that_is_slower_than_the_recorder_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for its own listener, is cut off for that and told so, and reads the rest from the folder."""
    monkeypatch.setattr(replay.follow, "_BACKLOG_MAX", 1000)
    log: list[str] = []

    async def test() -> None:
        recorder, tee = await _teed(tmp_path / "tape", ring_bytes=60_000)
        recorder.write(3)
        source = FollowDataSource(tmp_path / "tape", log=log.append)
        numbers: list[int] = []
        source.set_message_callback(lambda message: numbers.append(message.capture_seq))
        await source.initialize()
        await source.start()
        recorder.write(3)
        await _until(lambda: source.follower.is_live)
        orders = source.dispatcher.listen(lambda message: message, size=5000)  # an iterator that nobody reads yet
        while not tee.cut_count or len(recorder.frames) < 10_000:
            recorder.write(2000)
            await asyncio.sleep(0)
        await _until(lambda: source.dispatcher.backlog > 1000)
        read = 0

        async def listen() -> None:
            nonlocal read
            async for _ in orders:
                read += 1

        listening = asyncio.get_running_loop().create_task(listen())
        recorder.write(3)
        recorder.end()
        await tee.__aexit__(None, None, None)
        await source.wait()
        await listening
        assert numbers == sorted(numbers)
        assert source.frame_count == len(recorder.frames)
        assert len(numbers) == sum(frame.capture_seq % 3 < 2 for frame in recorder.frames)
        assert read >= len(numbers) - 4  # of the frames before it listened
        # On a machine so busy that the reason is not read in time, the connection has ended without it.
        assert any("cut off at frame " in line or "the tee ended at frame " in line for line in log)

    run(test)


def test_without_a_tee_the_folder_is_looked_at(tmp_path: Path) -> None:
    log: list[str] = []

    async def test() -> None:
        recorder = HandRecorder(tmp_path / "tape")
        recorder.write(4)
        source = FollowDataSource(tmp_path / "tape", log=log.append)
        with FolderLock(tmp_path / "tape"):
            await _begun(source)
            for _ in range(3):
                recorder.write(4)
                await _until(lambda: source.frame_count == len(recorder.frames))
                recorder.rotate()
            recorder.end()
        await source.wait()
        assert source.follower.tee_count == 0
        assert log == ["its recorder has no tee: looking at the folder instead"]

    run(test)


def test_a_tee_that_was_left_behind_is_not_taken_for_the_recorder(tmp_path: Path) -> None:
    """Its port may be another recorder's by now: of another recording, or of a later session of this one."""
    log: list[str] = []

    async def test() -> None:
        _, other = await _teed(tmp_path / "other")
        recorder = HandRecorder(tmp_path / "tape")
        left = (tmp_path / "other" / "tee.json").read_bytes().replace(b'"started_ns":', b'"started_ns":1')
        (tmp_path / "tape" / "tee.json").write_bytes(left)
        recorder.write(4)
        source = FollowDataSource(tmp_path / "tape", log=log.append)
        await _begun(source)
        await _until(lambda: source.frame_count == 4)
        await _until(lambda: bool(log))
        recorder.end()
        await source.wait()
        await other.__aexit__(None, None, None)
        assert source.follower.handover_count == 0
        assert log[0].startswith(f"no tee: {other.url} was left behind by a recorder that has died; ")

    run(test)


def test_a_tee_of_another_recording_is_an_error_where_the_user_named_it(tmp_path: Path) -> None:
    async def test() -> None:
        _, tee = await _teed(tmp_path / "other")
        HandRecorder(tmp_path / "tape").write(1)
        tee._hello.created_ns += 1
        source = FollowDataSource(tmp_path / "tape", tee_url=tee.url)
        await _begun(source)
        with pytest.raises(ConfigError, match=r"is the tee of another recording than .*tape: name the right one$"):
            await source.wait()
        await tee.__aexit__(None, None, None)

    run(test)


def test_a_recorder_that_died_is_given_up_after_a_while(tmp_path: Path) -> None:
    log: list[str] = []

    async def test() -> None:
        recorder = HandRecorder(tmp_path / "tape")
        recorder.write(4)
        source = FollowDataSource(tmp_path / "tape", patience_s=0.1, log=log.append)
        await _begun(source)
        with pytest.raises(
            RecordingError, match=r"nothing has been written for 0.1 s after frame 3, and its status is"
        ):
            await source.wait()
        assert source.frame_count == 4
        # What the lock says is said at once.
        assert log[1] == "its recorder has died: run `tickdeck recover`, or record on; that is waited for, 0.1 s"

    run(test)


def test_a_recorder_that_is_busy_sealing_is_not_given_up(tmp_path: Path) -> None:
    """Nothing moves in the folder for longer than a dead recorder would be waited for."""

    async def test() -> None:
        recorder = HandRecorder(tmp_path / "tape")
        recorder.write(4)
        source = FollowDataSource(tmp_path / "tape", patience_s=0.02)
        with FolderLock(tmp_path / "tape"):
            await _begun(source)
            begun_ns = SystemClock().monotonic_ns()
            await _until(lambda: source.follower._life_ns > begun_ns + 100 * NS_PER_MS)
            recorder.end()
        await source.wait()
        assert source.frame_count == 4

    run(test)


def test_a_recording_that_was_begun_this_moment_is_waited_for(tmp_path: Path) -> None:
    """The clock stands at the first frame, as in a replay, when whoever sets timers sees it first."""

    async def test() -> None:
        recorder = HandRecorder(tmp_path / "tape")
        source = FollowDataSource(tmp_path / "tape")
        opening = asyncio.get_running_loop().create_task(source.initialize())
        await asyncio.sleep(0)
        assert not opening.done()
        recorder.write(2)
        await opening
        assert source.clock.now_ns == TS
        recorder.end()
        halted = FollowDataSource(HandRecorder(tmp_path / "empty").folder)
        opening = asyncio.get_running_loop().create_task(halted.initialize())
        await asyncio.sleep(0)
        halted.halt()
        await opening

    run(test)


def test_what_a_callback_raises_ends_it(tmp_path: Path) -> None:
    async def test() -> None:
        recorder = HandRecorder(tmp_path / "tape")
        recorder.write(4)
        source = FollowDataSource(tmp_path / "tape")

        def fail(message: Message) -> None:
            raise ZeroDivisionError("my strategy")

        source.set_message_callback(fail)
        with pytest.raises(ZeroDivisionError, match=r"^my strategy$"):
            async with source:
                await source.wait()

    run(test)


def test_it_can_be_stopped_at_any_time(tmp_path: Path) -> None:
    async def test() -> None:
        recorder, tee = await _teed(tmp_path / "tape")
        recorder.write(4)
        source = FollowDataSource(tmp_path / "tape")
        trades = source.listen_for_trades()
        async with source:
            assert (await anext(trades)).trade_id == "0"
            await _until(lambda: tee.client_count == 1)
        await source.stop()
        assert [trade.trade_id async for trade in trades] == ["3"]
        await _until(lambda: tee.client_count == 0)
        await tee.__aexit__(None, None, None)
        early = FollowDataSource(tmp_path / "tape")
        await early.initialize()
        early.halt()
        await early.start()
        await early.wait()
        assert early.frame_count == 0

    run(test)


def test_what_makes_no_sense_is_one_line(tmp_path: Path) -> None:
    async def test() -> None:
        recorder = HandRecorder(tmp_path / "tape")
        recorder.write(4)
        recorder.end()
        with pytest.raises(ConfigError, match=r"^unknown channel 'tade', expected one of "):
            FollowDataSource(tmp_path / "tape", channels=["tade"])
        with pytest.raises(SymbolError, match=r"^'ETH-USD' is not in .*tape, expected one of BTC-USD$"):
            await FollowDataSource(tmp_path / "tape", trading_pairs=["ETH-USD"]).initialize()
        with pytest.raises(ConfigError, match=r"^a source is started after its initialize\(\): use `async with`$"):
            await FollowDataSource(tmp_path / "tape").start()
        with pytest.raises(RecordingError, match=r"is not a recording: no such folder; "):
            await FollowDataSource(tmp_path / "nothing").initialize()

    run(test)
