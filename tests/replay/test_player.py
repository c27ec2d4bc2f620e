"""Speed, pause, steps, seek, loop, bounds and filters of a replay."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recordings.recording import Recording
from replay.seeking import StartFinder
from replay.source import FIDELITIES, ReplayDataSource
from replay.tape import Fidelity
from tests.frame_tapes import Script
from tests.replay.tapes_of_trades import MS, lines, make, told
from tests.tapes import SECOND, TS, import_files, pair_state, trade
from tests.toolkit.live_harness import in_loop
from toolkit.cli.main import cli
from toolkit.clock import NS_PER_S, ManualClock, format_ns
from toolkit.errors import ConfigError, SymbolError
from toolkit.timing.times import Seconds, parse_speed, seconds_of

#: Receive times of 40 instants: uneven, one step back, and two at one time.
OFFSETS = [n * 10 * MS + (n % 3) - (70 * MS if n >= 20 else 0) + (0 if n != 31 else -10 * MS) for n in range(40)]


@pytest.fixture
def tape(tmp_path: Path, every_state: None) -> Recording:
    """Of many segments: ten frames each."""
    recording = make(tmp_path / "tape", OFFSETS, segment_frames=10)
    assert len(recording.manifest.segments) == 8
    return recording


def opened(recording: Recording, **options: Any) -> tuple[ReplayDataSource, list[str]]:
    source = ReplayDataSource(recording, **options)
    seen: list[str] = []
    source.set_message_callback(lambda message: seen.append(told(message)))
    return source, seen


def whole(recording: Recording, **options: Any) -> list[str]:
    source, seen = opened(recording, **options)
    source.play()
    return seen


def state(source: ReplayDataSource) -> Any:
    """Everything of the books."""
    return source.tracker.export()


def keys(recording: Recording) -> list[int]:
    """Merge time of each message."""
    stamps = [message.ts_recv for batch in recording.messages() for message in batch]
    return list(itertools.accumulate(stamps, max))


# -- speed -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "speed"), [("max", None), ("1x", 1), ("0.5x", Fraction(1, 2)), ("1000", 1000), ("2.5", Fraction(5, 2))]
)
def test_speeds_are_read(text: str, speed: Fraction | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize(
    "text",
    ["", "0x", "-1x", "fast", "x", "1/0", "1e5000", "1e-400", "1e99999999", "9" * 5000, "nan", "inf", "0.0000000001"],
)
def test_what_is_no_speed_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no speed; expected max, or a number from .* such as 1x, 0\.5x or 100x$"):
        parse_speed(text)


class LateClock(ManualClock):
    """Wakes each sleeper a little too late, as every real clock does, and moves by itself while all sleep."""

    def __init__(self, late_ns: int) -> None:
        super().__init__()
        self._late_ns = late_ns
        self.sleep_count = 0

    async def sleep(self, seconds: Seconds) -> None:
        self.sleep_count += 1
        self.advance(round(seconds_of(seconds) * NS_PER_S) + self._late_ns)
        await asyncio.sleep(0)


@in_loop
@pytest.mark.parametrize(("speed", "late_ns"), [(1, 0), (1, 900_000), (Fraction(1, 3), 900_000), (7, 900_000), (7, 0)])
async def test_pacing_is_exact_to_a_millisecond_over_an_hour(tmp_path: Path, speed: Fraction, late_ns: int) -> None:
    """Each wake-up is late by 0.9 ms; after 1,200 of them the replay is still less than a millisecond late."""
    hour = make(tmp_path / "hour", [n * 3 * SECOND + n * 7_919 for n in range(1_201)])
    pacer = LateClock(late_ns)
    source = ReplayDataSource(hour, speed=Fraction(speed), pacer=pacer)
    lateness: list[float] = []

    def note(message: Any) -> None:
        lateness.append(pacer.monotonic_ns() - (message.ts_recv - TS) / speed)

    source.set_message_callback(note)
    await source.start()
    await source.wait()
    assert len(lateness) == 3_603
    assert min(lateness) >= 0
    assert max(lateness) <= late_ns + 1
    assert pacer.sleep_count == 1_200


@in_loop
async def test_timers_keep_the_pace_too(tmp_path: Path) -> None:
    pacer = LateClock(0)
    source = ReplayDataSource(make(tmp_path / "tape", [0, 10 * SECOND]), speed=Fraction(2), pacer=pacer)
    seen: list[tuple[int, int]] = []
    source.clock.call_every(4 * SECOND, lambda due: seen.append(((due - TS) // SECOND, pacer.monotonic_ns())))
    await source.start()
    await source.wait()
    assert seen == [(4, 2 * SECOND), (8, 4 * SECOND)]


@in_loop
async def test_another_speed_holds_from_where_the_tape_stands(tmp_path: Path) -> None:
    pacer = LateClock(0)
    source = ReplayDataSource(make(tmp_path / "tape", [n * SECOND for n in range(5)]), speed=Fraction(1), pacer=pacer)
    seen: list[int] = []

    def note(message: Any) -> None:
        if told(message) == "6":
            source.player.speed = Fraction(4)
        if told(message).isdigit():
            seen.append(pacer.monotonic_ns())

    source.set_message_callback(note)
    await source.start()
    await source.wait()
    assert seen[::2] == [0, SECOND, 2 * SECOND, 2 * SECOND + SECOND // 4, 2 * SECOND + SECOND // 2]


@in_loop
@pytest.mark.parametrize("speed", [None, Fraction(1), Fraction(1000)])
async def test_every_speed_gives_the_same_messages(tape: Recording, speed: Fraction | None) -> None:
    source, seen = opened(tape, speed=speed, pacer=LateClock(3), with_digest=True)
    await source.start()
    await source.wait()
    assert seen == whole(tape)
    assert source.chain is not None
    assert source.chain.hexdigest() == tape.manifest.digest


# -- pause and steps ---------------------------------------------------------------------------------------------------


def test_a_callback_may_pause_and_play_goes_on(tape: Recording) -> None:
    source, seen = opened(tape)
    source.dispatcher.add_callback(lambda message: source.player.pause() if told(message) == "11" else None)
    source.play()
    assert seen[-1] == "11"
    source.play()
    assert seen == whole(tape)


@in_loop
async def test_a_paused_run_stands_still_until_it_is_resumed(tape: Recording) -> None:
    """Steps work meanwhile, and time that went by on the pacer is not made up for."""
    pacer = LateClock(0)
    source, seen = opened(tape, speed=Fraction(1), pacer=pacer)
    source.dispatcher.add_callback(lambda message: source.player.pause() if told(message) == "6" else None)
    await source.start()
    for _ in range(50):
        await asyncio.sleep(0)
    assert seen[-1] == "6"
    pacer.advance(3_600 * SECOND)
    assert source.player.step_message()
    assert seen[-1] == f"book:{OFFSETS[3]}"
    paused_ns = pacer.monotonic_ns()
    source.player.resume()
    await source.wait()
    assert seen == whole(tape)
    assert pacer.monotonic_ns() - paused_ns == max(OFFSETS) - OFFSETS[3]


@in_loop
async def test_stopping_does_not_wait_for_the_next_frame(tmp_path: Path) -> None:
    """The pacer of this one never comes to the second frame."""
    source, seen = opened(make(tmp_path / "tape", [0, 10**6 * SECOND]), speed=Fraction(1), pacer=ManualClock())
    await source.start()
    for _ in range(20):
        await asyncio.sleep(0)
    await source.stop()
    assert seen == ["book:0", "1", "2"]


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_steps_by_message_and_by_frame(tape: Recording, fidelity: Fidelity) -> None:
    source, seen = opened(tape, fidelity=fidelity, batch_rows=1)
    assert source.player.step_frame()
    assert seen == ["book:0"]
    assert source.player.step_frame()
    assert seen == ["book:0", "1", "2"]
    assert source.player.step_message()
    assert source.player.step_message()
    assert seen[3:] == [f"book:{OFFSETS[1]}", "3"]
    assert source.player.step_frame()
    assert seen[5:] == ["4"]
    while source.player.step_frame():
        pass
    assert seen == whole(tape)
    assert not source.player.step_message()


def test_a_step_inside_a_callback_is_refused(tape: Recording) -> None:
    source, _ = opened(tape)
    source.dispatcher.add_callback(lambda message: [source.player.step_message()].clear())
    with pytest.raises(RuntimeError, match=r"^a step inside a callback"):
        source.play()


# -- seek --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_the_state_after_a_seek_is_the_state_of_playing_there(tape: Recording, fidelity: Fidelity) -> None:
    """To every time at which something is, one before and one after, forwards and backwards: books, digest, what follows."""
    times = sorted({key + delta for key in keys(tape) for delta in (-1, 0, 1)})[2:]  # nothing ends before the first
    complete = whole(tape)
    mover, seen = opened(tape, fidelity=fidelity, with_digest=True)
    for ns in [*times[::23], *reversed(times[5::29])]:
        there, before = opened(tape, end_ns=ns, with_digest=True)
        there.play()
        mover.player.seek(ns)
        assert state(mover) == state(there)
        assert mover.chain is not None
        assert there.chain is not None
        assert mover.chain.hexdigest() == there.chain.hexdigest()
        seen.clear()
        mover.play()
        assert before + seen == complete
        assert mover.chain.hexdigest() == tape.manifest.digest


def test_a_seek_begins_at_the_nearest_checkpoint(tape: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the beginning; and never behind a frame that belongs after that time, though its clock stepped back."""
    skipped: list[int] = []
    original = StartFinder.before

    def before(self: StartFinder, ns: int, **options: Any) -> Any:
        start = original(self, ns, **options)
        skipped.append(start.segment)
        return start

    monkeypatch.setattr(StartFinder, "before", before)
    source, _ = opened(tape)
    for segment in range(8):
        ns = 1 + max(each.ts_recv_last for each in tape.manifest.segments[: segment + 1])
        source.player.seek(ns)
    # The fourth segment reaches later than the fifth, whose clock stepped back: what lies between belongs behind it.
    assert skipped == [1, 2, 3, 5, 5, 6, 7, 7]
    source.player.seek(TS + 171 * MS)
    assert skipped[-1] == 3
    source.player.seek(tape.manifest.segments[0].ts_recv_last)
    assert skipped[-1] == 0  # the last frames of the segment belong behind that time


