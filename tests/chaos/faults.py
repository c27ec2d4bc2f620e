"""What networks and venues do: each scenario leaves one clear line, the right exit status, and nothing lost unsaid."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import trustme

from recordings.manifest import read_manifest
from tests.chaos import truth
from tests.chaos.bench import Bench, RecorderProcess, check, cli, until
from toolkit.frames import WS_IN

QUICK = ("--flush", "100ms")
#: Both connections of the venue's protocol.
LINKS = 2


def sound(bench: Bench, folder: Path) -> str:
    """The recording holds what was sent and `verify` says so; what to print about it."""
    missing = truth.check_sound_tape(folder, truth.SentLog(bench.venue.sent_log))
    check(cli("verify", folder).returncode == 0, "verify exits 0")
    manifest = read_manifest(folder)
    frames = sum(segment.frame_count for segment in manifest.segments)
    return f"{frames:,} frames, {missing} under way when a connection ended"


def ended(recorder: RecorderProcess) -> None:
    """It ends well on SIGINT."""
    status = recorder.stop()
    check(status == 0, f"it exits 0, not {status}: {recorder.log}")
    check(not recorder.errors(), f"and says nothing of errors: {recorder.log}")


def failed(recorder: RecorderProcess, *words: str) -> str:
    """It ends with 1 and one line that has those words."""
    status = recorder.wait()
    check(status == 1, f"it exits 1, not {status}: {recorder.log}")
    errors = recorder.errors()
    check(len(errors) == 1, f"one line says why: {recorder.log}")
    check("Traceback" not in recorder.log, f"and no traceback: {recorder.log}")
    for word in words:
        check(word in errors[0], f"the line says {word!r}: {errors[0]}")
    return errors[0]


def events(folder: Path, event: str) -> int:
    """How many control frames of that kind there are."""
    return sum(truth.says(frame, event) for frame in truth.frames_of(folder))


def refused_at_start(work: Path, seed: object) -> str:
    """Nobody listens: one line, exit 1, no folder."""
    with Bench.open(work, seed=seed) as bench:
        bench.proxy.refuse()
        recorder = bench.record(None, *QUICK)
        line = failed(recorder, "connection refused")
        check(not recorder.folder.exists(), "no folder is left behind")
        return line.partition(": ")[2][:80]


def refused_then_there(work: Path, seed: object) -> str:
    """With --wait a venue that comes up later is recorded; until then it can be stopped."""
    with Bench.open(work, seed=seed) as bench:
        bench.proxy.refuse()
        impatient = bench.record(work / "stopped", "--wait", *QUICK)
        impatient.until(lambda: bool(truth.rows_on_disk(work / "stopped")), "what it tries is in the journal")
        ended(impatient)
        truth.check_sound(work / "stopped")
        recorder = bench.record(None, "--wait", *QUICK)
        recorder.until(lambda: "request failed" in recorder.log, "it says that it cannot reach the venue")
        bench.proxy.accept()
        recorder.until_log("connected", LINKS)
        recorder.until_recording(50_000)
        ended(recorder)
        return sound(bench, recorder.folder)


def refused_later(work: Path, seed: object) -> str:
    """The venue goes and comes back: the gap is stated."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(100_000)
        bench.proxy.refuse()
        bench.proxy.reset()
        recorder.until_log("connect failed", LINKS)
        bench.proxy.accept()
        recorder.until_log(" connected role", 2 * LINKS)
        recorder.until_recording(300_000)
        ended(recorder)
        truth.check_gaps(recorder.folder, "gap")
        check(events(recorder.folder, "connect_failed") >= LINKS, "the refusals are events")
        return sound(bench, recorder.folder)


def reset_mid_frame(work: Path, seed: object) -> str:
    """Half a frame, then a reset, several times: no half frame is recorded, none twice."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        for number in range(1, 4):
            recorder.until_log(" connected role", number * LINKS)
            recorder.until_recording(number * 60_000)
            bench.proxy.reset_mid_frame()
            recorder.until_log(" disconnected ", number * LINKS)
        recorder.until_log(" connected role", 4 * LINKS)
        ended(recorder)
        truth.check_gaps(recorder.folder, "gap")
        return sound(bench, recorder.folder)


def half_open(work: Path, seed: object) -> str:
    """Connections stay up and say nothing: the heartbeat finds it out, the streams are stale, it connects anew."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(100_000)
        bench.proxy.stall()
        recorder.until_log("stale silence")
        recorder.until_log("nothing arrived for", LINKS)
        bench.proxy.flow()
        recorder.until_log(" connected role", 2 * LINKS)
        recorder.until_recording(200_000)
        ended(recorder)
        truth.check_gaps(recorder.folder, "gap")
        return sound(bench, recorder.folder)


