"""States weigh little: how they are packed, which of them are kept, and that nobody misses the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.care.recovery import recover
from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.format.file_names import files_of
from recordings.format.manifest import Manifest, SourceInfo, read_manifest
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from recordings.states import checkpoints, state_packing
from recordings.states.checkpoints import (
    Checkpoint,
    checkpoint_of,
    encode_checkpoint,
    is_state_of,
    load_checkpoint,
    parse_checkpoint,
)
from recordings.states.normalizer import Normalizer
from recordings.states.state_packing import pack_state, unpack_state
from recordings.storage.crash_points import watching
from replay.seeking import StartFinder
from replay.source import ReplayDataSource
from tests.hand_recorder import HandRecorder
from tests.recordings.strategies import messages
from tests.replay.busy_tapes import Tape
from toolkit.books.book_fusion import BookFusion
from toolkit.books.tracker import TrackerState, empty_pair
from toolkit.clock import ManualClock
from toolkit.errors import RecordingDamaged
from toolkit.messages import BestQuote, BookSnapshot


def played(seed: int, count: int) -> Normalizer:
    frames = Tape(seed, symbols=("BTCUSDT",)).make(count)
    normalizer = Normalizer.for_sources([SourceInfo(venue, 1) for venue in {each.venue: 0 for each in frames}])
    for each in frames:
        for message in normalizer.messages(each):
            normalizer.take(message)
    return normalizer


def on_disk(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in (folder / "checkpoints").iterdir()}


def named(manifest: Manifest) -> set[str]:
    return {file.path for file in files_of(manifest) if file.path.startswith("checkpoints/")}


def recorded(folder: Path, segments: int = 4) -> HandRecorder:
    recorder = HandRecorder(folder)
    for _ in range(segments):
        recorder.write(9)
        recorder.rotate()
        recorder.seal()
    return recorder


@pytest.mark.parametrize("count", [0, 1, 40, 400])
def test_a_packed_state_is_the_state_and_goes_on_alike(count: int) -> None:
    """Late messages, gaps, steps of clocks, books by diffs."""
    state = checkpoint_of(played(7, count))
    content, size = pack_state(state)
    assert unpack_state(content, size) == state
    assert pack_state(unpack_state(content, size)) == (content, size)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.one_of(messages(BestQuote), messages(BookSnapshot)), max_size=4),
    st.lists(st.tuples(st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False), st.floats(0)), min_size=4),
)
def test_messages_of_any_content_come_back_to_the_bit(found: list[Any], keys: list[tuple[int, float, float]]) -> None:
    """None, empty and extreme values; a zero keeps its sign."""
    pair = empty_pair("v", "A-B")
    recent = [((ts, depth), cap, message) for (ts, depth, cap), message in zip(keys, found, strict=False)]
    pair = msgspec.structs.replace(
        pair, fusion=msgspec.structs.replace(pair.fusion, recent=recent), latest={each.form: each for each in found}
    )
    state = Checkpoint({"v": b"x"}, TrackerState([pair, empty_pair("w", "A-B")], [], []), b"0" * 16, {}, -1)
    back = unpack_state(*pack_state(state))
    assert msgspec.msgpack.encode(back) == msgspec.msgpack.encode(state)


def test_a_message_that_a_book_says_twice_is_kept_once() -> None:
    """The last of a form is one of the newest of the pair, mostly; earlier versions repeated it, and are read as before."""
    state = checkpoint_of(played(7, 400))
    content, size = pack_state(state)
    again = unpack_state(content, size)
    shared = [
        message
        for pair in again.tracker.pairs
        for message in pair.latest.values()
        if any(message is each for _, _, each in pair.fusion.recent)
    ]
    assert shared
    apart = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Checkpoint)
    longer, _ = pack_state(apart)
    assert len(longer) > len(content)
    with patch.object(state_packing, "_places", lambda pair: [-1] * len(pair.latest)):
        repeated, repeated_size = pack_state(state)
    codec = pa.Codec("zstd")
    fields = msgspec.msgpack.decode(codec.decompress(repeated, repeated_size, asbytes=True))
    del fields["places"]
    before = msgspec.msgpack.encode(fields)
    assert unpack_state(codec.compress(before, asbytes=True), len(before)) == state == again


def test_a_state_is_a_fraction_of_what_it_says() -> None:
    """Of messages that repeat most of what the one before said."""
    state = checkpoint_of(played(3, 1500))
    assert len(pack_state(state)[0]) < len(msgspec.msgpack.encode(state)) / 4


def test_a_state_of_an_earlier_version_can_be_read() -> None:
    """Plain MessagePack, as recordings have it that were made before."""
    state = checkpoint_of(played(3, 60))
    assert parse_checkpoint(msgspec.msgpack.encode(state)) == state
    assert parse_checkpoint(encode_checkpoint(played(3, 60))) == state


def as_before(monkeypatch: pytest.MonkeyPatch, count: int) -> TrackerState:
    """As earlier versions kept it: the newest 256 messages of each book, whatever can come of them."""
    with monkeypatch.context() as patch:
        patch.setattr(BookFusion, "_tidy", lambda fusion: None)
        state = checkpoint_of(played(5, count)).tracker
    for pair in state.pairs:
        pair.fusion = msgspec.structs.replace(pair.fusion, recent=pair.fusion.recent[-256:], count=0)
    return state


@pytest.mark.parametrize("count", [40, 700])
def test_a_state_of_every_recent_message_is_the_same_state(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    state, now = as_before(monkeypatch, count), played(5, count).tracker
    assert sum(len(pair.fusion.recent) for pair in state.pairs) > sum(
        len(pair.fusion.recent) for pair in now.export().pairs
    )
    assert state != now.export()
    assert is_state_of(state, now)


def test_other_books_are_another_state_whoever_kept_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = played(5, 60).tracker
    assert not is_state_of(as_before(monkeypatch, 90), now)
    assert not is_state_of(played(5, 90).tracker.export(), now)
    missing = as_before(monkeypatch, 60)
    missing.pairs.pop()
    assert not is_state_of(missing, now)


@pytest.mark.parametrize("cut", [0, 3, 4, 11, 12, 40, -1])
def test_a_state_that_was_cut_is_told_in_one_line(cut: int) -> None:
    content = encode_checkpoint(played(3, 60))
    with pytest.raises(RecordingDamaged, match="a checkpoint is damaged"):
        parse_checkpoint(content[:cut])
    with pytest.raises(RecordingDamaged, match="a checkpoint is damaged"):
        parse_checkpoint(content[: len(content) // 2] + b"\0" * 9 + content[len(content) // 2 :])


@pytest.mark.parametrize("size", [0, 1, (1 << 64) - 1])
def test_a_state_of_another_size_is_told_in_one_line(size: int) -> None:
    content = encode_checkpoint(played(3, 60))
    with pytest.raises(RecordingDamaged, match="a checkpoint is damaged"):
        parse_checkpoint(content[:4] + size.to_bytes(8, "little") + content[12:])


@pytest.mark.parametrize("field", ["sides", "recent", "latest", "keys", "kinds", "fields"])
def test_pieces_that_do_not_fit_together_are_no_state(field: str) -> None:
    """Each piece may be sound, as of another version."""
    codec = pa.Codec("zstd")
    content, size = pack_state(checkpoint_of(played(3, 400)))
    packed = msgspec.msgpack.decode(codec.decompress(content, size, asbytes=True))
    empty = packed[field][:0] if field != "recent" else [count + 10_000 for count in packed["recent"]]
    other = msgspec.msgpack.encode({**packed, field: empty})
    with pytest.raises(RecordingDamaged, match="a state is damaged"):
        unpack_state(codec.compress(other, asbytes=True), len(other))


def test_only_the_last_state_of_small_segments_is_kept(tmp_path: Path) -> None:
    """And seeks, verifying, going on and following do without the others."""
    recorder = recorded(tmp_path / "tape")
    manifest = recorder.manifest
    assert manifest.resume is not None
    assert on_disk(recorder.folder) == {manifest.resume.path} == named(manifest)
    assert [segment.checkpoint for segment in manifest.segments] == [None] * 4
    assert verify(recorder.folder).problems == []
    times = [each.ts_recv for each in recorder.frames]
    source = ReplayDataSource(recorder.folder)
    seen: list[int] = []
    source.set_message_callback(lambda message: seen.append(message.capture_seq))
    for number in (30, 5, 20):
        source.player.seek(times[number])
        source.player.step_message()
        assert seen.pop() >= number
    state = load_checkpoint(recorder.folder, manifest.resume)
    fresh = Sealer(recorder.folder).normalizer
    assert checkpoint_of(fresh) == state


def test_states_are_kept_where_they_weigh_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fortieth as many bytes of states as of tables: some are kept, and then none for a while."""
    monkeypatch.setattr(checkpoints, "TABLES_PER_BYTE", 40)
    folder = recorded(tmp_path / "tape", 12).folder
    manifest = read_manifest(folder)
    kept = [segment.number for segment in manifest.segments if segment.checkpoint is not None]
    assert 0 < len(kept) < 11
    since = 0
    for segment in manifest.segments:
        if segment.checkpoint is not None:
            assert since >= 40 * segment.checkpoint.bytes
            since = 0
        since += sum(file.bytes for file in segment.tables.values())
    assert on_disk(folder) == named(manifest)
    assert verify(folder).problems == []