def test_a_duplicate_is_known_after_a_seek(tmp_path: Path) -> None:
    """The protocol's memory comes from the checkpoint too."""
    content = lines([n * MS for n in range(10)]) + lines([n * MS for n in range(20, 22)])
    recording = import_files(tmp_path / "tape", content, segment_frames=5)
    flags = {}
    for fidelity in FIDELITIES:
        source = ReplayDataSource(recording, fidelity=fidelity)
        seen: list[bool] = []
        source.set_message_callback(lambda message, seen=seen: seen.append(getattr(message, "is_duplicate", False)))  # type: ignore[misc]
        source.player.seek(TS + 20 * MS)
        source.play()
        flags[fidelity] = seen
    assert flags["raw"] == flags["normalized"]
    assert sum(flags["raw"]) == 4


def test_a_seek_in_a_callback_takes_effect_behind_the_message(tape: Recording) -> None:
    source, seen = opened(tape)
    jumps = iter([TS, TS + 100 * MS])

    def jump(message: Any) -> None:
        if told(message) == "8":
            source.player.seek(next(jumps))

    source.dispatcher.add_callback(jump)
    source.play()
    complete = whole(tape)
    to_eight, from_ten = complete[: complete.index("8") + 1], complete[complete.index(f"book:{OFFSETS[10]}") :]
    assert seen == to_eight * 2 + from_ten


