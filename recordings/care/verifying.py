"""Whether a recording is what it says it is: files, hashes, order, holes, and the digest both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from recordings.care.raw_parts import play_in_parts
from recordings.care.raw_replay import RawReplay, newer_protocols
from recordings.care.recounting import Recount, symbol_problems
from recordings.care.rewriting import is_rewrite_pending
from recordings.checking import file_problem
from recordings.format.file_names import files_of
from recordings.format.manifest import Manifest, Segment, TableFile, inside, read_manifest
from recordings.format.schema import RAW_TABLE
from recordings.journal.journal_reader import JournalReader, journal_path, journal_segments
from recordings.queries.remarks import remarks
from recordings.recording import Recording
from toolkit.books.tracker import OrderBookTracker
from toolkit.digest import DIGEST_VERSION, EMPTY_DIGEST, DigestChain
from toolkit.errors import RecordingDamaged, RecordingError
from toolkit.gc_tuning import rare_collections

__all__ = ["Verification", "verify"]

Progress = Callable[[int], None]


class Verification(msgspec.Struct):
    """
    What was found.

    Attributes:
        manifest: Manifest of the recording.
        problems: One line each: which file, what was found, what was expected. Empty: the recording is sound.
        notes: Checks that could not be made, and why that is no fault; and findings that are no damage but worth
            knowing.
        recorded_digest: Digest that the manifest states.
        live_digest: Digest that the live session computed while receiving; None if it did not.
        raw_digest: Digest of a replay of the sealed raw frames; None where there are none, or that could not be done.
        normalized_digest: Digest of a replay of the normalized rows; None as for raw frames. Rows that are the very ones
            which the frames make have the digest of the frames, and are not replayed.
        frame_count: Raw frames read.
        message_count: Messages read from the normalized rows.
        unsealed_count: Frames that are not sealed; all of them were read.
        unsealed_message_count: Messages that they gave.
        file_count: Files that were compared with their hashes.
    """

    manifest: Manifest
    problems: list[str] = []
    notes: list[str] = []
    recorded_digest: str = ""
    live_digest: str | None = None
    raw_digest: str | None = None
    normalized_digest: str | None = None
    frame_count: int = 0
    message_count: int = 0
    unsealed_count: int = 0
    unsealed_message_count: int = 0
    file_count: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(path: Path, progress: Progress | None = None, *, is_quick: bool = False, jobs: int = 1) -> Verification:
    """
    Check a recording.

    Args:
        path: Its folder.
        progress: Called with the number of frames and messages done since the last call.
        is_quick: Compare files with their hashes, and the manifest with itself, and play nothing.
        jobs: Processes that play raw frames. What is found is the same.

    Raises:
        RecordingError: It cannot be read at all: not a recording, too new, or its manifest is damaged.
    """
    recording = Recording.open(path)
    result = Verification(recording.manifest, recorded_digest=recording.manifest.digest)
    result.live_digest = recording.manifest.live_digest
    if not recording.manifest.is_checked:
        result.notes.append("format version 1: its manifest has no checksum, so nothing vouches for what it says")
    if recording.manifest.is_result:
        result.notes.append(
            f"it is the result of a {recording.manifest.origin} run, which has no raw frames: run it again to see whether"
            " it gives the same digest"
        )
    if is_rewrite_pending(path):
        result.notes.append("it is being rewritten, or that was interrupted: `tickdeck recover` finishes it then")
    sound_files = _check_files(recording, result)
    _check_segments(recording, result)
    _check_journals(recording, result)
    with _noting(result):
        _check_tail(recording, result)
    if is_quick:
        result.notes.append("only files were compared with their hashes: nothing was played")
        return result
    with _noting(result):
        _recount(recording, result, sound_files)
    if "normalized" in sound_files:
        with _noting(result):
            result.notes += remarks(recording)
    advance = progress or (lambda _: None)
    is_any = bool(recording.manifest.segments)
    with rare_collections():
        are_made = False
        if RAW_TABLE in sound_files and is_any:
            with _noting(result):
                are_made = _replay_raw(recording, result, advance, has_rows="normalized" in sound_files, jobs=jobs)
        if "normalized" in sound_files and is_any and not are_made:
            with _noting(result):
                _replay_normalized(recording, result, advance)
        with _noting(result):
            result.unsealed_message_count = recording.tail.summary.message_count if recording.tail is not None else 0
    if result.live_digest is not None and result.live_digest != result.recorded_digest:
        result.problems.append(
            f"the live session computed the digest {result.live_digest}, sealing {result.recorded_digest}"
        )
    return result


def _recount(recording: Recording, result: Verification, sound_files: set[str]) -> None:
    """Compute again what the manifest says of frames and rows."""
    manifest = recording.manifest
    recount = Recount(recording.path, sound_files)
    for segment in manifest.segments:
        result.problems += recount.problems(segment)
    if "normalized" in sound_files:
        result.problems += symbol_problems(manifest, recount.symbols)
    if manifest.origin != "import" or not manifest.segments:
        return
    first = min(segment.ts_recv_first for segment in manifest.segments)
    # The first frame of an import need not be its earliest.
    if not first <= manifest.created_ns <= manifest.segments[0].ts_recv_last:
        result.problems.append(f"the manifest says created_ns {manifest.created_ns}, its first frame {first}")


def _check_journals(recording: Recording, result: Verification) -> None:
    """What is not sealed yet has no hash, but each batch of it has a checksum."""
    folder, sealed = recording.path, len(recording.manifest.segments)
    for number in journal_segments(folder):
        if number < sealed:
            continue  # left over: its frames are sealed
        reader = JournalReader(journal_path(folder, number))
        try:
            for _ in reader.batches():
                pass
        except RecordingDamaged as exc:
            if reader.path.exists():  # it may be sealed this moment
                result.problems.append(str(exc))
            continue
        name = reader.path.relative_to(folder).as_posix()
        # The end may be on its way to the disk, or have been when its recorder died.
        damaged = [(begin, end) for begin, end in reader.unread if begin < reader.good_bytes]
        for begin, end in damaged:
            result.problems.append(f"{name} cannot be read from byte {begin:,} to {end:,}: {reader.problem}")
        if reader.problem and not damaged and not reader.left_bytes and reader.path.stat().st_size:
            result.problems.append(f"{name}: {reader.problem}")
        elif reader.left_bytes:
            result.notes.append(f"{name} ends with {reader.left_bytes:,} bytes that are no whole batch")


def _check_tail(recording: Recording, result: Verification) -> None:
    """Say what is not sealed yet, and what is missing of it."""
    if (tail := recording.tail) is None:
        return
    result.problems += tail.missing
    result.unsealed_count = tail.unsealed.frame_count
    held = "; their checksums were checked, and no digest holds them yet" if result.unsealed_count else ""
    result.notes.append(f"{tail.unsealed}{held}")


def _check_files(recording: Recording, result: Verification) -> set[str]:
    """Compare every file with its entry; which kinds of tables are all sound."""
    sound = {RAW_TABLE, "normalized"}
    for segment in recording.manifest.segments:
        if RAW_TABLE not in segment.tables:
            # The result of a run never had any: nothing crossed a wire.
            if not recording.manifest.is_result:
                result.notes.append(f"segment {segment.number} holds no raw frames any more")
            sound.discard(RAW_TABLE)
        entries = [*segment.tables.items()]
        derived = [segment.checkpoint, segment.seek_points]
        entries += [("derived", file) for file in derived if file is not None]
        for table, file in entries:
            result.file_count += 1
            problem = file_problem(recording.path, file)
            if not problem or (table == "derived" and _is_superseded(recording, file)):
                continue
            result.problems.append(f"{file.path} {problem}")
            if table != "derived":
                sound.discard(RAW_TABLE if table == RAW_TABLE else "normalized")
    resume = recording.manifest.resume
    result.file_count += resume is not None
    problem = file_problem(recording.path, resume) if resume is not None else ""
    if resume is not None and problem and not _is_superseded(recording, resume):
        result.problems.append(f"{resume.path} {problem}")
    return sound


def _is_superseded(recording: Recording, file: TableFile) -> bool:
    """Whether a state went because there is a later one, since the recording was opened."""
    if inside(recording.path, file.path).exists():
        return False
    with suppress(RecordingError):
        return file.path not in {each.path for each in files_of(read_manifest(recording.path))}
    return False


def _check_segments(recording: Recording, result: Verification) -> None:
    """Segments follow each other without a hole, in number, in `capture_seq` and in digest."""
    manifest = recording.manifest
    if manifest.segments and manifest.segments[0].digest_start != EMPTY_DIGEST.hex():
        result.problems.append("segment 0 does not begin with the empty digest")
    if manifest.segments and manifest.origin == "live" and manifest.resume is None:
        result.problems.append("the manifest names no resume file: nothing holds the state to go on from")
    previous: Segment | None = None
    for number, segment in enumerate(recording.manifest.segments):
        if segment.number != number:
            result.problems.append(f"the manifest lists segment {segment.number}, expected {number}")
        expected = 0 if previous is None else previous.capture_seq_last + 1
        if segment.capture_seq_first != expected:
            result.problems.append(
                f"segment {number} begins with frame {segment.capture_seq_first}, expected {expected}"
            )
        if previous is not None and segment.digest_start != previous.digest:
            result.problems.append(f"segment {number} does not continue the digest of segment {number - 1}")
        previous = segment
    if previous is not None and recording.manifest.digest != previous.digest:
        result.problems.append("the manifest's digest is not that of its last segment")


def _replay_raw(recording: Recording, result: Verification, advance: Progress, *, has_rows: bool, jobs: int) -> bool:
    """Run the protocols over the frames; whether what they say is all that the normalized tables hold, too."""
    manifest = recording.manifest
    newer = newer_protocols(manifest)
    comparable = not newer and manifest.digest_version == DIGEST_VERSION
    replay = RawReplay(recording, is_comparable=comparable, has_rows=has_rows)
    played = play_in_parts(replay, jobs, advance) if jobs > 1 and comparable else None
    if played is None:
        played = replay.play(0, len(manifest.segments), advance)
    result.problems += played.problems
    result.frame_count = played.frame_count
    if played.is_cut:
        return False
    result.raw_digest = played.digest
    if not comparable:
        what = f"protocol {', '.join(newer)}" if newer else f"digest version {manifest.digest_version}"
        result.notes.append(f"recorded with {what}: the raw frames give other messages today; see `renormalize`")
    if not played.are_sealed or result.raw_digest != manifest.digest:
        return False
    result.normalized_digest, result.message_count = result.raw_digest, played.message_count
    advance(result.message_count)
    return result.message_count == sum(segment.message_count for segment in manifest.segments)


def _replay_normalized(recording: Recording, result: Verification, advance: Progress) -> None:
    tracker = OrderBookTracker(checked=True)
    chain = DigestChain()
    for segment in recording.manifest.segments:
        count = 0
        for messages in recording.messages([segment]):
            for message in messages:
                chain.update(message, tracker.apply(message))
            count += len(messages)
            advance(len(messages))
        result.message_count += count
        if count != segment.message_count:
            result.problems.append(
                f"segment {segment.number} holds {count:,} messages in its tables, expected {segment.message_count:,}"
            )
        if recording.manifest.digest_version == DIGEST_VERSION and chain.hexdigest() != segment.digest:
            result.problems.append(
                f"the normalized rows of segment {segment.number} give the digest {chain.hexdigest()}, "
                f"expected {segment.digest}"
            )
            break
    result.normalized_digest = chain.hexdigest()


@contextmanager
def _noting(result: Verification) -> Iterator[None]:
    try:
        yield
    except RecordingDamaged as exc:
        result.problems.append(str(exc))
