"""Raw frames played again: whether they give the digests, the states and the rows that were sealed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from recordings.care.made_rows import MadeRows
from recordings.format.manifest import Manifest, Segment
from recordings.format.schema import RAW_TABLE
from recordings.journal.holes import unbroken
from recordings.reading.raw_frames import RAW_BATCH, WIDE_BATCH, sealed_batches
from recordings.recording import Recording
from recordings.states.checkpoints import Checkpoint, is_state_of, load_checkpoint
from recordings.states.compiling_beside import CompilingBeside
from recordings.states.normalizer import Normalizer
from recordings.states.seek_points import open_points
from toolkit.errors import RecordingDamaged, RecordingError

__all__ = ["Played", "RawReplay", "newer_protocols"]

Progress = Callable[[int], None]


class Played(msgspec.Struct):
    """
    What came of some segments.

    Attributes:
        problems: One line each.
        frame_count: Frames read.
        message_count: Messages that they gave.
        digest: Digest after the last of them.
        are_sealed: Whether all rows are those of the sealed tables.
        is_cut: Whether frames are missing, so that it was ended.
        is_over: Whether nothing is to be played after them.
    """

    problems: list[str] = []
    frame_count: int = 0
    message_count: int = 0
    digest: str = ""
    are_sealed: bool = True
    is_cut: bool = False
    is_over: bool = False


def newer_protocols(manifest: Manifest) -> list[str]:
    """Venues whose protocol is of another version today, with both."""
    protocols = Normalizer.for_sources(manifest.sources).protocols
    return [
        f"{source.venue} {source.protocol_version} (now {protocols[source.venue].version})"
        for source in manifest.sources
        if source.protocol_version != protocols[source.venue].version
    ]


class RawReplay:
    """
    Plays segments of a recording.

    Args:
        recording: The recording.
        is_comparable: Whether today's protocols have to give what was sealed.
        has_rows: Whether rows are held against those of the tables, too.
    """

    def __init__(self, recording: Recording, *, is_comparable: bool, has_rows: bool) -> None:
        self.recording = recording
        self.is_comparable = is_comparable
        self.has_rows = has_rows

    def play(self, begin: int, end: int, advance: Progress, normalizer: Normalizer | None = None) -> Played:
        """
        Play segments that follow each other; what cannot be read is a problem, and ends it.

        Args:
            begin: Place of the first of them in the manifest.
            end: Place after the last one.
            advance: Called with the number of frames read since the last call.
            normalizer: The state before the first of them; None for that before all frames.
        """
        segments = self.recording.manifest.segments
        normalizer = normalizer or Normalizer.for_sources(self.recording.manifest.sources)
        # Of several processes the first one has compiled code made, if there is none.
        size = sum(segment.tables[RAW_TABLE].bytes for segment in segments[begin:end]) if not begin else 0
        expected = segments[begin - 1].capture_seq_last + 1 if begin else 0
        played = Played()
        made = MadeRows(self.recording.path, normalizer)
        made.are_sealed = self.is_comparable and self.has_rows
        with CompilingBeside(normalizer, size) as beside:
            try:
                for segment in segments[begin:end]:
                    self._play(segment, expected, normalizer, beside, made, advance, played)
                    if played.is_over:
                        break
                    expected = segment.capture_seq_last + 1
                else:
                    if end == len(segments):
                        self._compare_resume(normalizer, played)
            except RecordingDamaged as exc:
                played.problems.append(str(exc))
                played.is_cut = played.is_over = True
        played.digest, played.message_count = normalizer.chain.hexdigest(), normalizer.chain.message_count
        played.are_sealed = made.are_sealed
        return played

    def _play(
        self,
        segment: Segment,
        expected: int,
        normalizer: Normalizer,
        beside: CompilingBeside,
        made: MadeRows,
        advance: Progress,
        played: Played,
    ) -> None:
        problems = played.problems
        made.begin(segment)
        path = segment.tables[RAW_TABLE].path
        check = _StateCheck(self.recording, segment, problems) if self.is_comparable else None
        for batch in sealed_batches(self.recording.path, [segment], WIDE_BATCH if beside.look() else RAW_BATCH):
            beside.look()
            seqs = batch.column("capture_seq").to_numpy()
            sound = next(unbroken(batch)) if seqs[0] == expected else batch.slice(0, 0)
            rest = sound
            while len(rest):
                if check is not None and expected == check.due_seq:
                    check.compare(normalizer)
                until_due = check.due_seq - expected if check is not None else -1
                count = min(len(rest), until_due) if until_due > 0 else len(rest)
                made.take(rest.slice(0, count))
                rest = rest.slice(count)
                expected += count
            if len(sound) < len(batch):
                problems.append(f"{path} goes on with frame {seqs[len(sound)]}, expected {expected}")
                played.is_cut = played.is_over = True
                return
            played.frame_count += len(batch)
            advance(len(batch))
        if expected != segment.capture_seq_last + 1:
            problems.append(f"{path} ends with frame {expected - 1}, expected {segment.capture_seq_last}")
            played.is_cut = played.is_over = True
            return
        made.end()
        if self.is_comparable and normalizer.chain.hexdigest() != segment.digest:
            problems.append(
                f"the raw frames of segment {segment.number} give the digest {normalizer.chain.hexdigest()}, "
                f"expected {segment.digest}"
            )
            played.is_over = True

    def _compare_resume(self, normalizer: Normalizer, played: Played) -> None:
        """The state that recording goes on from is the one that all frames lead to."""
        file = self.recording.manifest.resume
        if not self.is_comparable or file is None:
            return
        try:
            state = load_checkpoint(self.recording.path, file)
        except RecordingError:
            return  # its hash was found to differ, or there is a later one by now
        normalizer.settle()
        if state.digest != normalizer.chain.digest() or not is_state_of(state.tracker, normalizer.tracker):
            played.problems.append(f"{file.path} holds another state to go on from than all frames give")


class _StateCheck:
    """
    Compares the states kept of a segment with those that playing comes to.

    Attributes:
        due_seq: The frame before which `compare` is to be called; -1 for none.
    """

    def __init__(self, recording: Recording, segment: Segment, problems: list[str]) -> None:
        self._problems = problems
        self._states: list[tuple[int, str, Callable[[], Checkpoint]]] = []
        checkpoint = segment.checkpoint
        if checkpoint is not None and segment.number:
            read = partial(load_checkpoint, recording.path, checkpoint)
            self._states.append((segment.capture_seq_first, checkpoint.path, read))
        if segment.seek_points is not None:
            try:
                file = open_points(recording.path, segment)
            except RecordingDamaged:
                file = None  # its hash was found to differ
            if file is not None:
                path = segment.seek_points.path
                self._states += [(point.capture_seq, path, partial(file.read, point)) for point in file.points]
        self._states.reverse()
        self.due_seq = self._states[-1][0] if self._states else -1

    def compare(self, normalizer: Normalizer) -> None:
        """The normalizer has come to the next of them."""
        normalizer.settle()
        seq, path, read = self._states.pop()
        self.due_seq = self._states[-1][0] if self._states else -1
        try:
            state = read()
        except RecordingError:
            return  # likewise
        if state.digest != normalizer.chain.digest():
            problem = f"digest {state.digest.hex()}, expected {normalizer.chain.hexdigest()}"
        elif not is_state_of(state.tracker, normalizer.tracker):
            problem = "other books than the frames before it give"
        else:
            return
        self._problems.append(f"{path} holds a state before frame {seq} with {problem}")