@pytest.mark.parametrize("per_byte", [0, 40])
def test_renormalizing_keeps_states_by_the_same_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_byte: int
) -> None:
    monkeypatch.setattr(checkpoints, "TABLES_PER_BYTE", per_byte)
    recorder = recorded(tmp_path / "tape", 6)
    recorder.end()
    before = recorder.manifest
    renormalize(recorder.folder)
    after = read_manifest(recorder.folder)
    assert [each.checkpoint is None for each in after.segments] == [each.checkpoint is None for each in before.segments]
    assert on_disk(recorder.folder) == named(after)
    assert verify(recorder.folder).problems == []


class Died(BaseException):
    """In place of a kill."""


def test_a_state_that_was_about_to_go_is_not_set_aside(tmp_path: Path) -> None:
    """Killed after the manifest and before the state went."""
    recorder = recorded(tmp_path / "tape", 2)
    recorder.write(9)
    recorder.rotate()

    def die(step: str) -> None:
        if step == "manifest-written":
            raise Died

    with pytest.raises(Died), watching(die):
        recorder.seal()
    folder = recorder.folder
    assert on_disk(folder) - named(read_manifest(folder)) == {"checkpoints/000002.state"}
    assert recover(folder, ManualClock(recorder.frames[-1].ts_recv)).set_aside == []
    assert on_disk(folder) == named(read_manifest(folder))
    assert not (folder / "set-aside").exists()


