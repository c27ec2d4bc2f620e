"""Frames of another venue than the one that is named are refused, with the one that is likely meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from recordings.importing import venue_check
from recordings.importing.capture_files import CaptureFile
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from tests.tapes import TS, bbo_frame, book_frame, collector_line, import_files, trade
from tests.toolkit.cli.terminal import only_error, run
from tests.toolkit.venues.binance_tapes import CAPTURES, Tape
from toolkit.errors import ImportFailed
from toolkit.frames import Frame
from toolkit.messages import Message
from toolkit.protocol import ProtocolOptions, VenueProtocol
from toolkit.venue import find_venue

MS = TS // 1_000_000
HYPERLIQUID = b"".join(
    collector_line(TS + n, bbo_frame("BTC", MS + n, (10.0 + n, 1.0), (20.0, 1.0))) for n in range(30)
)


def binance(venue: str, *kinds: str) -> bytes:
    """Frames of a market by hand, as a collector wrote them."""
    tape = Tape(venue)
    for _ in range(20):
        if "diff" in kinds:
            tape.diff("BTCUSDT")
        if "quote" in kinds:
            tape.quote("BTCUSDT")
        if "trade" in kinds:
            tape.trades("BTCUSDT", more=',"M":true' if venue == "binance-spot" else "")
        if "kline" in kinds:
            tape.stream("btcusdt@kline_1m", '{"e":"kline"}')
    return b"".join(collector_line(frame.ts_recv, frame.payload) for frame in tape.frames)


SPOT_QUOTES = b"".join(
    collector_line(
        TS + n,
        b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"10.0","B":"1.0","a":"11.0","A":"1.0"}}' % n,
    )
    for n in range(1, 30)
)
#: As the venue sends them: with what kind of trade it is, and without the `M` of spot.
USDM_TRADES = b"".join(
    collector_line(
        TS + n,
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"T":%d,"s":"BTCUSDT","t":%d,"p":"10.0","q":"1",'
        b'"X":"MARKET","m":true}}' % (MS, MS, n),
    )
    for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("named", "content", "meant"),
    [
        ("binance-spot", HYPERLIQUID, "hyperliquid"),
        ("dydx_v4", HYPERLIQUID, "hyperliquid"),
        ("hyperliquid", binance("binance-usdm", "diff"), "binance-usdm"),
        ("dydx_v4", binance("binance-spot", "diff", "quote"), "binance-spot"),
        ("binance-spot", binance("binance-usdm", "diff", "quote"), "binance-usdm"),
        ("binance-spot", binance("binance-usdm", "quote"), "binance-usdm"),
        ("binance-usdm", binance("binance-spot", "diff"), "binance-spot"),
        ("binance-usdm", SPOT_QUOTES, "binance-spot"),
        ("binance-spot", USDM_TRADES, "binance-usdm"),
        ("binance-coinm", binance("binance-spot", "trade"), "binance-spot"),
        ("binance-coinm", binance("binance-usdm", "diff", "quote", "trade"), "binance-usdm"),
        ("binance-usdm", binance("binance-usdm", "diff").replace(b"BTCUSDT", b"BTCUSD_PERP"), "binance-coinm"),
    ],
)
def test_a_wrong_venue_fails_and_names_the_likely_one(tmp_path: Path, named: str, content: bytes, meant: str) -> None:
    with pytest.raises(ImportFailed) as caught:
        import_files(tmp_path / "tape", content, venue=named)
    assert f"say --venue {meant}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "tape").exists()


@pytest.mark.parametrize("venue", CAPTURES)
def test_real_captures_are_of_one_market_only(shared_data: Path, tmp_path: Path, venue: str) -> None:
    for other, names in CAPTURES.items():
        path = shared_data / "binance" / names[-1]
        if other != venue:
            with pytest.raises(ImportFailed, match=f"say --venue {other}"):
                import_capture([path], tmp_path / "no", ImportOptions(venue=venue, line_format="collector"))


@pytest.mark.parametrize("name", ["okx/books_20220513.gz", "kraken/futures_20210722.gz", "bybit/spot_btc_20260809.gz"])
@pytest.mark.parametrize("venue", ["binance-usdm", "hyperliquid", "dydx_v4"])
def test_frames_of_a_venue_that_is_not_known_are_refused(
    shared_data: Path, tmp_path: Path, name: str, venue: str
) -> None:
    with pytest.raises(ImportFailed, match="nor do they look like another venue's"):
        import_capture([shared_data / name], tmp_path / "no", ImportOptions(venue=venue, line_format="collector"))


def test_one_wrong_file_among_several_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match=r"tape-1\.txt: none of its first 20 frames is one of hyperliquid"):
        import_files(tmp_path / "tape", HYPERLIQUID, binance("binance-usdm", "diff"))


@pytest.mark.parametrize(
    ("venue", "content"),
    [
        ("binance-spot", binance("binance-spot", "kline")),
        ("binance-spot", binance("binance-spot", "kline", "quote")),
        ("binance-usdm", binance("binance-usdm", "trade")),
        ("hyperliquid", collector_line(TS, {"channel": "pong"})),
        ("hyperliquid", collector_line(TS, {"channel": "new"}) * 5 + HYPERLIQUID),
        ("hyperliquid", collector_line(TS, {"channel": "trades", "data": [trade("BTC", 1, MS)]})),
        ("hyperliquid", collector_line(TS, {"channel": "new"}) * 1500 + collector_line(TS, book_frame("BTC", MS))),
    ],
)
def test_what_may_be_of_the_venue_is_imported(tmp_path: Path, venue: str, content: bytes) -> None:
    """Streams that say nothing of a market, frames of today among those of tomorrow."""
    recording = import_files(tmp_path / "tape", content, venue=venue)
    assert isinstance(recording, Recording)
    assert recording.manifest.status == "sealed"


def snapshot_lines(count: int) -> bytes:
    """So many snapshots of a thousand levels, as a collector of many symbols begins: they may be of either market."""
    levels = ",".join(f'["{price}.5","1.25"]' for price in range(1000, 2000))
    body = f'{{"lastUpdateId":7,"E":{MS},"T":{MS},"bids":[],"asks":[{levels}]}}'
    names = (f"s{number}usdt@depthSnapshot" for number in range(count))
    return b"".join(
        collector_line(TS + number, f'{{"stream":"{name}","data":{body}}}'.encode())
        for number, name in enumerate(names)
    )


def test_a_wrong_market_after_many_long_snapshots_is_found(tmp_path: Path) -> None:
    content = snapshot_lines(120)
    assert len(content) > 2 * venue_check.SAMPLE_BYTES
    with pytest.raises(ImportFailed, match="say --venue binance-spot"):
        import_files(tmp_path / "tape", content + binance("binance-spot", "diff"), venue="binance-usdm")


def test_frames_that_mean_something_are_not_all_played_where_they_are_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venue_check, "SAMPLE_BYTES", 5 * 17_000)
    path = tmp_path / "x.txt"
    path.write_bytes(snapshot_lines(30))
    played: list[bytes] = []
    spec = find_venue("binance-usdm")

    def make_protocol(options: ProtocolOptions) -> VenueProtocol:
        protocol = spec.make_protocol(options)
        receive = protocol.receive

        def noting(frame: Frame) -> Sequence[Message]:
            played.append(frame.payload)
            return receive(frame)

        monkeypatch.setattr(protocol, "receive", noting)
        return protocol

    venue_check.check_venue(CaptureFile(path, "collector"), dataclasses.replace(spec, make_protocol=make_protocol))
    assert 1 <= len(played) < 30


def test_the_command_ends_with_one_line_and_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(HYPERLIQUID)
    done = run("import", "collector", "--venue", "binance-spot", tmp_path / "x.txt", "-o", tmp_path / "tape")
    assert done.exit_code == 1
    assert "say --venue hyperliquid" in only_error(done)