def slow_network(work: Path, seed: object) -> str:
    """A line that carries less than the venue sends, then a recorder that sleeps: late, but all of it."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(50_000)
        bench.proxy.throttle(30_000)
        recorder.until_recording(150_000)
        bench.proxy.throttle(None)
        recorder.until_recording(300_000)
        recorder.signal(signal.SIGSTOP)
        sent = truth.SentLog(bench.venue.sent_log)
        before = sum(map(len, sent.read().payloads.values()))
        until(lambda: sum(map(len, sent.read().payloads.values())) > before + 500, "the venue sends on")
        recorder.signal(signal.SIGCONT)
        recorder.until_recording(700_000)
        ended(recorder)
        check(events(recorder.folder, "connected") == LINKS, "no connection was lost over it")
        return sound(bench, recorder.folder)


def over_the_limit(work: Path, seed: object) -> str:
    """A frame over the size limit is refused with 1009; it is said, and recording goes on."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(50_000)
        bench.venue.do("huge", size=17 << 20)
        recorder.until_log("1009", LINKS)
        recorder.until_log(" connected role", 2 * LINKS)
        recorder.until_recording(200_000)
        ended(recorder)
        truth.check_gaps(recorder.folder, "gap")
        return sound(bench, recorder.folder)


def rubbish(work: Path, seed: object) -> str:
    """No JSON, no UTF-8, binary, empty, brackets without end: each is kept as it came, and is an event."""
    texts = ["{", "no json", '"a string"', '{"channel":1}', "[" * 10_000]
    hexes = ["ff fe 00 41", "80 81", "c3 28", ""]
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(50_000)
        for text in texts:
            bench.venue.do("text", text=text)
        for each in hexes:
            bench.venue.do("bytes", hex=each)
            bench.venue.do("bytes", hex=each, binary=True)
        recorder.until_log("parse error", LINKS * (len(texts) + 2 * len(hexes)))
        ended(recorder)
        payloads = [frame.payload for frame in truth.frames_of(recorder.folder) if frame.kind == WS_IN]
        for each in hexes:
            check(payloads.count(bytes.fromhex(each)) == 2 * LINKS, f"{each!r} is kept as it came")
        counts = read_manifest(recorder.folder).counts
        check(counts.get("event_parse_error") == LINKS * (len(texts) + 2 * len(hexes)), f"all are events: {counts}")
        return sound(bench, recorder.folder)


def foreign_certificate(work: Path, seed: object) -> str:
    """A certificate that nobody trusts ends it with one line; with its authority named it records."""
    work.mkdir(parents=True, exist_ok=True)
    authority, other = trustme.CA(), trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(work / "venue.pem")
    authority.cert_pem.write_to_path(work / "ca.pem")
    other.cert_pem.write_to_path(work / "other.pem")
    with Bench.open(work, "--tls", str(work / "venue.pem"), seed=seed, scheme="s") as bench:
        failed(bench.record(work / "untrusted", *QUICK), "certificate is not trusted")
        failed(bench.record(work / "wrong", "--ca-file", str(work / "other.pem"), *QUICK), "certificate is not trusted")
        recorder = bench.record(None, "--ca-file", str(work / "ca.pem"), *QUICK)
        recorder.until_recording(50_000)
        ended(recorder)
        return sound(bench, recorder.folder)


def closes_often(work: Path, seed: object) -> str:
    """A venue that closes every connection every 2 s."""
    with Bench.open(work, "--close-every-s", "2", seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_log(" connected role", 4 * LINKS)
        recorder.until_recording(200_000)
        ended(recorder)
        truth.check_gaps(recorder.folder, "gap")
        return sound(bench, recorder.folder)


def too_many_requests(work: Path, seed: object) -> str:
    """HTTP 429 and 500, to REST requests and to handshakes, at the start and later."""
    with Bench.open(work, seed=seed) as bench:
        bench.venue.do("fail_rest", count=1, status=429)
        bench.venue.do("fail_rest", count=1, status=500)
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(100_000)
        for status, words in (("429 Too Many Requests", "HTTP 429"), ("500 Internal Server Error", "HTTP 500")):
            made = recorder.log.count(" connected role")
            bench.proxy.answer(status, "Retry-After: 1\r\n", upgrades_only=True)
            bench.proxy.reset()
            recorder.until_log(words, LINKS)
            bench.proxy.answer(None)
            recorder.until_log(" connected role", made + LINKS)
        recorder.until_recording(300_000)
        ended(recorder)
        statuses = [frame.context or "" for frame in truth.frames_of(recorder.folder) if frame.kind == "rest_in"]
        check(any('"status":429' in each for each in statuses), "the 429 is on record")
        check(any('"status":500' in each for each in statuses), "the 500 is on record")
        truth.check_gaps(recorder.folder, "gap")
        return sound(bench, recorder.folder)


def refuses_for_good(work: Path, seed: object) -> str:
    """HTTP 429 to every handshake from the start: one line, exit 1."""
    with Bench.open(work, seed=seed) as bench:
        bench.proxy.answer("429 Too Many Requests", upgrades_only=True)
        recorder = bench.record(None, *QUICK)
        line = failed(recorder, "HTTP 429", "attempt 3")
        truth.check_sound(recorder.folder)
        return line.partition(": ")[2][:80]


SCENARIOS: dict[str, Callable[[Path, object], str]] = {
    "refused at start": refused_at_start,
    "refused, then there": refused_then_there,
    "refused later": refused_later,
    "refuses for good": refuses_for_good,
    "reset mid-frame": reset_mid_frame,
    "half-open silence": half_open,
    "slow reading": slow_network,
    "frame over the limit": over_the_limit,
    "rubbish": rubbish,
    "foreign certificate": foreign_certificate,
    "closes every 2 s": closes_often,
    "HTTP 429 and 500": too_many_requests,
}
