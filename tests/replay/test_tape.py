"""Many recordings as one: the order, the holes, and what is held in memory."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.recording import Recording
from replay.source import FIDELITIES, ReplayDataSource
from replay.tape import HOLE, Fidelity, Tape
from tests.replay.tapes_of_trades import MS, make, told
from tests.replay.test_player import printed, run
from tests.tapes import TS, collector_line, import_files, messages_of, trade
from toolkit.digest import DigestChain
from toolkit.errors import ConfigError
from toolkit.messages import EventKind, Message, StreamEvent


def merged(*recordings: Recording, **options: Any) -> list[Message]:
    source = ReplayDataSource(recordings, **options)
    seen: list[Message] = []
    source.set_message_callback(seen.append)
    source.play()
    return seen


def expected_order(recordings: tuple[Recording, ...]) -> list[Message]:
    """The rule, spelled out: sort by the latest receive time so far, then by position, then as recorded."""
    entries = []
    for position, recording in enumerate(recordings):
        messages = messages_of(recording)
        keys = itertools.accumulate((message.ts_recv for message in messages), max)
        entries += [
            (key, position, index, message) for index, (key, message) in enumerate(zip(keys, messages, strict=True))
        ]
    return [entry[3] for entry in sorted(entries, key=lambda entry: entry[:3])]


def without_notices(messages: list[Message]) -> list[Message]:
    return [message for message in messages if not (isinstance(message, StreamEvent) and message.cause == HOLE)]


offsets = st.lists(st.integers(0, 12).map(lambda n: n * MS), min_size=1, max_size=8)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(offsets, min_size=2, max_size=4), st.sampled_from([1, 5, None]))
def test_the_order_is_the_rule(tmp_path_factory: Any, tapes: list[list[int]], batch_rows: int | None) -> None:
    """Clocks of any recording may step back anywhere, and all may agree on a time; both fidelities, any batch size."""
    folder = tmp_path_factory.mktemp("tapes")
    recordings = tuple(
        make(folder / str(number), stamps, first_id=1000 * (number + 1)) for number, stamps in enumerate(tapes)
    )
    expected = expected_order(recordings)
    for fidelity in FIDELITIES:
        seen = merged(*recordings, fidelity=fidelity, batch_rows=batch_rows)
        assert without_notices(seen) == expected


def test_at_one_time_the_recording_named_first_goes_first(tmp_path: Path) -> None:
    first, second = (make(tmp_path / str(n), [0, MS], first_id=100 * n, coins=("BTC",)) for n in (1, 2))
    words = [told(message) for message in merged(first, second) if told(message).isdigit()]
    assert words == ["100", "101", "200", "201", "102", "103", "202", "203"]
    words = [told(message) for message in merged(second, first) if told(message).isdigit()]
    assert words == ["200", "201", "100", "101", "202", "203", "102", "103"]


def test_a_hole_between_recordings_is_marked_and_makes_the_book_stale(tmp_path: Path) -> None:
    """STALE behind the last message before it, GAP in front of the first after it, both with the hole's ends."""
    monday = make(tmp_path / "monday", [0, 10 * MS], coins=("BTC",))
    other = make(tmp_path / "other", [5 * MS, 30 * MS, 60 * MS], first_id=50, coins=("ETH",))
    tuesday = make(tmp_path / "tuesday", [50 * MS], first_id=20, coins=("BTC",))
    source = ReplayDataSource([monday, other, tuesday])
    seen: list[str] = []
    stale: list[bool] = []

    def note(message: Message) -> None:
        seen.append(told(message))
        stale.append(source.tracker.book("BTC-USD").is_stale)

    source.set_message_callback(note)
    source.play()
    begin, end = seen.index("stale:BTC-USD:full"), seen.index("gap:BTC-USD:")
    assert seen[begin - 1] == "4"
    assert seen[begin + 1 : end] == [f"book:{30 * MS}", "52", "53"]
    assert seen[end + 1] == f"book:{50 * MS}"
    assert [index for index, is_stale in enumerate(stale) if is_stale] == list(range(begin, end + 1))
    events = [message for message in merged(monday, other, tuesday) if isinstance(message, StreamEvent)]
    assert [(event.kind, event.ts_recv - TS, event.ts_start, event.ts_end, event.capture_seq) for event in events] == [
        (EventKind.STALE, 10 * MS, TS + 10 * MS, None, -1),
        (EventKind.GAP, 50 * MS, TS + 10 * MS, TS + 50 * MS, -1),
    ]


def test_there_is_no_hole_where_another_recording_covers_it(tmp_path: Path) -> None:
    """A nanosecond is a hole, an overlap and a touch are none; the order of the arguments does not matter."""

    def make_one(name: str, *stamps: int) -> Recording:
        return make(tmp_path / name, stamps, coins=("BTC",))

    whole, early, touching, late = (
        make_one("whole", 0, 50 * MS),
        make_one("early", 0, 10 * MS),
        make_one("touching", 10 * MS, 20 * MS),
        make_one("late", 20 * MS + 1, 30 * MS),
    )
    assert Tape([early, whole, late]).holes == []
    assert Tape([touching, early]).holes == []
    for order in ([early, touching, late], [late, touching, early]):
        (hole,) = Tape(order).holes
        assert (hole.start_ns - TS, hole.end_ns - TS) == (20 * MS, 20 * MS + 1)
    other = make(tmp_path / "other", [0], coins=("ETH",))
    assert Tape([early, other, late], trading_pairs=["ETH-USD"]).holes == []


