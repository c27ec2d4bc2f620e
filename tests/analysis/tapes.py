"""Recordings for these tests: the folder's final shape, written without the recorder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.schema import TABLES

Rows = Sequence[Mapping[str, Any]]


@dataclass
class Tape:
    """A recording that is nothing but its files."""

    path: Path
    manifest: dict[str, Any] = field(default_factory=lambda: {"segments": []})

    def files(self, table: str) -> list[Path]:
        return sorted((self.path / table).glob("*.parquet"))

    def add(self, **tables: Rows) -> Tape:
        """Seal one more segment: rows are sorted as the format says, and what they leave out gets a default."""
        number = len(self.manifest["segments"])
        received = []
        for table, rows in tables.items():
            full = [{**DEFAULTS.get(table, {}), **row} for row in rows]
            key = ("symbol", "capture_seq", "sub_seq")
            if table != "raw":
                full.sort(key=lambda row: tuple(row[name] for name in key))
            received += [row["ts_recv"] for row in full]
            path = self.path / table / f"{number:06d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            schema = TABLES[table]
            pq.write_table(pa.Table.from_pylist(full, schema=schema), path, store_schema=False)
        self.manifest["segments"].append({"number": number, "ts_recv_last": max(received, default=None)})
        return self


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
    "instruments": {**_KEY, "kind": "perpetual", "base": "BTC", "quote": "USD", "settle": "USD"}
    | {"multiplier": 1.0, "is_active": True},
}
