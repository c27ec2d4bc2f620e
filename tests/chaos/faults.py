"""What networks and venues do: each scenario leaves one clear line, the right exit status, and nothing lost unsaid."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import trustme

from recordings.format.manifest import read_manifest
from recordings.queries.gaps import find_gaps
from tests.chaos import truth
from tests.chaos.bench import Bench, RecorderProcess, VenueProcess, check, cli, until
from tests.chaos.proxy import FaultProxy
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
    """Connections stay up and say nothing: the heartbeat finds it out, the streams are stale, it connects again."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(100_000)
        bench.proxy.stall()
        recorder.until_log("stale silence")
        recorder.until_log(" disconnected ", LINKS)
        check("nothing arrived for" in recorder.log or "no data for" in recorder.log, "it says why")
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
        # Each kind is a line at once; those like it are counted.
        recorder.until_log("parse error")
        before = bench.proxy.byte_count
        until(lambda: bench.proxy.byte_count > before + 100_000, "what follows comes through")
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
    """HTTP 403 to every handshake from the start: one line, exit 1."""
    with Bench.open(work, seed=seed) as bench:
        bench.proxy.answer("403 Forbidden", upgrades_only=True)
        recorder = bench.record(None, *QUICK)
        line = failed(recorder, "HTTP 403", "attempt 3")
        truth.check_sound(recorder.folder)
        return line.partition(": ")[2][:80]


def banned(work: Path, seed: object) -> str:
    """A ban at the start, by REST and by handshakes: one silence each, no exit, and it records when it is over."""
    seconds = 4
    with Bench.open(work, seed=seed) as bench:
        bench.proxy.answer("418 I'm a teapot", f"Retry-After: {seconds}\r\n")
        recorder = bench.record(None, *QUICK)
        recorder.until_log("told_to_wait")
        asked = bench.proxy.connection_count
        check(asked == 1, f"one request finds out, not {asked}")
        recorder.live_for(seconds * 0.7)
        check(bench.proxy.connection_count == asked, "nothing is asked until the ban is over")
        check(recorder.is_alive(), f"it does not give up: {recorder.log}")
        bench.proxy.answer("429 Too Many Requests", f"Retry-After: {seconds}\r\n", upgrades_only=True)
        recorder.until_log("told_to_wait", 2)
        bench.proxy.answer(None)
        recorder.until_log(" connected role", LINKS)
        recorder.until_recording(50_000)
        ended(recorder)
        check(f"waits_s={seconds}" in recorder.log, "it says for how long it waits")
        return sound(bench, recorder.folder)


def deaf_peer(work: Path, seed: object) -> str:
    """Connections that answer pings and bring no data: found, subscribed again, made again; trades and quotes are gaps."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(100_000)
        bench.venue.do("deafen")
        recorder.until_log("notice deaf")
        recorder.until_log("no data for")
        recorder.until_log(" connected role", LINKS + 1)
        recorder.until_recording(200_000)
        ended(recorder)
        gaps = find_gaps(recorder.folder)
        for stream in ("trades", "bbo"):
            causes = set(gaps.filter(gaps["stream"] == stream)["cause"])
            check("deaf" in causes, f"{stream} is a gap for being deaf, not {causes}")
        check(events(recorder.folder, "resubscribe") > 0, "it was subscribed again first")
        return sound(bench, recorder.folder)


def flooding_peer(work: Path, seed: object) -> str:
    """A peer that sends pings without end and reads nothing: it is left, in bounded memory, again and again."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(50_000)
        bench.proxy.flood(True)
        bench.proxy.reset()
        recorder.until_log("the venue read nothing of", 2 * LINKS)
        status = Path(f"/proc/{recorder.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0])
        check(peak < 600_000, f"memory stays bounded, not {peak} kB")
        bench.proxy.flood(False)
        bench.proxy.reset()
        made = recorder.log.count(" connected role")
        recorder.until_log(" connected role", made + LINKS)
        recorder.until_recording(200_000)
        ended(recorder)
        return sound(bench, recorder.folder)


def optional_refused(work: Path, seed: object) -> str:
    """What the books do not need is refused by REST: they are recorded, and what is missing is said."""
    with Bench.open(work, seed=seed) as bench:
        bench.proxy.refuse_requests(b'"fundingHistory"', b'"spotMeta"', b'"outcomeMeta"', b'"perpDexs"')
        recorder = bench.record(None, *QUICK)
        recorder.until_log(" connected role", LINKS)
        recorder.until_recording(100_000)
        recorder.until_log("request failed")
        ended(recorder)
        check(events(recorder.folder, "request_failed") > 0, "the refusals are on record")
        return sound(bench, recorder.folder)


def one_of_two_down(work: Path, seed: object) -> str:
    """One venue of two is down at the start, with and without --wait: the other is recorded, and it once it is up."""
    said = []
    for name, options in (("wait", ("--wait",)), ("no wait", ())):
        with Bench.open(work / name, seed=seed) as bench, contextlib.ExitStack() as stack:
            other = VenueProcess(bench.work, "--venue", "binance-usdm", seed=seed)
            stack.callback(other.close)
            proxy = stack.enter_context(FaultProxy(other.port))
            proxy.refuse()
            recorder = bench.record_both(proxy, "binance-usdm", ("BTC-USDT",), *QUICK, *options)
            recorder.until_recording(100_000)
            recorder.until_log("connection refused")
            proxy.accept()
            recorder.until_log("binance-usdm connected role", 2)
            recorder.until(lambda: proxy.byte_count > 200_000, "the other is recorded too")  # noqa: B023
            proxy.refuse()
            proxy.reset()
            recorder.until_log("binance-usdm connect failed")
            recorder.until_recording(300_000)
            ended(recorder)
            frames = truth.frames_of(recorder.folder)
            truth.check_numbers(frames)
            truth.check_digest(recorder.folder)
            truth.check_sound(recorder.folder)
            counts = Counter(frame.venue for frame in frames if frame.kind == WS_IN)
            check(counts["hyperliquid"] and counts["binance-usdm"], f"both are recorded: {counts}")
            said.append(f"{name}: {counts['hyperliquid']:,} and {counts['binance-usdm']:,} frames")
    return "; ".join(said)


SCENARIOS: dict[str, Callable[[Path, object], str]] = {
    "refused at start": refused_at_start,
    "refused, then there": refused_then_there,
    "refused later": refused_later,
    "refuses for good": refuses_for_good,
    "banned": banned,
    "deaf peer": deaf_peer,
    "flooding peer": flooding_peer,
    "optional endpoint refused": optional_refused,
    "one venue of two down": one_of_two_down,
    "reset mid-frame": reset_mid_frame,
    "half-open silence": half_open,
    "slow reading": slow_network,
    "frame over the limit": over_the_limit,
    "rubbish": rubbish,
    "foreign certificate": foreign_certificate,
    "closes every 2 s": closes_often,
    "HTTP 429 and 500": too_many_requests,
}