def test_a_seek_forgets_timers_and_cancels_sleepers(tape: Recording) -> None:
    source, seen = opened(tape)
    source.clock.call_at(TS + 50 * MS, lambda due: seen.append("timer"))
    source.player.seek(TS + 20 * MS)
    assert source.player.position_ns == TS + 20 * MS
    source.play()
    assert "timer" not in seen


# -- bounds, loop, filters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_from_and_to_are_exact_to_the_nanosecond(tape: Recording, fidelity: Fidelity) -> None:
    complete, times = whole(tape), keys(tape)
    for start, end in [(times[10], times[60]), (times[10] + 1, times[60] + 1), (times[10] - 1, times[60] - 1)]:
        expected = [word for word, key in zip(complete, times, strict=True) if start <= key < end]
        assert whole(tape, fidelity=fidelity, start_ns=start, end_ns=end) == expected
    with pytest.raises(ConfigError, match=r"^the replay starts at .*, but the tape goes from .* to .*Z$"):
        whole(tape, start_ns=times[-1] + 1)


def test_parts_that_meet_make_the_whole(tape: Recording) -> None:
    cut = keys(tape)[50]
    assert whole(tape, end_ns=cut) + whole(tape, start_ns=cut) == whole(tape)


def test_a_loop_begins_again_with_fresh_books_and_digest(tape: Recording) -> None:
    source, seen = opened(tape, loop=True, start_ns=keys(tape)[30], with_digest=True)
    digests: list[str] = []
    last = whole(tape)[-1]

    def stop(message: Any) -> None:
        if told(message) == last:
            assert source.chain is not None
            digests.append(source.chain.hexdigest())
            if len(digests) == 3:
                source.player.stop()

    source.dispatcher.add_callback(stop)
    source.play()
    assert seen == whole(tape)[whole(tape).index(seen[0]) :] * 3
    assert digests == [tape.manifest.digest] * 3
    assert source.player.lap_count == 2


