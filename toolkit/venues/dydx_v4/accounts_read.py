"""
From frames and replies to what they say of accounts, item by item: an order of a new status, a transfer of a new type
or a value that cannot be read take nothing along that stands beside them.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final

import msgspec

from toolkit.errors import ParseError
from toolkit.venues.dydx_v4.accounts_status import STATUSES
from toolkit.venues.dydx_v4.accounts_wire import (
    DIRECTIONS,
    INWARD,
    OUTWARD,
    POSITION_STATUSES,
    SIDES,
    AssetPosition,
    Contents,
    Fill,
    FundingRow,
    Order,
    Position,
    Reward,
    Subaccount,
    Transfer,
)
from toolkit.venues.dydx_v4.items import Finding, ItemReader, Raws, raw_items, raw_list
from toolkit.venues.dydx_v4.wire import Reader, decoder, time_ns

__all__ = [
    "read_contents",
    "read_fills",
    "read_funding",
    "read_number",
    "read_order",
    "read_orders",
    "read_subaccount",
    "read_transfers",
]

#: A number that a checkpoint in JSON cannot hold is no height.
HEIGHT_MAX: Final = 2**53

_decode_parts: Final[Reader[Raws]] = decoder(Raws, "an account")
_decode_batch: Final[Reader[list[msgspec.Raw]]] = decoder(list[msgspec.Raw], "an account")
_decode_height = msgspec.json.Decoder(int, strict=False).decode


def read_contents(contents: bytes | msgspec.Raw, found: list[Finding], *, is_batch: bool) -> list[Contents]:
    """What a frame says; several things in a batched one. Raises ParseError where nothing can be distinguished."""
    if not is_batch:
        return [_contents(_decode_parts(contents), found)]
    parts: list[Contents] = []
    for raw in _decode_batch(contents):
        try:
            parts.append(_contents(_decode_parts(raw), found))
        except ParseError as exc:
            found.append(Finding(str(exc), is_lost=True))
    return parts


def read_orders(payload: bytes, found: list[Finding]) -> list[Order]:
    """REST `orders`, newest first. Raises ParseError."""
    return _ORDER.read_all(_decode_batch(payload), found)


def read_order(payload: bytes, found: list[Finding]) -> list[Order]:
    """REST `orders/{id}`: one, or none if it cannot be read."""
    return _ORDER.read_all([payload], found)


def read_fills(payload: bytes, found: list[Finding]) -> list[Fill]:
    """REST `fills`, newest first. Raises ParseError."""
    return _FILL.read_all(_rows(payload, "fills"), found)


def read_transfers(payload: bytes, found: list[Finding]) -> list[Transfer]:
    """REST `transfers`, newest first. Raises ParseError."""
    return _TRANSFER.read_all(_rows(payload, "transfers"), found)


def read_funding(payload: bytes, found: list[Finding]) -> list[FundingRow]:
    """REST `fundingPayments`, newest first. Raises ParseError."""
    return _FUNDING.read_all(_rows(payload, "fundingPayments"), found)


def read_subaccount(payload: bytes, found: list[Finding]) -> Subaccount:
    """REST `addresses/{address}/subaccountNumber/{n}`, or that of a parent. Raises ParseError."""
    raw = _decode_parts(payload).get("subaccount")
    whole = _subaccount(raw, found) if raw is not None else None
    if whole is None:
        raise ParseError("a subaccount of another shape than documented")
    return whole


def _rows(payload: bytes, name: str) -> list[msgspec.Raw]:
    raw = _decode_parts(payload).get(name)
    if raw is None:
        raise ParseError(f"{name} of another shape than documented: without {name!r}")
    return _decode_batch(raw)


def _contents(parts: Raws, found: list[Finding]) -> Contents:
    raw = parts.get("subaccount")
    subaccount = None
    if raw is not None and bytes(raw) != b"null":
        # One that cannot be read is not one that was never used.
        subaccount = _subaccount(raw, found) or Subaccount(lost=("",))
    count = sum(finding.is_lost for finding in found)
    positions = _POSITION.read_all(raw_list(parts.get("perpetualPositions"), "positions", found), found)
    assets = _ASSET.read_all(raw_list(parts.get("assetPositions"), "collateral", found), found)
    has_lost_holdings = sum(finding.is_lost for finding in found) > count
    return Contents(
        subaccount=subaccount,
        orders=_ORDER.read_all(raw_list(parts.get("orders"), "orders", found), found),
        fills=_FILL.read_all(raw_list(parts.get("fills"), "fills", found), found),
        perpetualPositions=positions,
        assetPositions=assets,
        transfers=_TRANSFER.read_all(_one_or_many(parts.get("transfers"), found), found),
        tradingReward=_one(_REWARD, parts.get("tradingReward"), found),
        blockHeight=_height(parts.get("blockHeight"), found),
        has_lost_holdings=has_lost_holdings,
    )


def _one_or_many(raw: msgspec.Raw | None, found: list[Finding]) -> list[msgspec.Raw]:
    """The transfers: the venue sends one object."""
    if raw is None or bytes(raw) == b"null":
        return []
    return raw_list(raw, "transfers", found) if bytes(raw).lstrip()[:1] == b"[" else [raw]


def _one(reader: ItemReader[Any], raw: msgspec.Raw | None, found: list[Finding]) -> Any:
    return None if raw is None or bytes(raw) == b"null" else reader.read(raw, found)


def _height(raw: msgspec.Raw | None, found: list[Finding]) -> int | None:
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        height = _decode_height(raw)
    except msgspec.DecodeError:
        height = -1
    if 0 <= height <= HEIGHT_MAX:
        return height
    text = f"an account's blockHeight is {bytes(raw)[:60].decode('utf-8', 'replace')}, expected a height"
    found.append(Finding(text, kind="blockHeight"))
    return None


class _Frame(msgspec.Struct):
    # A subaccount without its holdings, which are read one by one.
    subaccountNumber: Any = None
    equity: float | None = None
    freeCollateral: float | None = None
    latestProcessedBlockHeight: int | None = None


def _subaccount(raw: bytes | msgspec.Raw, found: list[Finding]) -> Subaccount | None:
    try:
        parts = _decode_parts(raw)
    except ParseError as exc:
        found.append(Finding(str(exc), is_lost=True))
        return None
    frame = _FRAME.read(raw, found)
    if frame is None:
        return None
    lost: list[str] = []
    children = None
    if "childSubaccounts" in parts:
        children = []
        for child in raw_list(parts["childSubaccounts"], "childSubaccounts", found):
            member = _subaccount(child, found)
            if member is None:
                lost.append("")
            else:
                children.append(member)
    count = len(found)
    positions = raw_items(parts.get("openPerpetualPositions"), "openPerpetualPositions", found)
    assets = raw_items(parts.get("assetPositions"), "assetPositions", found)
    if len(found) > count:
        lost.append("")
    held = {name: _POSITION.read(each, found, name) for name, each in positions.items()}
    owned = {name: _ASSET.read(each, found, name) for name, each in assets.items()}
    lost += [name for name, item in (*held.items(), *owned.items()) if item is None]
    return Subaccount(
        subaccountNumber=read_number(frame.subaccountNumber, found),
        equity=frame.equity,
        freeCollateral=frame.freeCollateral,
        openPerpetualPositions={name: item for name, item in held.items() if item is not None},
        assetPositions={name: item for name, item in owned.items() if item is not None},
        latestProcessedBlockHeight=frame.latestProcessedBlockHeight,
        childSubaccounts=children,
        lost=tuple(lost),
    )


def read_number(value: Any, found: list[Finding]) -> int | None:
    """The number of a subaccount; None where none is said, or none that can be."""
    if value is None:
        return None
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 7 else value
    if isinstance(number, int) and 0 <= number < 128_000:
        return number
    found.append(Finding(f"a subaccount's number is {value!r:.60}, expected one below 128000", kind="subaccountNumber"))
    return None


# -- what cannot be, and what is not known ------------------------------------------------------------------------


def _check_order(order: Order, found: list[Finding]) -> None:
    _require(bool(order.id), "order id", order.id, "one")
    if order.side is not None and order.side not in SIDES:
        found.append(_word("order side", order.side, tuple(SIDES)))
        order.side = None
    _check_sizes(f"order {order.id}", order.size, order.price, order.totalFilled, order.triggerPrice)
    if order.status not in STATUSES:
        found.append(_word("order status", order.status, tuple(STATUSES)))
    for name in ("updatedAt", "goodTilBlockTime"):
        time = getattr(order, name)
        if time is not None:
            try:
                time_ns(time)
            except ParseError as exc:
                setattr(order, name, None)
                found.append(Finding(f"an order's {name}: {exc}; it is left out", kind=f"order: {name}"))


def _check_fill(fill: Fill, found: list[Finding]) -> None:
    _require(bool(fill.id), "fill id", fill.id, "one")
    _require(fill.side in SIDES, "fill side", fill.side, "'BUY' or 'SELL'")
    if fill.liquidity not in ("TAKER", "MAKER"):
        found.append(_word("liquidity", fill.liquidity, ("TAKER", "MAKER")))
    _require(bool(fill.symbol), "fill without a market", fill.id, "ticker or market")
    _require(0 <= fill.price < inf and 0 <= fill.size < inf, "fill", fill.size, "a price and a size")
    time_ns(fill.createdAt)


def _check_transfer(transfer: Transfer, found: list[Finding]) -> None:
    if transfer.type not in INWARD + OUTWARD:
        found.append(_word("transfer type", transfer.type, INWARD + OUTWARD))
    _require(transfer.size is not None or transfer.amount is not None, "transfer", None, "size or amount")
    _check_sizes("transfer", transfer.size, transfer.amount)
    time_ns(transfer.createdAt)


def _check_funding(row: FundingRow, found: list[Finding]) -> None:
    _require(row.side in DIRECTIONS, "funding side", row.side, "'LONG' or 'SHORT'")
    _check_finite("funding", row.payment, row.size)
    time_ns(row.createdAt)


def _check_reward(reward: Reward, found: list[Finding]) -> None:
    _check_finite("tradingReward", reward.tradingReward)
    time_ns(reward.createdAt)


def _check_position(position: Position, found: list[Finding]) -> None:
    if position.status not in POSITION_STATUSES:
        found.append(_word("position status", position.status, POSITION_STATUSES))
    _check_finite(f"position in {position.market}", position.size)
    _require(position.is_over or position.side in DIRECTIONS, "position side", position.side, "'LONG' or 'SHORT'")


def _check_asset(asset: AssetPosition, found: list[Finding]) -> None:
    _check_finite(f"collateral {asset.symbol}", asset.size)
    _require(not asset.size or asset.side in DIRECTIONS, "collateral side", asset.side, "'LONG' or 'SHORT'")


def _word(what: str, word: str, known: tuple[str, ...]) -> Finding:
    kind = f"{what} {word!r:.60}"
    return Finding(f"{kind} is not known, expected one of {', '.join(known)}; it is kept as it is", kind=kind)


def _require(is_so: bool, what: str, found: Any, expected: str) -> None:
    if not is_so:
        raise ParseError(f"{what} {found!r:.60}, expected {expected}")


def _check_sizes(what: str, *values: float | None) -> None:
    for value in values:
        if value is not None and not 0 <= value < inf:
            raise ParseError(f"{what} is {value}, expected a number of 0 or more")


def _check_finite(what: str, *values: float) -> None:
    for value in values:
        if not -inf < value < inf:
            raise ParseError(f"{what} is {value}, expected a number")


_ORDER: Final = ItemReader(Order, "order", _check_order)
_FILL: Final = ItemReader(Fill, "fill", _check_fill)
_TRANSFER: Final = ItemReader(Transfer, "transfer", _check_transfer)
_FUNDING: Final = ItemReader(FundingRow, "funding payment", _check_funding)
_REWARD: Final = ItemReader(Reward, "trading reward", _check_reward)
_POSITION: Final = ItemReader(Position, "position", _check_position)
_ASSET: Final = ItemReader(AssetPosition, "collateral", _check_asset)
_FRAME: Final = ItemReader(_Frame, "subaccount")
