"""Account messages by hand, for the tests of trackers."""

from __future__ import annotations

from typing import Any

from toolkit.account_messages import Fill, OrderState, OrderUpdate, PositionUpdate
from toolkit.messages import Side

ACCOUNT = "0x" + "ab" * 20
MS = 1_000_000


def _head(symbol: str, ts_ms: int | None, seq: int) -> dict[str, Any]:
    return {
        "venue": "hyperliquid",
        "symbol": symbol,
        "trading_pair": f"{symbol}-USD",
        "ts_event": None if ts_ms is None else ts_ms * MS,
        "ts_recv": seq,
        "capture_seq": seq,
        "sub_seq": 0,
        "account": ACCOUNT,
    }


def update(
    state: OrderState = OrderState.OPEN, *, oid: str = "1", ts_ms: int | None = 1, seq: int = 0, **fields: Any
) -> OrderUpdate:
    values = {"side": Side.BUY, "price": 10.0, "size": 3.0, "remaining": None, "status": state.value, **fields}
    return OrderUpdate(**_head("BTC", ts_ms, seq), order_id=oid, state=state, **values)


def fill(
    number: int, size: float = 1.0, *, oid: str = "1", ts_ms: int = 1, seq: int = 0, symbol: str = "BTC", **fields: Any
) -> Fill:
    values: dict[str, Any] = {
        "side": Side.BUY,
        "price": 10.0,
        "fee": 0.1,
        "fee_asset": "USDC",
        "is_maker": True,
        "realized_pnl": 0.0,
        **fields,
    }
    return Fill(**_head(symbol, ts_ms, seq), order_id=oid, fill_id=f"f{number}", size=size, **values)


def position(size: float, *, ts_ms: int = 1, seq: int = 0, **fields: Any) -> PositionUpdate:
    return PositionUpdate(**_head("BTC", ts_ms, seq), size=size, **fields)