def test_a_loop_over_nothing_ends(tape: Recording) -> None:
    """Between two frames there is a time in which nothing is."""
    times = keys(tape)
    start = next(a for a, b in itertools.pairwise(times) if b > a + 2) + 1
    assert whole(tape, loop=True, start_ns=start, end_ns=start + 1) == []


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("channels", [["trades"], ["book"], ["trades", "book"], ["funding"]])
@pytest.mark.parametrize("pairs", [None, ["BTC-USD"]])
def test_filters_leave_the_order_of_the_rest(
    tape: Recording, fidelity: Fidelity, channels: list[str], pairs: list[str] | None
) -> None:
    source = ReplayDataSource(tape)
    expected: list[Any] = []
    source.set_message_callback(expected.append)
    source.play()
    kept = [
        message
        for message in expected
        if (pairs is None or message.trading_pair in pairs)
        and ("trades" if told(message).isdigit() else "book") in channels
    ]
    filtered = ReplayDataSource(tape, fidelity=fidelity, channels=channels, trading_pairs=pairs, batch_rows=7)
    seen: list[Any] = []
    filtered.set_message_callback(seen.append)
    filtered.play()
    assert seen == kept


def test_the_books_after_a_filtered_seek_are_those_of_filtered_playing(tape: Recording) -> None:
    ns = keys(tape)[80]
    for options in ({"trading_pairs": ["ETH-USD"]}, {"channels": ["trades"]}, {"channels": ["book"]}):
        played, sought = ReplayDataSource(tape, end_ns=ns, **options), ReplayDataSource(tape, **options)  # type: ignore[arg-type]
        played.play()
        sought.player.seek(ns)
        assert state(sought) == state(played)


def test_an_unknown_channel_is_refused(tape: Recording) -> None:
    with pytest.raises(ConfigError, match=r"^unknown channel 'books', expected one of book, "):
        opened(tape, channels=["books"])[0].player  # noqa: B018


