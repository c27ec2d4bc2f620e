"""
Going on after a recorder that died.

What it left is healed by the sealing process, so that nothing of that can take the new recorder with it. Where the
healing dies too, the recorder goes on all the same: it plays what the journals hold, which needs no more memory than
recording does, states what may be missing, and leaves the sealing for later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recordings.care.recovery import Recovery, carry_over, finish_leftovers
from recordings.format.manifest import Manifest
from recordings.states.normalizer import Normalizer
from recordings.writing.sealer_process import Recovered, SealerDied, SealerProcess
from toolkit.clock import Clock
from toolkit.errors import RecordingError

__all__ = ["LeftOver", "describe_recovery", "heal"]

#: How often healing is tried before recording goes on without.
TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class LeftOver:
    """
    Where a session begins.

    Attributes:
        next_segment: Number of its first segment.
        next_seq: Number of its first frame.
        segments: Segments of earlier sessions that are still to be sealed, in order.
    """

    next_segment: int = 0
    next_seq: int = 0
    segments: list[int] = field(default_factory=list)

    @classmethod
    def after(cls, manifest: Manifest) -> LeftOver:
        """After what is sealed, when nothing else is there."""
        segments = manifest.segments
        return cls(len(segments), segments[-1].capture_seq_last + 1 if segments else 0)

    @classmethod
    def carried(cls, folder: Path, manifest: Manifest, normalizer: Normalizer, clock: Clock) -> LeftOver:
        """After journals that are sealed later; the normalizer, at the end of what is sealed, goes on to their end."""
        carried = carry_over(folder, manifest, normalizer, clock)
        return cls(carried.next_segment, carried.next_seq, carried.segments)


async def heal(
    folder: Path, sealer: SealerProcess, log: Callable[[str], None], stop: asyncio.Event
) -> Recovered | None:
    """
    Have the sealing process heal a recording; None if it died over it each time.

    Raises RecordingError if the recording cannot be healed, or `stop` was set meanwhile.
    """
    loop = asyncio.get_running_loop()
    for _ in range(TRIES):
        healing = loop.create_task(sealer.recover())
        stopping = loop.create_task(stop.wait())
        await asyncio.wait((healing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not healing.done():
            await sealer.stop()
            with contextlib.suppress(RecordingError):
                await healing
            raise RecordingError(f"{folder}: stopped while an earlier session was recovered; it can be done again")
        try:
            said = healing.result()
        except SealerDied as exc:
            log(f"an earlier session could not be recovered: {exc}")
            continue
        log(describe_recovery(said))
        return said
    await asyncio.to_thread(finish_leftovers, folder)
    log("recording goes on; what the earlier session left is sealed later")
    return None


def describe_recovery(done: Recovered | Recovery) -> str:
    """A line of what was recovered, for a log."""
    text = f"recovered {done.recovered_frames:,} frames of an earlier session"
    if done.left_bytes:
        text += f", {done.left_bytes:,} bytes that could not be read set aside"
    return text
