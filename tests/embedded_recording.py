"""A short recording of the embedded venue, made by the live code through `tickdeck record`, for the tests of documents."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lz4.frame
import msgspec

from recordings.recording import Recording
from tests.venue_tapes import tape_of_venues
from toolkit.clock import format_ns
from toolkit.frames import WS_IN
from toolkit.messages import BestQuote

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PAIRS = ("BTC-USD", "ETH-USD")


@contextmanager
def embedded_venue() -> Iterator[dict[str, Any]]:
    """The venue in a process of its own; its URLs are in what it prints."""
    with subprocess.Popen(
        [sys.executable, "-m", "replay.embedded", "--seed", "7"], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def environment() -> dict[str, str]:
    """What a user has who installed tickdeck: its command on PATH, and its packages."""
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def record(folder: Path, urls: dict[str, Any], *more: str, seconds: float = 4.0) -> None:
    """Record two pairs."""
    command = [sys.executable, "-m", "toolkit.cli", "record", "hyperliquid", *PAIRS, "--duration", f"{seconds}s"]
    command += ["--out", str(folder), "--ws-url", urls["ws_url"], "--rest-url", urls["rest_url"], *more]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)


def orders_on(recording: Recording) -> list[dict[str, Any]]:
    """A script for BTC-USD: a bid at the best price of the first quote, a buy at market after it, and a cancel at last."""
    messages = [message for batch in recording.messages(tables=("bbo",)) for message in batch]
    quote = next(each for each in messages if isinstance(each, BestQuote) and each.trading_pair == "BTC-USD")
    times = [quote.ts_recv + ms * 1_000_000 for ms in (200, 400, 1500)]
    return [
        {"local_ns": times[0], "what": "buy", "id": 1, "price": quote.bid_price, "qty": 0.01, "tif": "GTX"},
        {"local_ns": times[1], "what": "buy", "id": 2, "qty": 0.01, "type": "market"},
        {"local_ns": times[2], "what": "cancel", "id": 1},
    ]


def make_workspace(folder: Path) -> None:
    """
    What the documents take for granted: `tapes/monday`, `tapes/tuesday` and `tapes/mine`, recorded with an account,
    `tapes/both` with BTC-USD on several venues, and capture files to import.

    `orders.json` is a script of orders for BTC-USD on `tapes/monday`. `btc.gz` has collector lines, `ws_bbo.jsonl` and `ws_trades.jsonl` JSON lines, `BTC.lz4` lines of the archive, and
    `metadata.json` the venue's metadata replies.
    """
    with embedded_venue() as urls:
        record(folder / "tapes" / "monday", urls, "--user", urls["accounts"]["taker"])
    for other in ("tuesday", "mine"):
        shutil.copytree(folder / "tapes" / "monday", folder / "tapes" / other)
    tape_of_venues(folder / "tapes" / "both")
    recording = Recording.open(folder / "tapes" / "monday")
    (folder / "orders.json").write_text(json.dumps({"actions": orders_on(recording)}))
    frames = [frame for batch in recording.raw_frames() for frame in batch]
    received = [(frame.ts_recv, frame.payload) for frame in frames if frame.kind == WS_IN]
    with gzip.open(folder / "btc.gz", "wb") as file:
        file.writelines(b"%d %s\n" % line for line in received)
    for name, channel in (("ws_bbo.jsonl", b'"bbo"'), ("ws_trades.jsonl", b'"trades"')):
        lines = [b'{"ts":%d,"payload":%s}\n' % line for line in received if b'"channel":' + channel in line[1]]
        (folder / name).write_bytes(b"".join(lines))
    with lz4.frame.open(folder / "BTC.lz4", "wb") as archive:
        for ts_recv, payload in received:
            if b'"l2Book"' in payload and b'"subscriptionResponse"' not in payload:
                archive.write(b'{"time":"%s","ver_num":1,"raw":%s}\n' % (format_ns(ts_recv)[:-1].encode(), payload))
    replies: dict[str, Any] = {}
    for frame in frames:
        if frame.kind == "rest_in" and frame.context is not None:
            tag = msgspec.json.decode(frame.context)["tag"]
            if tag in ("meta", "spotMeta"):
                replies[tag] = msgspec.Raw(frame.payload)
    (folder / "metadata.json").write_bytes(msgspec.json.encode(replies))