def test_books_in_a_callback_are_as_of_the_message(tape: Recording) -> None:
    """After a seek too: the tracker is the same object."""
    source = ReplayDataSource(tape)
    tracker = source.tracker
    states: list[Any] = []
    source.set_message_callback(lambda message: states.append(pair_state(tracker, message)))
    source.play()
    complete = list(states)
    states.clear()
    source.player.seek(keys(tape)[60])
    source.play()
    assert states == complete[-len(states) :]


# -- the command -------------------------------------------------------------------------------------------------------


def run(*words: str) -> Any:
    return CliRunner().invoke(cli, ["replay", *words], catch_exceptions=False)


def printed(result: Any) -> list[str]:
    return [line for line in result.stdout.splitlines() if line.startswith("{")]


def test_the_command_takes_bounds_channels_and_a_speed(tape: Recording) -> None:
    times = keys(tape)
    path = str(tape.path)
    everything = printed(run(path, "--print"))
    part = run(path, "--print", "--from", str(times[10]), "--to", str(times[60]), "--speed", "100000x")
    assert part.exit_code == 0
    assert printed(part) == [line for line, key in zip(everything, times, strict=True) if times[10] <= key < times[60]]
    trades = run(path, "--print", "--channel", "trades")
    assert printed(trades) == [line for line in everything if '"message":"Trade"' in line]


def test_the_command_compares_the_digest_wherever_it_began(tape: Recording) -> None:
    for words in ([], ["--from", str(keys(tape)[50])], ["--speed", "100000"]):
        result = run(str(tape.path), *words)
        assert f"digest {tape.manifest.digest}, equal to the recorded one" in result.output
    assert "recorded one" not in run(str(tape.path), "--to", str(keys(tape)[50])).output


# -- timers and controls -----------------------------------------------------------------------------------------------


def ticking(source: ReplayDataSource, seen: list[str], interval_ns: int, **options: Any) -> None:
    source.clock.call_every(interval_ns, lambda due: seen.append(f"tick {due - TS}"), **options)


@pytest.mark.parametrize("control", ["pause", "speed", "resume"])
def test_a_control_before_a_step_does_not_lose_the_step(tape: Recording, control: str) -> None:
    """With a timer due before the next message, a step that did nothing would stand still for ever."""
    stepped, seen = opened(tape)
    played, expected = opened(tape)
    for source, words in ((stepped, seen), (played, expected)):
        ticking(source, words, 3 * MS)
    played.play()
    for count in range(1, 1000):
        if control == "speed":
            stepped.player.speed = Fraction(count)
        else:
            getattr(stepped.player, control)()
        if not stepped.player.step_message():
            break
        assert stepped.message_count == count
    assert seen == expected


@pytest.mark.parametrize("control", ["pause", "speed", "stop"])
def test_a_control_in_a_timer_does_not_lose_the_step(tape: Recording, control: str) -> None:
    stepped, seen = opened(tape)
    played, expected = opened(tape)
    for source, words in ((stepped, seen), (played, expected)):
        ticking(source, words, 3 * MS)
    played.play()

    def ask(due: int) -> None:
        if control == "speed":
            stepped.player.speed = Fraction(2)
        else:
            getattr(stepped.player, control)()

    stepped.clock.call_every(3 * MS, ask)
    while stepped.player.step_message():
        pass
    assert seen == expected


def test_a_timer_that_seeks_ends_the_step_there(tape: Recording) -> None:
    source, seen = opened(tape)
    source.clock.call_at(TS + 50 * MS, lambda due: source.player.seek(TS + 100 * MS))
    while source.player.step_message():
        pass
    complete = whole(tape)
    at_fifty, at_hundred = (complete.index(f"book:{OFFSETS[n]}") for n in (5, 10))
    assert seen == complete[:at_fifty] + complete[at_hundred:]


