"""
What `tickdeck serve` delivers, and when: many clients at the recorded pace, and one as fast as it reads.

The tape is a USD-M capture behind Binance's interface, its busiest seconds at the recorded pace; without a capture, quotes of
Hyperliquid that are as long and about as dense. Clients are in processes of their own and do nothing but note when a frame
arrived. A frame is late by what passed since the tape's pace made it due.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from benchmarks.captures import sized_payloads
from benchmarks.frame_server import framed
from benchmarks.harness import ROOT, Figure, Options
from recordings.importing.capture_files import CaptureFile
from recordings.importing.importer import ImportOptions, import_capture
from toolkit.clock import NS_PER_S
from toolkit.rng import seeded

__all__ = ["run"]

_BINANCE: Final = "binance/usdm_btcusdt_20240808.gz"
_CLIENTS: Final = 50
_AUDIENCES: Final = 2
_SECONDS: Final = 20.0
_START_NS: Final = 1_790_000_000 * NS_PER_S


class _Tape(NamedTuple):
    """Frames with their times, whose they are, and how to subscribe all of them."""

    origin: str
    venue: str
    path: str
    subscribe: str
    frames: list[tuple[int, bytes]]


def run(options: Options) -> list[Figure]:
    """Measure serving."""
    path = options.capture(_BINANCE)
    tape = _generated(options) if path is None else _captured(options, path)
    pace = tape._replace(frames=_busiest(tape.frames, round(min(_SECONDS, options.seconds) * NS_PER_S)))
    return _at_pace(options, pace) + _as_fast_as_possible(options, tape)


def _figure(name: str, value: float, unit: str, note: str = "") -> Figure:
    return Figure(bench="serving", name=name, value=value, unit=unit, note=note)


# Frames ----------------------------------------------------------------------------------------------------------------


def _captured(options: Options, path: Path) -> _Tape:
    """The capture, less the REST snapshot in it, which is not subscribed to."""
    frames = []
    names: dict[str, None] = {}
    for line in CaptureFile(path, "collector"):
        if line.ts_recv is not None and line.payload.startswith(b'{"stream":"'):
            frames.append((line.ts_recv, line.payload))
            names[line.payload[11 : line.payload.index(b'"', 11)].decode()] = None
    subscribe = json.dumps({"method": "SUBSCRIBE", "params": list(names), "id": 1})
    origin = "USD-M capture (BTCUSDT, 2024-08-08)"
    return _Tape(origin, "binance-usdm", "/public/stream", subscribe, frames[: max(options.frames, 100)])


def _generated(options: Options) -> _Tape:
    """Quotes as long as the frames of a capture."""
    origin, payloads = sized_payloads(options, max(options.frames // 2, 100))
    random, now = seeded("times"), _START_NS
    frames = []
    for payload in payloads:
        now += round(random.expovariate(600) * NS_PER_S)
        frames.append((now, _quote(now, len(payload))))
    subscribe = '{"method":"subscribe","subscription":{"type":"bbo","coin":"BTC"}}'
    return _Tape(origin, "hyperliquid", "", subscribe, frames)


def _quote(time: int, size: int) -> bytes:
    level = {"px": "60000.0", "sz": "1.0", "n": 1}
    data = {"coin": "BTC", "time": time // 10**6, "bbo": [level, {**level, "px": "60001.0"}], "pad": ""}
    bare = msgspec.json.encode({"channel": "bbo", "data": data})
    return msgspec.json.encode({"channel": "bbo", "data": {**data, "pad": "x" * max(0, size - len(bare))}})


def _busiest(frames: list[tuple[int, bytes]], length_ns: int) -> list[tuple[int, bytes]]:
    """The stretch of that length with the most frames."""
    times = np.array([time for time, _ in frames], np.int64)
    ends = np.searchsorted(times, times + length_ns)
    start = int(np.argmax(ends - np.arange(len(times))))
    return frames[start : int(ends[start])]


def _recorded(options: Options, name: str, tape: _Tape) -> Path:
    source, folder = options.folder / f"{name}.txt", options.folder / name
    source.write_bytes(b"".join(b"%d %s\n" % frame for frame in tape.frames))
    import_capture([source], folder, ImportOptions(venue=tape.venue, line_format="collector"))
    return folder


def _written(path: Path, frames: list[tuple[int, bytes]]) -> Path:
    """When each frame is due, and how many bytes it takes."""
    # What the tape keeps pace by is the latest time so far.
    times = np.maximum.accumulate(np.array([time for time, _ in frames], np.int64))
    np.save(path, np.stack([times, np.array([len(framed(payload)) for _, payload in frames], np.int64)]))
    return path


# Processes -------------------------------------------------------------------------------------------------------------


@contextmanager
def _python(*words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    text = process.stdout.readline()
    return text.strip() if text.startswith("ready") else json.loads(text)


def _tell(process: subprocess.Popen[str], value: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(value) + "\n")
    process.stdin.flush()


def _control(url: str, *words: str) -> Any:
    command = [sys.executable, "-m", "toolkit.cli", "ctl", "--url", url, "--json", *words]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)


@contextmanager
def _served(folder: Path, *words: str) -> Iterator[tuple[str, str, int]]:
    with _python("toolkit.cli", "serve", str(folder), "--port", "0", "--json", "--paused", *words) as server:
        facts = _line(server)
        yield facts["url"], next(iter(facts["venues"].values()))["ws_url"], server.pid


def _processor_s(pid: int) -> float | None:
    """Processor time that a process has used; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Measurements ----------------------------------------------------------------------------------------------------------


