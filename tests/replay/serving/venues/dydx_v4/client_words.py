"""What clients say to dYdX v4 when they say it as they should, for tests that break it; and a tape to say it to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from recordings.recording import Recording
from replay.serving.face import Ask
from tests.replay.serving.venues.dydx_v4.test_recorded import opening

__all__ = ["ASKS", "FRAMES", "make_tape", "ws_path"]

ADDRESS: Final = "dydx1n56z5fhmemtffzkt2eqyf9kuc7ycjfs86mvqy7"

#: A well-formed frame of each kind.
FRAMES: Final[list[Any]] = [
    {"type": "ping"},
    {"type": "subscribe", "channel": "v4_orderbook", "id": "BTC-USD", "batched": True},
    {"type": "subscribe", "channel": "v4_markets"},
    {"type": "subscribe", "channel": "v4_candles", "id": "BTC-USD/1MIN"},
    {"type": "subscribe", "channel": "v4_subaccounts", "id": f"{ADDRESS}/0"},
    {"type": "unsubscribe", "channel": "v4_trades", "id": "BTC-USD"},
]
_GETS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("perpetualMarkets", {"limit": 1, "ticker": "BTC-USD"}),
    ("height", {}),
    ("time", {}),
    ("orderbooks/perpetualMarket/BTC-USD", {}),
    ("trades/perpetualMarket/BTC-USD", {"limit": 5, "page": 1, "createdBeforeOrAtHeight": 1}),
    ("historicalFunding/BTC-USD", {"limit": 5, "effectiveBeforeOrAt": "2026"}),
    ("candles/perpetualMarkets/BTC-USD", {"resolution": "1MIN", "fromISO": "a", "toISO": "b", "limit": 3}),
    (f"addresses/{ADDRESS}/subaccountNumber/0", {}),
    ("orders", {"address": ADDRESS, "subaccountNumber": 0, "limit": 3, "status": "OPEN"}),
    ("fills", {"address": ADDRESS, "subaccountNumber": 0, "limit": 3, "page": 2}),
    ("orders/x", {}),
]
#: Requests: what is asked, with what stands for its parameters.
ASKS: Final = [(Ask("GET", f"/v4/{what}", {}, b"", "", ""), query) for what, query in _GETS]


def ws_path(venue: str) -> str:
    """Where a client connects."""
    return "/v4/ws"


def make_tape(venue: str, folder: Path) -> Recording:
    """A recording of the venue."""
    return opening().recording(folder)
