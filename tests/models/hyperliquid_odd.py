"""Frames and answers of Hyperliquid with something in them that its sheet does not say; what they tell otherwise stays."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from tests.models.hyperliquid_book import JUNK, PERP

__all__ = ["odd_answer", "odd_entry", "odd_frame"]


def odd_frame(payload: bytes, rng: Random) -> bytes:
    """A frame with an odd row, field, level or stamp."""
    frame = msgspec.json.decode(payload)
    data, channel = frame.get("data"), frame["channel"]
    match channel:
        case "l2Book":
            _spoil_book(data, rng)
        case "bbo":
            _choose(rng, lambda: data.update(time=data["time"] + 600_000), lambda: data.update(bbo=data["bbo"][:1]))
        case "trades":
            good = dict(data[-1]) if data and isinstance(data[-1], dict) else {}
            data.insert(0, rng.choice([5, {**good, "side": "X", "hash": JUNK}, {"hash": JUNK}]))
        case "orderUpdates":
            junk = {"order": {**data[-1]["order"], "oid": 10**12 + rng.randrange(9)}, "status": "levitating"}
            data.insert(0, rng.choice([5, {"order": 7}, {**junk, "statusTimestamp": 5}]))
            data[-1]["order"]["tif"] = {"what": 1}
        case "user" if "fills" in data:
            data["fills"].insert(0, {"coin": PERP, "tid": "seven"})
            data["newKind"] = [1]
        case "userFills":
            data["fills"].insert(0, rng.choice([5, {"px": "1"}]))
        case "userNonFundingLedgerUpdates":
            rows = data["nonFundingLedgerUpdates"]
            rows.insert(0, {"time": 5, "hash": JUNK, "delta": {"type": "brandNew", "usdc": rng.choice(["x", "5"])}})
        case "allDexsClearinghouseState":
            state = data["clearinghouseStates"][0][1]
            odd: Any = rng.choice([{"position": {"coin": "NEW", "szi": "two"}}, {"position": 5}])
            _choose(
                rng,
                lambda: state.update(time=state["time"] + 600_000),
                lambda: state["assetPositions"].append(odd),
            )
        case "spotState":
            data["spotState"]["balances"].append(rng.choice([7, {"coin": "NEW", "total": {}}]))
        case "openOrders":
            data["orders"].append({"coin": PERP})
        case "activeAssetCtx":
            data["ctx"] |= {"funding": "soon", "impactPxs": [1]}
        case _:
            return payload
    return msgspec.json.encode(frame)


def _spoil_book(data: dict[str, Any], rng: Random) -> None:
    bids = data["levels"][0]

    def put_empty_level() -> None:
        bids.insert(0, {"px": str(int(bids[0]["px"]) + 3), "sz": "0.0", "n": 0})
        bids.pop()

    _choose(
        rng,
        lambda: data.update(time=data["time"] + rng.choice([4000, 600_000])),
        lambda: data.update(time=data["time"] - 600_000),
        put_empty_level,
        lambda: bids[0].update(n=None),
        lambda: data.update(spread=None, checksum=[1]),
    )


def odd_answer(tag: str, body: bytes, rng: Random) -> bytes:
    """A REST answer with an odd row, a token of a name that another has, or a coin that is left out."""
    found = msgspec.json.decode(body)
    what = tag.partition(":")[0]
    if what in ("meta", "spotMeta"):
        junk = rng.choice([5, {"name": "ODD"}, {"name": 7, "szDecimals": "x"}])
        twin = {"name": "@400", "tokens": [300, 0], "index": 400}

        def double_the_name() -> None:
            if what == "spotMeta":
                found["tokens"].insert(0, {"name": "HYPE", "szDecimals": 2, "index": 300})
                found["universe"].insert(0, twin)

        _choose(
            rng,
            lambda: found["universe"].insert(0, junk),
            double_the_name,
            lambda: found.update(
                universe=[each for each in found["universe"] if isinstance(each, dict) and each.get("name") == "ETH"]
            ),
        )
        if not found["universe"]:
            found["universe"] = [{"name": "OLD/USDC", "tokens": [150, 0], "index": 3, "isCanonical": True}]
    elif isinstance(found, list):
        found.insert(0, rng.choice([5, {}, {"order": {}}]))
        row = next((each for each in found if isinstance(each, dict) and "coin" in each.get("order", {})), None)
        if what == "historicalOrders" and row is not None:
            unknown = {"order": {**row["order"], "oid": 10**12}, "status": "levitating", "statusTimestamp": 5}
            found.insert(0, unknown)
    return msgspec.json.encode(found)


def odd_entry(body: bytes, rng: Random) -> bytes:
    """A listing with an entry that cannot be read."""
    found = msgspec.json.decode(body)
    found["universe"].insert(0, rng.choice([5, {"name": "ODD"}, {"name": 7, "szDecimals": "x"}]))
    return msgspec.json.encode(found)


def _choose(rng: Random, *ways: Callable[[], Any]) -> None:
    rng.choice(ways)()