@pytest.mark.parametrize("batch_rows", [1, 3, None])
def test_the_digest_of_several_is_one(tmp_path: Path, batch_rows: int | None) -> None:
    """Over fidelities and batches; another order of the arguments is another stream where times are equal."""
    recordings = [make(tmp_path / str(n), [n * 3 * MS, 10 * MS, 40 * MS * (n + 1)], first_id=100 * n) for n in range(3)]

    def digest(order: list[Recording], **options: Any) -> str:
        source = ReplayDataSource(order, with_digest=True, **options)
        source.play()
        assert source.chain is not None
        return source.chain.hexdigest()

    reference = digest(recordings)
    for fidelity in FIDELITIES:
        assert digest(recordings, fidelity=fidelity, batch_rows=batch_rows) == reference
    assert digest(recordings[::-1]) != reference


def test_frames_of_one_number_in_two_recordings_are_two_frames(tmp_path: Path) -> None:
    """Two recordings whose frames alternate: for steps and for the digest a frame is not its namesake of the other."""
    recordings = [
        import_files(
            tmp_path / str(n),
            b"".join(
                collector_line(
                    TS + offset, {"channel": "trades", "data": [trade("BTC", 10 * n + offset + i, 1) for i in (0, 5)]}
                )
                for offset in (n, n + 2)
            ),
        )
        for n in range(2)
    ]
    source = ReplayDataSource(recordings, with_digest=True)
    seen: list[str] = []
    source.set_message_callback(lambda message: seen.append(told(message)))
    steps = []
    while source.player.step_frame():
        steps.append(len(seen))
    assert steps == [2, 4, 6, 8]
    assert seen == ["0", "5", "11", "16", "2", "7", "13", "18"]
    chain = DigestChain()
    for index, message in enumerate(expected_order((recordings[0], recordings[1]))):
        if index % 2 == 0:
            chain.digest()
        chain.update(message, None)
    assert source.chain is not None
    assert source.chain.hexdigest() == chain.hexdigest()


def test_a_seek_into_several_plays_to_the_same_state(tmp_path: Path) -> None:
    recordings = [make(tmp_path / str(n), [n * 30 * MS, n * 30 * MS + 10 * MS], first_id=100 * n) for n in range(3)]
    complete = merged(*recordings)
    for ns in (TS + 1, TS + 10 * MS, TS + 10 * MS + 1, TS + 30 * MS, TS + 45 * MS, TS + 70 * MS + 1):
        there, mover = (
            ReplayDataSource(recordings, end_ns=ns, with_digest=True),
            ReplayDataSource(recordings, with_digest=True),
        )
        before: list[Message] = []
        there.set_message_callback(before.append)
        there.play()
        mover.play()
        mover.player.seek(ns)
        assert mover.tracker.export() == there.tracker.export()
        assert mover.chain is not None
        assert there.chain is not None
        assert mover.chain.hexdigest() == there.chain.hexdigest()
        after: list[Message] = []
        mover.set_message_callback(after.append)
        mover.play()
        assert before + after == complete


def test_a_recording_is_opened_when_the_stream_comes_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So what is held does not grow with their number."""
    recordings = [make(tmp_path / str(n), [n * 30 * MS, n * 30 * MS + 10 * MS], first_id=100 * n) for n in range(3)]
    opened: list[str] = []
    original = Recording.messages

    def messages(self: Recording, *args: Any, **options: Any) -> Any:
        opened.append(self.path.name)
        yield from original(self, *args, **options)

    monkeypatch.setattr(Recording, "messages", messages)
    source = ReplayDataSource(recordings)
    at: list[tuple[str, int]] = []
    source.set_message_callback(lambda message: at.append((told(message), len(opened))))
    source.play()
    assert [count for word, count in at if word.startswith("book")] == [1, 1, 2, 2, 3, 3]


def test_no_recording_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^no recording to replay, expected at least one$"):
        ReplayDataSource([])


def test_the_command_takes_several(tmp_path: Path) -> None:
    recordings = [make(tmp_path / str(n), [n * MS, 10 * MS + n], first_id=100 * n) for n in range(2)]
    result = run(*(str(recording.path) for recording in recordings), "--print")
    assert result.exit_code == 0
    assert len(printed(result)) == len(merged(*recordings)) == 12
    assert "recorded one" not in result.output


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_nothing_is_held_of_a_recording_that_is_over(tmp_path: Path, fidelity: Fidelity) -> None:
    """Memory is that of what is open: the tenth of ten takes no more than the third."""
    recordings = [make(tmp_path / str(n), [(n * 1000 + i) * MS for i in range(200)]) for n in range(10)]
    held: dict[int, int] = {}
    batches = Tape(recordings, fidelity=fidelity).batches(lambda pair, venue: [])
    # What stands from before is left out of the collections, of which there is one for each recording.
    gc.freeze()
    tracemalloc.start()
    try:
        for batch in batches:
            if batch.position >= 0 and batch.position not in held:
                gc.collect()
                held[batch.position] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    of_one = held[0]
    assert held[9] - held[2] < of_one / 2
