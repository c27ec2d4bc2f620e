"""Small recordings for these tests: the real folder, with rows made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.format.manifest import Manifest, Segment, TableFile, write_manifest
from recordings.format.schema import TABLES
from recordings.recording import Recording
from recordings.storage.atomic_files import file_hash

Rows = Sequence[Mapping[str, Any]]


def make_recording(folder: Path, *segments: Mapping[str, Rows]) -> Recording:
    """
    Write a sealed recording.

    Each segment is rows by table. They are sorted as the format says, and what a row leaves out gets a default.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(status="sealed")
    for number, tables in enumerate(segments):
        files, received, seqs = {}, [0], [0]
        for table, rows in tables.items():
            full = [{**DEFAULTS[table], **row} for row in rows]
            if table != "raw":
                full.sort(key=lambda row: tuple(row[name] for name in ("symbol", "capture_seq", "sub_seq")))
            received += [row["ts_recv"] for row in full]
            seqs += [row["capture_seq"] for row in full]
            if table != "raw":
                manifest.symbols.update(
                    {f"{row['venue']}/{row['symbol']}": row["trading_pair"] for row in full if row["symbol"]}
                )
            path = f"{table}/{number:06d}.parquet"
            (folder / table).mkdir(exist_ok=True)
            pq.write_table(pa.Table.from_pylist(full, schema=TABLES[table]), folder / path, store_schema=False)
            files[table] = TableFile(path, len(full), (folder / path).stat().st_size, file_hash(folder / path))
        manifest.segments.append(
            Segment(number, 0, min(seqs), max(seqs), min(received), max(received), "", "", files, {}, 0)
        )
    write_manifest(folder, manifest)
    return Recording.open(folder)


_KEY: dict[str, Any] = {
    "venue": "testex",
    "symbol": "BTC",
    "trading_pair": "BTC-USD",
    "ts_event": None,
    "ts_recv": 0,
    "capture_seq": 0,
    "sub_seq": 0,
}
_QUOTE: dict[str, Any] = {"bid_price": None, "bid_size": None, "ask_price": None, "ask_size": None}
DEFAULTS: dict[str, dict[str, Any]] = {
    "raw": {"capture_seq": 0, "ts_recv": 0, "ts_mono": 0, "venue": "testex", "kind": "text", "payload": "{}"},
    "top": {**_KEY, **_QUOTE, "is_stale": False, "is_crossed": False},
    "bbo": {**_KEY, **_QUOTE, "fused": True},
    "book": {**_KEY, "form": "full", "fused": True, "is_snapshot": True, "is_first": True, "is_last": True},
    "trades": {**_KEY, "aggressor_side": "buy", "price": 1.0, "size": 1.0, "trade_id": "1"}
    | {"is_history": False, "is_duplicate": False},
    "events": {**_KEY, "kind": "notice", "stream": "", "cause": "", "conn_id": -1, "conn_epoch": 0, "detail": ""},
    "fills": {**_KEY, "account": "me", "order_id": "1", "fill_id": "1", "side": "buy", "price": 1.0, "size": 1.0}
    | {"fee": 0.0, "fee_asset": "USD", "is_maker": None, "trade_id": "", "realized_pnl": None, "position_before": None}
    | {"direction": "", "is_history": False},
    "positions": {**_KEY, "account": "me", "size": 0.0, "entry_price": None, "unrealized_pnl": None}
    | {"position_value": None, "margin_mode": "cross"},
    "balances": {**_KEY, "symbol": "", "trading_pair": "", "account": "me", "asset": "USD", "total": 0.0}
    | {"available": 0.0, "wallet": "perp"},
    "funding_payments": {
        **_KEY,
        "account": "me",
        "payment_id": "1",
        "amount": 0.0,
        "asset": "USD",
        "is_history": False,
    },
    "account_events": {**_KEY, "symbol": "", "trading_pair": "", "account": "me", "kind": "deposit", "event_id": "1"}
    | {"asset": "USD", "amount": None, "order_id": "", "detail": "", "is_history": False},
    "funding": {**_KEY, "kind": "current"},
    "orders": {**_KEY, "account": "me", "order_id": "1", "state": "open", "status": "open", "side": "buy", "price": 1.0}
    | {"size": 1.0, "order_type": "limit", "time_in_force": "", "is_reduce_only": False, "is_history": False},
    "instruments": {**_KEY, "kind": "perpetual", "base": "BTC", "quote": "USD", "settle": "USD"}
    | {"multiplier": 1.0, "is_active": True},
}
