"""The frames that are measured with: of a real exchange where there is a capture, else of the embedded market."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Final

import lz4.frame
import msgspec

from benchmarks.harness import Options
from recordings.importing.capture_files import CaptureFile
from replay.serving.venues.hyperliquid.synthetic.venue import SyntheticHyperliquid, VenueOptions
from replay.synthetic.market import Market, MarketOptions
from toolkit.clock import NS_PER_MS, NS_PER_S, format_ns
from toolkit.rng import seeded

__all__ = [
    "Capture",
    "archive_frames",
    "book_frames",
    "busy_frames",
    "sized_payloads",
    "write_archive",
    "write_busy",
    "write_collector",
    "write_mixed",
    "write_symbols",
]

ARCHIVE: Final = "hyperliquid/archive_20240101_12_l2Book_BTC.lz4"
BINANCE: Final = "binance/usdm_btcusdt_20240808.gz"
_TIME: Final = re.compile(rb'"time":(\d+)')
#: What goes up in a frame of Binance: update and trade ids, and times in ms. All of it stands in its first bytes.
_IDS: Final = re.compile(rb'"(U|u|pu|lastUpdateId|t|E|T)":(\d+)')
_HEAD_BYTES: Final = 260
_SNAPSHOT: Final = b'{"lastUpdateId"'
#: Frames that the embedded market makes before they are repeated at a later time.
_EMBEDDED_FRAMES: Final = 5_000
_GENESIS_NS: Final = 1_767_225_600 * NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """Frames in order, each with its receive time in ns, and where they come from."""

    origin: str
    frames: list[tuple[int, bytes]]


def book_frames(options: Options) -> Capture:
    """Full-depth books of one coin, 20 levels a side, as Hyperliquid sends them."""
    path = options.capture(ARCHIVE)
    if path is None:
        return Capture(origin="embedded market, seed 7", frames=_embedded_frames(min(options.frames, _EMBEDDED_FRAMES)))
    lines = [(line.ts_recv, line.payload) for line in CaptureFile(path, "archive") if line.ts_recv is not None]
    return Capture(origin="an hour of Hyperliquid's archive (BTC, 2024-01-01)", frames=lines)


def archive_frames(capture: Capture, count: int) -> Iterator[tuple[int, bytes]]:
    """`count` frames: the capture again and again, each time later, on the venue's clock and on ours."""
    frames = capture.frames
    span = frames[-1][0] - frames[0][0] + NS_PER_S
    for number in range(count):
        lap, index = divmod(number, len(frames))
        ts_recv, payload = frames[index]
        if lap:
            later_ms = lap * (span // NS_PER_MS)
            ts_recv += later_ms * NS_PER_MS
            payload = _TIME.sub(lambda found, by=later_ms: b'"time":%d' % (int(found[1]) + by), payload, count=1)  # type: ignore[misc]
        yield ts_recv, payload


def write_archive(capture: Capture, count: int, path: Path) -> Path:
    """The frames as the venue's archive has them: LZ4, a JSON object a line."""
    if not path.exists():
        with lz4.frame.open(path, "wb") as file:
            for ts_recv, payload in archive_frames(capture, count):
                file.write(b'{"time":"%s","ver_num":1,"raw":%s}\n' % (format_ns(ts_recv)[:-1].encode(), payload))
    return path


def write_collector(capture: Capture, count: int, path: Path) -> Path:
    """The frames as collectors write them: gzip, `<receive time> <frame>` a line."""
    if not path.exists():
        with gzip.open(path, "wb", compresslevel=6) as file:
            for ts_recv, payload in archive_frames(capture, count):
                file.write(b"%d %s\n" % (ts_recv, payload))
    return path


def write_symbols(
    options: Options, symbols: int, path: Path, *, has_snapshots: bool, count: int = 94_000
) -> Path | None:
    """
    The USD-M capture as that of so many symbols in turns, each with a stretch of it; None where there is no capture.

    Without snapshots, or with one for each symbol that its first diff follows.
    """
    capture = options.capture(BINANCE)
    if capture is None:
        return None
    payloads = [line.payload for line in CaptureFile(capture, "collector")]
    snapshot = next(payload for payload in payloads if payload.startswith(_SNAPSHOT))
    payloads = [payload for payload in payloads if not payload.startswith(_SNAPSHOT)]
    each = min(max(count // symbols, 1), len(payloads))
    stretches = []
    for number in range(symbols):
        start = number * each % (len(payloads) - each + 1)
        stretch = payloads[start : start + each]
        ids = (dict(_IDS.findall(payload)) for payload in stretch if b'"depthUpdate"' in payload[:_HEAD_BYTES])
        first = next(ids, None)
        if has_snapshots and first is not None:
            body = _IDS.sub(b'"lastUpdateId":%d' % (int(first[b"u"]) - 1), snapshot, count=1)
            stretch.insert(0, b'{"stream":"btcusdt@depthSnapshot","data":%s}' % body)
        name = b"S%dUSDT" % number
        stretches.append([one.replace(b"btcusdt", name.lower()).replace(b"BTCUSDT", name) for one in stretch])
    with gzip.open(path, "wb", compresslevel=1) as file:
        turns = (payload for turn in zip_longest(*stretches) for payload in turn if payload is not None)
        for number, payload in enumerate(turns):
            file.write(b"%d %s\n" % (_GENESIS_NS + number * NS_PER_MS, payload))
    return path


def busy_frames(options: Options) -> tuple[str, str, list[tuple[int, bytes]]]:
    """Venue, origin and frames of a market as busy as can be had: 270 frames a second of one Binance pair."""
    path = options.capture(BINANCE)
    if path is None:
        capture = book_frames(options)
        return "hyperliquid", capture.origin, capture.frames
    lines = [(line.ts_recv, line.payload) for line in CaptureFile(path, "collector") if line.ts_recv is not None]
    return "binance-usdm", "USD-M capture (BTCUSDT, 2024-08-08)", lines


def write_busy(venue: str, frames: list[tuple[int, bytes]], count: int, path: Path, *, first_lap: int = 0) -> Path:
    """
    `count` of the frames as lines of a collector, again and again: later each time, and with ids that go on.

    The chain of depth updates goes on over the laps, and each lap brings its snapshot. `first_lap` begins that many laps
    later.
    """
    if venue != "binance-usdm":
        capture = Capture(origin="", frames=frames)
        skipped = first_lap * len(frames)
        lines: Iterator[tuple[int, bytes]] = islice(archive_frames(capture, skipped + count), skipped, None)
    else:
        lines = _busy_laps(frames, count, first_lap)
    with path.open("wb") as file:
        for ts_recv, payload in lines:
            file.write(b"%d %s\n" % (ts_recv, payload))
    return path


def write_mixed(count: int, path: Path) -> Path:
    """
    `count` frames of fifty coins of Hyperliquid as lines of a collector, made here: all forms of their books and contexts.

    Of twenty frames about fifteen are quotes, two books of five levels, one trades and one a context; fast books are late.
    """
    rng = seeded(7)
    now_ms, middles = _GENESIS_NS // NS_PER_MS, [rng.randint(1_000, 60_000) for _ in range(50)]

    def level(price: int) -> str:
        return f'{{"px":"{price / 10}","sz":"{rng.randint(1, 99_999) / 1000}","n":{rng.randint(1, 30)}}}'

    def side(first: int, sign: int, levels: int) -> str:
        return ",".join(level(first + sign * place) for place in range(levels))

    with path.open("w", encoding="ascii") as file:
        for number in range(count):
            now_ms += rng.choice((0, 0, 1, 2))
            coin = rng.randrange(len(middles))
            middles[coin] += rng.choice((-1, 0, 0, 1))
            middle, head = middles[coin], f'"coin":"C{coin}"'
            match rng.choices(range(5), (75, 10, 1, 5, 5))[0]:
                case 0:
                    sides = f"{level(middle - 1)},{level(middle + 1)}"
                    text = f'"bbo","data":{{{head},"time":{now_ms - 250},"bbo":[{sides}]}}'
                case 1 | 2 as form:
                    levels, fast = (5, ',"fast":true') if form == 1 else (20, "")
                    sides = f"[{side(middle - 1, -1, levels)}],[{side(middle + 1, 1, levels)}]"
                    text = f'"l2Book","data":{{{head},"time":{now_ms - 600},"levels":[{sides}]{fast}}}'
                case 3:
                    trade = f'{head},"side":"{rng.choice("AB")}","px":"{middle / 10}","sz":"0.5"'
                    text = f'"trades","data":[{{{trade},"time":{now_ms - 250},"tid":{number + 1}}}]'
                case _:
                    text = (
                        f'"activeAssetCtx","data":{{{head},"ctx":{{"markPx":"{middle / 10}","funding":"0.0000125"}}}}'
                    )
            file.write(f'{now_ms * NS_PER_MS} {{"channel":{text}}}\n')
    return path


def _busy_laps(frames: list[tuple[int, bytes]], count: int, first_lap: int) -> Iterator[tuple[int, bytes]]:
    span_ms = (frames[-1][0] - frames[0][0]) // NS_PER_MS + 5
    diffs = [payload for _, payload in frames if b'"depthUpdate"' in payload[:_HEAD_BYTES]]
    first, last = (dict(_IDS.findall(payload[:_HEAD_BYTES])) for payload in (diffs[0], diffs[-1]))
    steps = {b"t": 10**6, b"E": span_ms, b"T": span_ms}
    step = int(last[b"u"]) - int(first[b"pu"])  # so that the first diff of a lap follows the last of the one before
    for number in range(count):
        lap, index = divmod(number, len(frames))
        lap += first_lap
        ts_recv, payload = frames[index]

        def later(found: re.Match[bytes], lap: int = lap) -> bytes:
            return b'"%s":%d' % (found[1], int(found[2]) + lap * steps.get(found[1], step))

        yield ts_recv + lap * span_ms * NS_PER_MS, _IDS.sub(later, payload[:_HEAD_BYTES]) + payload[_HEAD_BYTES:]


def sized_payloads(options: Options, count: int = 93_954) -> tuple[str, list[bytes]]:
    """Payloads with the sizes of a busy Binance stream: many quotes and trades, now and then a long depth update."""
    path = options.capture(BINANCE)
    if path is not None:
        payloads = [line.payload for line in CaptureFile(path, "collector") if len(line.payload) < 1 << 16]
        return "USD-M capture (BTCUSDT, 2024-08-08)", payloads[:count]
    # The capture's mix: 70 % quotes, 23 % trades, 7 % depth updates of about 68 levels.
    random = seeded("sizes")
    payloads = []
    for number in range(count):
        kind = random.random()
        size = 190 if kind < 0.703 else 175 if kind < 0.93 else 60 + 24 * max(2, round(random.expovariate(1 / 68)))
        payloads.append(msgspec.json.encode({"u": number, "pad": "x" * (size - 24)}))
    return "generated, with the sizes of a USD-M capture", payloads


def _embedded_frames(count: int) -> list[tuple[int, bytes]]:
    """The synthetic market with a full book pushed on every block."""
    market = Market(MarketOptions(seed=7, genesis_ns=_GENESIS_NS))
    venue = SyntheticHyperliquid(market, VenueOptions(book_every_ns=0))
    session = venue.connect("127.0.0.1", _GENESIS_NS)
    assert session is not None, "the first connection is always let in"
    session.receive('{"method":"subscribe","subscription":{"type":"l2Book","coin":"BTC"}}', _GENESIS_NS)
    session.take()
    frames: list[tuple[int, bytes]] = []
    while len(frames) < count:
        now_ns = market.block_time_ns(market.number + 1)
        venue.advance(now_ns)
        # Frames arrive some milliseconds after the block they are of.
        frames += [(now_ns + 20 * NS_PER_MS + index, text.encode()) for index, text in enumerate(session.take())]
    return frames[:count]