def _at_pace(options: Options, tape: _Tape) -> list[Figure]:
    """All clients at 1x."""
    folder, frames = _recorded(options, "pace", tape), tape.frames
    times = _written(options.folder / "pace.npy", frames)
    count = max(1, _CLIENTS // _AUDIENCES)
    listen = ("benchmarks.audience", "listen")
    with _served(folder) as (url, ws_url, pid):
        words = (ws_url + tape.path, str(count), str(times), tape.subscribe, "1")
        with _python(*listen, *words) as first, _python(*listen, *words) as second:
            audiences = (first, second)
            for audience in audiences:
                assert _line(audience) == "ready"
            before = _processor_s(pid)
            _control(url, "resume")
            pace = _control(url, "status")["pace"]
            for audience in audiences:
                _tell(audience, pace)
            found = [_line(audience) for audience in audiences]
        after = _processor_s(pid)
        status = _control(url, "status")
    seconds = (frames[-1][0] - frames[0][0]) / NS_PER_S
    note = f"{tape.origin}; {len(frames):,} frames in {seconds:.1f} s to {count * len(audiences)} clients"
    worst = {name: max(each["late_ns"][name] for each in found) / 1e6 for name in found[0]["late_ns"]}
    return [
        _figure("delivered at 1x", sum(each["frames"] for each in found) / seconds, "frames/s", note),
        _figure("late, median", worst["50"], "ms"),
        _figure("late, 99 %", worst["99"], "ms", f"{status['cut_off']} clients cut off; aim: below 20 ms"),
        _figure("late, 99.9 %", worst["99.9"], "ms"),
        _figure("late, at most", worst["100"], "ms"),
        *(
            [_figure("of one core used by the server", (after - before) / seconds * 100, "%")]
            if before and after
            else []
        ),
    ]


def _as_fast_as_possible(options: Options, tape: _Tape) -> list[Figure]:
    """One client without a pace, beside a bare server; by turns, so that both see the same machine."""
    folder, frames = _recorded(options, "fast", tape), tape.frames
    times = _written(options.folder / "fast.npy", frames)
    content = options.folder / "fast.ws"
    content.write_bytes(b"".join(framed(payload) for _, payload in frames))
    bare, ours = [], []
    for _ in range(max(options.repeats, 1)):
        bare.append(_bare_rate(content, times))
        ours.append(_our_rate(folder, times, tape))
    note = f"{tape.origin}; {len(frames):,} frames, median of {options.repeats}"
    middle_bare, middle_ours = statistics.median(bare), statistics.median(ours)
    return [
        _figure("bare websockets server", middle_bare, "frames/s", note),
        _figure("tickdeck serve --speed max", middle_ours, "frames/s"),
        _figure("tickdeck serve over the bare server", middle_ours / middle_bare, "times", "aim: 0.6 at least"),
    ]


def _bare_rate(content: Path, times: Path) -> float:
    with _python("benchmarks.audience", "bare", str(content)) as server:
        url = _line(server)["url"]
        with _python("benchmarks.audience", "listen", url, "1", str(times), "go", "0") as audience:
            assert _line(audience) == "ready"
            _tell(audience, None)
            found = _line(audience)
    return float(found["frames"] / found["seconds"])


def _our_rate(folder: Path, times: Path, tape: _Tape) -> float:
    listen = ("benchmarks.audience", "listen")
    with (
        _served(folder, "--speed", "max") as (url, ws_url, _),
        _python(*listen, ws_url + tape.path, "1", str(times), tape.subscribe, "1") as audience,
    ):
        assert _line(audience) == "ready"
        _control(url, "resume")
        _tell(audience, None)
        found = _line(audience)
    return float(found["frames"] / found["seconds"])
