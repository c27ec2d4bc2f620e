"""Today's protocols over yesterday's raw frames: new normalized tables, the raw ones as they are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from recordings.care.rewriting import Rewrite, copy_of, rewriting, sealed_manifest
from recordings.care.vouching import vouched
from recordings.format.manifest import Manifest, TableFile, lacks_raw
from recordings.format.schema import RAW_TABLE
from recordings.format.software import SOFTWARE
from recordings.journal.holes import unbroken
from recordings.reading.raw_frames import WIDE_BATCH, sealed_batches
from recordings.recording import Recording
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.checkpoints import is_worth_keeping, write_checkpoint, write_if
from recordings.states.compiling_beside import CompilingBeside
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import disk_refusals
from toolkit.digest import DIGEST_VERSION
from toolkit.errors import RecordingDamaged, RecordingError
from toolkit.gc_tuning import rare_collections

__all__ = ["renormalize"]


def renormalize(folder: Path, progress: Callable[[int], None] | None = None) -> Manifest:
    """
    Remake the normalized tables of a recording; the caller holds its lock.

    The old tables stay until the new ones are complete. Segments keep their bounds. The digest becomes that of today's
    messages; `live_digest` goes, since the session that computed it saw others.

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
            new = _remade(Recording(folder, old), rewrite, progress or (lambda _: None))
            rewrite.commit(new)
    return new


def _remade(recording: Recording, rewrite: Rewrite, progress: Callable[[int], None]) -> Manifest:
    old = recording.manifest
    normalizer = Normalizer.for_sources(old.sources)
    new = copy_of(old)
    new.segments = []
    new.symbols = {}
    checkpoint: TableFile | None = None
    size = sum(segment.tables[RAW_TABLE].bytes for segment in old.segments)
    # Arrow lets go of the interpreter while it compresses, so another core does that work.
    with CompilingBeside(normalizer, size) as beside, ThreadPoolExecutor(1) as pool:
        for serial, segment in enumerate(old.segments, rewrite.serial):
            vouched(recording.path, [segment.tables[RAW_TABLE]])
            writer = SegmentWriter(
                rewrite.staging,
                segment.number,
                normalizer,
                checkpoint,
                with_raw=False,
                serial=serial,
                table_writer=pool,
            )
            for batch in sealed_batches(recording.path, [segment], WIDE_BATCH):
                beside.look()
                for rows in unbroken(batch):
                    writer.add_batch(rows)
                progress(len(batch))
            if writer.frame_count != segment.frame_count:
                raise RecordingDamaged(
                    f"{recording.path} holds {writer.frame_count:,} frames of segment {segment.number}, "
                    f"expected {segment.frame_count:,}"
                )
            write = writer.cut()
            if write is None:
                continue
            made = pool.submit(write).result()
            tables = {RAW_TABLE: segment.tables[RAW_TABLE], **made.tables}
            new.segments.append(msgspec.structs.replace(made, tables=tables, imprecise_values=segment.imprecise_values))
            new.symbols.update(writer.symbols)
            if segment is old.segments[-1] and old.resume is not None:
                checkpoint = write_checkpoint(rewrite.staging, serial + 1, normalizer)
            else:
                checkpoint = write_if(partial(is_worth_keeping, new.segments), rewrite.staging, serial + 1, normalizer)
    new.symbols = dict(sorted(new.symbols.items()))
    new.resume = checkpoint if old.resume is not None else None
    new.digest = normalizer.chain.hexdigest()
    new.digest_version = DIGEST_VERSION
    if new.digest != old.digest:
        new.live_digest = None
    new.software = SOFTWARE
    new.sources = [
        msgspec.structs.replace(source, protocol_version=normalizer.protocols[source.venue].version)
        for source in old.sources
    ]
    return new
