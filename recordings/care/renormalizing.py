"""Today's protocols over yesterday's raw frames: new normalized tables, the raw ones as they are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from recordings.care.remade_segments import RemadeSegments, remade_segment
from recordings.care.renormalizing_parts import remade_in_parts
from recordings.care.rewriting import Rewrite, copy_of, rewriting, sealed_manifest
from recordings.format.manifest import Manifest, TableFile, lacks_raw
from recordings.format.schema import RAW_TABLE
from recordings.format.software import SOFTWARE
from recordings.recording import Recording
from recordings.states.checkpoints import is_worth_keeping, write_checkpoint, write_if
from recordings.states.compiling_beside import CompilingBeside
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import disk_refusals
from toolkit.digest import DIGEST_VERSION
from toolkit.errors import RecordingError
from toolkit.gc_tuning import rare_collections

__all__ = ["renormalize"]


def renormalize(folder: Path, progress: Callable[[int], None] | None = None, *, jobs: int = 1) -> Manifest:
    """
    Remake the normalized tables of a recording; the caller holds its lock.

    The old tables stay until the new ones are complete. Segments keep their bounds. The digest becomes that of today's
    messages; `live_digest` goes, since the session that computed it saw others.

    Args:
        folder: The recording.
        progress: Called with the number of frames remade since the last call.
        jobs: How many processes do it, each some segments; what is written is the same. A later one passes over the
            frames before its segments first, so each of two is at work for some two thirds of the time of one.

    Raises:
        RecordingError: Raw frames are missing (pruned), the recording was not sealed, or the disk refused.
        RecordingDamaged: Raw frames are not those that were sealed.
    """
    with disk_refusals(folder, "nothing is lost; see to the disk, then renormalize again"):
        old = sealed_manifest(folder)
        for segment in old.segments:
            if RAW_TABLE not in segment.tables:
                raise RecordingError(f"{lacks_raw(folder, segment)}: nothing to renormalize")
        with rewriting(folder, old) as rewrite, rare_collections():
            recording, advance = Recording(folder, old), _Advance(progress or (lambda _: None))
            made = remade_in_parts(recording, rewrite, jobs, advance.by_parts) if jobs > 1 else None
            if made is None:
                made = _remade(recording, rewrite, advance.by_one)
            new = _manifest(old, made)
            rewrite.commit(new)
    return new


class _Advance:
    """Progress of one process goes on where that of several ended whose work came to nothing."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._ahead = 0

    def by_parts(self, count: int) -> None:
        self._ahead += count
        self._progress(count)

    def by_one(self, count: int) -> None:
        again = min(count, self._ahead)
        self._ahead -= again
        self._progress(count - again)


def _remade(recording: Recording, rewrite: Rewrite, progress: Callable[[int], None]) -> RemadeSegments:
    old = recording.manifest
    normalizer = Normalizer.for_sources(old.sources)
    made = RemadeSegments(segments=[], symbols={}, resume=None, digest="", versions={})
    checkpoint: TableFile | None = None
    size = sum(segment.tables[RAW_TABLE].bytes for segment in old.segments)
    with CompilingBeside(normalizer, size) as beside, ThreadPoolExecutor(1) as pool:
        for serial, segment in enumerate(old.segments, rewrite.serial):
            entry, symbols = remade_segment(
                recording, segment, serial, normalizer, beside, rewrite.staging, pool, progress
            )
            made.segments.append(msgspec.structs.replace(entry, checkpoint=checkpoint))
            made.symbols |= symbols
            if segment is not old.segments[-1]:
                is_worth = partial(is_worth_keeping, made.segments)
                checkpoint = write_if(is_worth, rewrite.staging, serial + 1, normalizer)
            elif old.resume is not None:
                made.resume = write_checkpoint(rewrite.staging, serial + 1, normalizer)
    made.digest = normalizer.chain.hexdigest()
    made.versions = {venue: protocol.version for venue, protocol in normalizer.protocols.items()}
    return made


def _manifest(old: Manifest, made: RemadeSegments) -> Manifest:
    new = copy_of(old)
    new.segments = made.segments
    new.symbols = dict(sorted(made.symbols.items()))
    new.resume = made.resume
    new.digest = made.digest
    new.digest_version = DIGEST_VERSION
    if new.digest != old.digest:
        new.live_digest = None
    new.software = SOFTWARE
    new.sources = [
        msgspec.structs.replace(source, protocol_version=made.versions[source.venue]) for source in old.sources
    ]
    return new