@pytest.mark.parametrize(
    ("interval_ns", "options"),
    [(50 * MS, {}), (30 * MS, {}), (70 * MS, {"first_ns": TS}), (40 * MS, {"first_ns": TS + 10 * MS})],
)
def test_every_lap_of_a_loop_has_the_timers_of_the_first(
    tape: Recording, interval_ns: int, options: dict[str, int]
) -> None:
    source, seen = opened(tape, loop=True)
    once, expected = opened(tape)
    ticking(source, seen, interval_ns, **options)
    ticking(once, expected, interval_ns, **options)
    once.play()
    assert sum(word.startswith("tick") for word in expected) > 3
    three_laps = 3 * len(whole(tape))
    source.dispatcher.add_callback(lambda message: source.player.stop() if source.message_count > three_laps else None)
    source.play()
    assert seen[: 3 * len(expected)] == expected * 3


def test_a_timer_that_a_lap_ends_before_waits_into_the_next(tape: Recording) -> None:
    source, seen = opened(tape, loop=True, end_ns=TS + 100 * MS)
    length = 100 * MS - 1  # the tape ends before its first frame of that time

    def again(due: int) -> None:
        seen.append(f"tick {due - TS}")
        if source.player.lap_count == 3:
            source.player.stop()
        source.clock.call_at(due + 60 * MS, again)

    source.clock.call_at(TS + 60 * MS, again)
    source.play()
    ticks = [int(word.removeprefix("tick ")) for word in seen if word.startswith("tick")]
    assert ticks == [n * 60 * MS % length for n in range(1, len(ticks) + 1)]


@in_loop
async def test_a_sleeper_sleeps_on_into_the_next_lap(tape: Recording) -> None:
    source, _ = opened(tape, loop=True)
    woken: list[int] = []

    async def sleeper() -> None:
        while source.player.lap_count < 3:
            await source.clock.sleep(0.15)
            woken.append(source.player.lap_count)
        source.player.stop()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper())
        await asyncio.sleep(0)
        await source.start()
        await source.wait()
    assert set(woken) == {0, 1, 2, 3}


@in_loop
async def test_a_loop_keeps_the_pace_in_every_lap(tape: Recording) -> None:
    pacer = LateClock(0)
    source, _ = opened(tape, loop=True, speed=Fraction(2), pacer=pacer)
    began: list[int] = []
    first = whole(tape)[0]

    def note(message: Any) -> None:
        if told(message) == first:
            began.append(pacer.monotonic_ns())
            if len(began) == 4:
                source.player.stop()

    source.dispatcher.add_callback(note)
    await source.start()
    await source.wait()
    length = (source.player.tape.last_ns - source.player.tape.first_ns) // 2
    for earlier, later in itertools.pairwise(began):
        assert later - earlier == pytest.approx(length, abs=2 * MS)


