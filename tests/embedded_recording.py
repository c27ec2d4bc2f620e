"""A short recording of the embedded venue, made by the live code through `tickdeck record`, for the tests of documents."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lz4.frame
import msgspec

from recordings.format.manifest import MANIFEST_NAME
from recordings.recording import Recording
from replay.results.result_writing import write_result
from tests.deadlines import HANG_S
from tests.replay.results.runs import small_run
from tests.venue_tapes import tape_of_venues
from toolkit.account_messages import Fill, OrderUpdate
from toolkit.clock import format_ns
from toolkit.frames import WS_IN
from toolkit.messages import BalanceUpdate, BestQuote, BookSnapshot, FundingInfo, Message, Trade

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PAIRS = ("BTC-USD", "ETH-USD")
#: What the documents and examples need of each.
_LEAST: Mapping[type[Message], int] = {BestQuote: 20, BookSnapshot: 4, Trade: 6, FundingInfo: 1}


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
    """Record two pairs for so long, and on until there is enough of each, and of the account if one is named."""
    command = [sys.executable, "-m", "toolkit.cli", "record", "hyperliquid", *PAIRS]
    command += ["--out", str(folder), "--ws-url", urls["ws_url"], "--rest-url", urls["rest_url"], *more]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            time.sleep(seconds)
            kinds = (OrderUpdate, Fill, BalanceUpdate) if "--user" in more else ()
            until_heard(folder, process, *PAIRS, least=_LEAST, kinds=kinds)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=HANG_S)
        finally:
            process.kill()
        assert process.returncode == 0, errors


def until_heard(
    folder: Path,
    process: subprocess.Popen[Any],
    *pairs: str,
    least: Mapping[type[Message], int] = MappingProxyType({}),
    kinds: Collection[type[Message]] = (),
) -> None:
    """
    Wait until a recorder has written something of each pair, however long that takes on this machine.

    Args:
        folder: Folder of its recording.
        process: The recorder.
        pairs: Pairs to wait for.
        least: How many new messages of a class there have to be of each pair.
        kinds: Classes of which there has to be one at all.
    """
    end = time.monotonic() + HANG_S
    while not _is_enough(folder, pairs, least, kinds):
        assert process.poll() is None, f"it has ended: {process.communicate()}"
        assert time.monotonic() < end, f"{folder} has too little of {pairs}"
        time.sleep(0.2)


def _is_enough(
    folder: Path, pairs: Collection[str], least: Mapping[type[Message], int], kinds: Collection[type[Message]]
) -> bool:
    if not (folder / MANIFEST_NAME).exists():
        return False
    heard: Counter[tuple[type[Message], str]] = Counter()
    for batch in Recording.open(folder).messages():
        heard.update(
            (type(message), message.trading_pair) for message in batch if not getattr(message, "is_history", False)
        )
    return (
        {pair for _, pair in heard} >= {*pairs}
        and {kind for kind, _ in heard} >= {*kinds}
        and all(heard[kind, pair] >= count for kind, count in least.items() for pair in pairs)
    )


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


def frames_span(recording: Recording) -> tuple[int, int]:
    """First and last time of a recording that has frames."""
    assert recording.span is not None
    return recording.span


def first_strategy() -> str:
    """The strategy that the page about strategies begins with."""
    found = re.search(r"^```py\n(.*?)^```$", (ROOT / "docs" / "strategies.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def make_workspace(folder: Path) -> None:
    """
    What the documents take for granted: `tapes/monday`, `tapes/tuesday` and `tapes/mine`, recorded with an account,
    `tapes/both` with BTC-USD on several venues, and capture files to import.

    `orders.json` is a script of orders for BTC-USD on `tapes/monday`, `maker.py` a strategy, `examples/strategies` are there
    too, `results/maker` is the result of a small run. `btc.gz` has collector lines, `ws_bbo.jsonl` and `ws_trades.jsonl`
    JSON lines, `BTC.lz4` lines of the archive, and `metadata.json` the venue's metadata replies.
    """
    with embedded_venue() as urls:
        record(folder / "tapes" / "monday", urls, "--user", urls["accounts"]["taker"])
    for other in ("tuesday", "mine", "demo"):
        shutil.copytree(folder / "tapes" / "monday", folder / "tapes" / other)
    tape_of_venues(folder / "tapes" / "both")
    recording = Recording.open(folder / "tapes" / "monday")
    made = small_run()
    made.head = replace(made.head, recordings=[{"name": "monday", "digest": recording.manifest.digest}])
    write_result(made, folder / "results" / "maker")
    shutil.copytree(folder / "results" / "maker", folder / "results" / "wide")
    (folder / "orders.json").write_text(json.dumps({"actions": orders_on(recording)}))
    (folder / "signals.csv").write_text(f"time,side\n{format_ns(frames_span(recording)[0])},buy\n")
    (folder / "maker.py").write_text(first_strategy())
    shutil.copytree(ROOT / "examples" / "strategies", folder / "examples" / "strategies")
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
