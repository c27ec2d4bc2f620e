"""
Where to begin reading a recording, so that the state at a time is known soon.

The newest state before that time is taken, of those within segments and those between them; what follows it is to be
played. One that is missing, damaged or of another version is passed over for the one before it, with one line to the
log, and in the end everything is played: a seek then takes longer, and comes to the same state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

from recordings.recording import Recording
from recordings.states.checkpoints import Checkpoint, load_checkpoint, restore_checkpoint
from recordings.states.normalizer import Normalizer
from recordings.states.seek_points import PointFile, open_points
from toolkit.books.tracker import TrackerState
from toolkit.digest import DIGEST_VERSION
from toolkit.errors import RecordingDamaged, RecordingError

__all__ = ["Start", "StartFinder", "books_of"]

_log = logging.getLogger(__name__)

#: A state that may be begun from: how to read it, where it lies, and the first frame that is not in it.
_Candidate = tuple[Callable[[], Checkpoint], int, int]


@dataclass(frozen=True, slots=True)
class Start:
    """
    Where reading begins.

    Attributes:
        segment: The first segment.
        capture_seq: Its first frame that is played.
        state: State of everything before; None for nothing.
        normalizer: With that state, for raw frames; None for messages.
    """

    segment: int = 0
    capture_seq: int = 0
    state: Checkpoint | None = None
    normalizer: Normalizer | None = None


class StartFinder:
    """
    Finds where to begin in one recording.

    Args:
        recording: Number of the recording.
        is_raw: Whether its raw frames are played; then today's protocols must be those that made the states.
    """

    def __init__(self, recording: Recording, *, is_raw: bool) -> None:
        self._recording = recording
        self._is_raw = is_raw
        self._files: dict[int, PointFile | None] = {}
        self._passed_over: set[str] = set()

    def before(self, ns: int, *, with_digest: bool) -> Start:
        """
        The latest place where every frame before it was received before `ns`.

        Args:
            ns: The time.
            with_digest: Whether the digest has to be that of this version.
        """
        return next(self.starts(ns, with_digest=with_digest), Start())

    def starts(self, ns: int, *, with_digest: bool) -> Iterator[Start]:
        """All such places with a state, the latest first."""
        manifest = self._recording.manifest
        if with_digest and manifest.digest_version != DIGEST_VERSION:
            return
        if self._is_raw:
            protocols = Normalizer.for_sources(manifest.sources).protocols
            if any(protocols[source.venue].version != source.protocol_version for source in manifest.sources):
                return
        for read, segment, capture_seq in self._candidates(ns):
            normalizer = None
            try:
                state = read()
                if self._is_raw:
                    normalizer = Normalizer.for_sources(manifest.sources)
                    restore_checkpoint(state, normalizer)
            except RecordingError as exc:  # damaged, or gone since there is a later one
                self._pass_over(str(exc))
                continue
            yield Start(segment, capture_seq, state, normalizer)

    def _candidates(self, ns: int) -> Iterator[_Candidate]:
        """States whose frames were all received before that time, the latest first."""
        segments = self._recording.manifest.segments
        latest, before = -1, []
        for segment in segments:
            if latest >= ns:
                break
            before.append(latest)
            latest = max(latest, segment.ts_recv_last)
        resume = self._recording.manifest.resume
        if resume is not None and len(before) == len(segments) and latest < ns and segments:
            read = partial(load_checkpoint, self._recording.path, resume)
            yield read, len(segments), segments[-1].capture_seq_last + 1
        for place in reversed(range(len(before))):
            segment = segments[place]
            file = self._file(place)
            if file is not None:
                for point in reversed(file.points):
                    if point.ts_recv_max < ns:
                        yield partial(file.read, point), place, point.capture_seq
            entry = segment.checkpoint
            if place and entry is not None:
                read = partial(load_checkpoint, self._recording.path, entry)
                yield read, place, segment.capture_seq_first

    def _file(self, place: int) -> PointFile | None:
        if place not in self._files:
            self._files[place] = None
            try:
                self._files[place] = open_points(self._recording.path, self._recording.manifest.segments[place])
            except RecordingDamaged as exc:
                self._pass_over(str(exc))
        return self._files[place]

    def _pass_over(self, why: str) -> None:
        if why not in self._passed_over:
            self._passed_over.add(why)
            _log.warning("%s; a seek plays from an earlier one instead", why)


def books_of(state: TrackerState, keys: Collection[tuple[str, str]] | None) -> TrackerState:
    """What a state says of these venues and pairs; of all for None."""
    if keys is None:
        return state
    return TrackerState(
        [books for books in state.pairs if (books.venue, books.trading_pair) in keys],
        [info for info in state.funding if info.key in keys],
        [instrument for instrument in state.instruments if instrument.key in keys],
    )