@in_loop
async def test_what_a_clock_stepped_over_is_not_waited_for(tmp_path: Path) -> None:
    """Ten seconds, in the middle of which a recorder's clock was set five years ahead: twice, to loop over it too."""
    years = 155_000_000 * SECOND
    script = Script()
    for second in range(10):
        script.now = TS + second * SECOND + (years if second >= 5 else 0)
        script.said({"channel": "trades", "data": [trade("BTC", second, TS // MS + second)]})
        if second == 5:
            script.control("clock_step", -1, delta_ns=years)
    recording = script.recording(tmp_path / "tape")
    pacer = LateClock(0)
    source = ReplayDataSource(recording, speed=Fraction(1), pacer=pacer, loop=True)
    seen: list[int] = []

    def note(message: Any) -> None:
        seen.append(pacer.monotonic_ns())
        if source.player.lap_count == 1 and told(message) == "9":
            source.player.stop()

    source.set_message_callback(note)
    await source.start()
    await source.wait()
    assert seen[-1] == 18 * SECOND


# -- what selects nothing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [["FOO"], ["btc-usd"], "FOO", ["BTC-USD", "FOO"], []])
def test_a_pair_that_is_not_there_is_an_error_that_names_those_that_are(tape: Recording, pairs: Any) -> None:
    source = ReplayDataSource(tape, trading_pairs=pairs)
    with pytest.raises(SymbolError, match=r"expected (one of BTC-USD, ETH-USD|at least one; leave trading_pairs out)"):
        source.play()


@pytest.mark.parametrize("name", ["BTC-USD", "BTC"])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_pair_is_chosen_by_either_name_alone_or_in_a_list(tape: Recording, name: str, fidelity: Fidelity) -> None:
    chosen = whole(tape, trading_pairs=name, fidelity=fidelity)
    assert chosen == whole(tape, trading_pairs=[name], fidelity=fidelity) == whole(tape, trading_pairs=["BTC-USD"])
    assert 0 < len(chosen) < len(whole(tape))


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2030-01-01", None, r"^the replay starts at 2030-.*, but the tape goes from 2026-.* to 2026-.*$"),
        (None, "2001-01-01", r"^the replay ends at 2001-.*, but the tape goes from 2026-.* to 2026-.*$"),
        ("2026-07-26", "2026-07-25", r"^the replay ends at 2026-07-25.*, not after its start at 2026-07-26.*$"),
        (1.5e18, None, r"^start_ns is 1\.5e\+18; expected ns since the epoch as an int, a datetime, or text such as"),
        (-5, None, r"^start_ns is -5 ns, which is no time since the epoch"),
        (True, None, r"^start_ns is True; expected"),
        ("yesterday", None, r"^'yesterday' is no time; expected"),
        (
            TS // SECOND,
            None,
            r"^start_ns is 1785000000; expected ns .*, and this looks like s: write 1785000000000000000 ",
        ),
        (None, TS // MS, r"^end_ns is 1785000000123; expected ns since the epoch, and this looks like ms: write "),
        (
            TS / SECOND,
            None,
            r"^start_ns is 1785000000\.1234\d+; .*looks like s: write \d{19} if 2026-07-25T17:20:00Z is meant",
        ),
    ],
)
def test_bounds_between_which_there_is_nothing_are_refused(tape: Recording, start: Any, end: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReplayDataSource(tape, start_ns=start, end_ns=end).play()


def test_a_seek_to_what_is_no_time_of_the_tape_is_refused(tape: Recording) -> None:
    source, seen = opened(tape)
    for when in (
        -5,
        1.5e18,
        None,
        "soon",
        TS + 3600 * SECOND,
        2**63,
        TS // SECOND,
        TS // MS,
        TS / SECOND,
        str(TS // 1000),
    ):
        with pytest.raises(ConfigError):
            source.player.seek(when)  # type: ignore[arg-type]
    source.play()
    assert seen == whole(tape)


def test_times_are_taken_in_every_form(tape: Recording) -> None:
    """As numbers, as text, and as datetimes, which without a zone are UTC."""
    ns = TS + 100 * MS - TS % 1000  # a datetime knows microseconds
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
    forms: list[Any] = [ns, str(ns), format_ns(ns), moment, moment.replace(tzinfo=None)]
    forms.append(moment.astimezone(timezone(timedelta(hours=-5))))
    expected = whole(tape, start_ns=ns)
    assert 0 < len(expected) < len(whole(tape))
    for form in forms:
        assert whole(tape, start_ns=form) == expected
        source, seen = opened(tape)
        source.player.seek(form)
        source.play()
        assert seen == expected


@pytest.mark.parametrize("speed", ["10x", "10", 10, 10.0, Fraction(10)])
def test_speeds_are_taken_in_every_form(tape: Recording, speed: Any) -> None:
    source = ReplayDataSource(tape, speed=speed)
    assert source.player.speed == 10
    source.player.speed = None
    source.player.speed = speed
    assert source.player.speed == 10


@pytest.mark.parametrize("speed", [0, -1, 0.0, float("nan"), float("inf"), True, "0x", "fast", [], 10**12, 1e-9])
def test_no_speed_is_refused_in_every_form(tape: Recording, speed: Any) -> None:
    with pytest.raises(ConfigError, match=r"is no speed; expected max, or a number from"):
        ReplayDataSource(tape, speed=speed)
    source = ReplayDataSource(tape)
    with pytest.raises(ConfigError):
        source.player.speed = speed
