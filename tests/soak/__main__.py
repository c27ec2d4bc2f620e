"""
`python -m tests.soak`: record a busy venue for ten minutes, rotating every few seconds, and watch.

The venue closes its connections now and then. At the end every frame that it sent must be in the recording.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from recordings.format.manifest import read_manifest
from tests.chaos import truth
from tests.chaos.bench import Bench, ChaosFailure, RecorderProcess, check
from tests.chaos.disks import read_or_nothing
from tests.chaos.hardships import children

SAMPLES_MAX = 240
LINES = 20
#: How much the last quarter may differ from the second.
FLAT = 0.05


@dataclass(frozen=True)
class Sample:
    """What the recorder was like at one time."""

    seconds: float
    rss_mib: float
    sealer_rss_mib: float
    handles: int
    sealer_handles: int
    tasks: int
    frames: int
    segments: int


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ChaosFailure(f"process {pid} has no memory")


def handles(pid: int) -> int:
    """Open file handles of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def sample(recorder: RecorderProcess, port: int, began: float) -> Sample:
    """Look at the recorder and its sealing process."""
    check(recorder.is_alive(), f"the recorder lives; it said:\n{recorder.log[-3000:]}")
    (sealer,) = children(recorder.pid)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=30) as answer:
        status = json.load(answer)
    return Sample(
        time.monotonic() - began,
        rss_mib(recorder.pid),
        rss_mib(sealer),
        handles(recorder.pid),
        handles(sealer),
        status["tasks"],
        status["frames"],
        len(read_or_nothing(recorder.folder)),
    )


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Median of the second and of the last quarter."""
    size = len(values) // 4
    return statistics.median(values[size : 2 * size]), statistics.median(values[-size:])


def drift(samples: Sequence[Sample], name: str) -> float:
    """How much the last quarter is above the second."""
    second, last = quarters([getattr(each, name) for each in samples])
    return last / second - 1


def show(each: Sample) -> None:
    click.echo(
        f"{each.seconds:>7.0f} s{each.rss_mib:>9.1f}{each.sealer_rss_mib:>9.1f}{each.handles:>9}"
        f"{each.sealer_handles:>9}{each.tasks:>7}{each.frames:>12,}{each.segments:>10}"
    )


def watch(recorder: RecorderProcess, seconds: float) -> list[Sample]:
    """Take samples until the time is over, and print some of them."""
    words = recorder.log.partition("status on http://127.0.0.1:")[2]
    port = int(words.partition("/")[0])
    began = time.monotonic()
    every = max(seconds / SAMPLES_MAX, 0.5)
    found: list[Sample] = []
    shown = 0.0
    click.echo("   time      RSS   sealer  handles   sealer  tasks      frames  segments   (RSS in MiB)")
    while time.monotonic() - began < seconds:
        check(recorder.live_for(every), f"the recorder lives; it said:\n{recorder.log[-3000:]}")
        found.append(sample(recorder, port, began))
        if found[-1].seconds >= shown:
            show(found[-1])
            shown += seconds / LINES
    show(found[-1])
    return found


def soak(work: Path, seed: str, minutes: float, rotate: str) -> list[str]:
    """The whole of it; what was not as it should be."""
    with Bench.open(work, "--block-ms", "10", "--close-every-s", "45", seed=seed) as bench:
        recorder = bench.record(None, "--rotate", rotate, "--status-port", "0")
        recorder.until_log(" connected role", 2)
        recorder.until(lambda: len(read_or_nothing(recorder.folder)) >= 2, "it seals")
        samples = watch(recorder, minutes * 60)
        check(recorder.stop() == 0, f"it exits 0; it said:\n{recorder.log[-3000:]}")
        missing = truth.check_sound_tape(recorder.folder, truth.SentLog(bench.venue.sent_log))
        manifest = read_manifest(recorder.folder)
        failures = [f"{missing} frames are missing"] if missing else []
        for name, what in (("rss_mib", "memory of the recorder"), ("sealer_rss_mib", "memory of the sealing process")):
            change = drift(samples, name)
            click.echo(f"{what}: {change:+.1%} from the second quarter to the last")
            if change > FLAT:
                failures.append(f"{what} grew by {change:.1%}")
        for name, what in (
            ("handles", "handles"),
            ("sealer_handles", "handles of the sealing process"),
            ("tasks", "tasks"),
        ):
            second, last = quarters([getattr(each, name) for each in samples])
            click.echo(f"{what}: {second:g} in the second quarter, {last:g} in the last")
            if last > second:
                failures.append(f"{what} grew from {second:g} to {last:g}")
        frames = sum(segment.frame_count for segment in manifest.segments)
        click.echo(f"{frames:,} frames in {len(manifest.segments)} segments, {missing} missing, verify: sound")
        return failures


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--rotate", default="5s", show_default=True, help="Length of a segment.")
@click.option("--seed", default="1", show_default=True, help="Of the venue's market.")
def main(minutes: float, rotate: str, seed: str) -> None:
    """Record for long, and see that nothing grows and nothing is lost."""
    work = Path(tempfile.mkdtemp(prefix="tickdeck-soak-"))
    failures = soak(work, seed, minutes, rotate)
    for failure in failures:
        click.echo(f"FAILED: {failure}")
    if not failures:
        shutil.rmtree(work, ignore_errors=True)
        click.echo("ok")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