def test_who_opened_the_recording_before_does_not_miss_a_state(tmp_path: Path) -> None:
    """It went while they read: an earlier one is taken, and nothing is called damaged."""
    recorder = recorded(tmp_path / "tape", 2)
    opened = Recording.open(recorder.folder)
    finder = StartFinder(opened, is_raw=False)
    recorder.write(9)
    recorder.rotate()

    def looked(step: str) -> None:
        if step == "state-removed":
            assert finder.before(recorder.frames[-1].ts_recv, with_digest=True).state is None

    with watching(looked):
        recorder.seal()
    assert opened.manifest.resume is not None
    assert not (recorder.folder / opened.manifest.resume.path).exists()


def test_verifying_what_is_recorded_on_meanwhile_finds_nothing_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorded(tmp_path / "tape", 2)
    opened = Recording.open(recorder.folder)
    recorder.write(9)
    recorder.rotate()
    recorder.seal()
    monkeypatch.setattr(Recording, "open", lambda _: opened)
    assert verify(recorder.folder).problems == []
    assert opened.manifest.resume is not None
    recorder.write(2)
    recorder.end()
    manifest = read_manifest(recorder.folder)
    assert manifest.resume is not None
    monkeypatch.setattr(Recording, "open", lambda _: Recording(recorder.folder, manifest))
    (recorder.folder / manifest.resume.path).unlink()
    assert any("is missing" in problem for problem in verify(recorder.folder).problems)
