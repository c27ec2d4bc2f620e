"""
To which subscription a recorded frame belongs.

The frequent frames are recognized by their first bytes, without decoding them. Some frames do not say whose they are:
`orderUpdates` and `user` name no account, an aggregated book no rounding. There the recorder's own subscribe on that
connection says it, or the venue's acknowledgement of it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE
from replay.serving.venues.hyperliquid.requests import USER_TYPES, Fatal, ParseFailed, Refused, Subscription, parse
from toolkit.frames import Frame

__all__ = ["LIST_KINDS", "Routes", "StreamKey", "key_of"]

#: The kind of subscription, then what tells it from others of its kind.
StreamKey = tuple[Any, ...]

#: Streams that begin with a frame marked as a snapshot and go on with news, and where the rows are.
LIST_KINDS: Final = {
    "userFills": "fills",
    "userFundings": "fundings",
    "userNonFundingLedgerUpdates": "nonFundingLedgerUpdates",
    "userHistoricalOrders": "orderHistory",
}

_START: Final = b'{"channel":"'
#: What follows the name of a channel whose frames are of one coin, and the kind of subscription that gets them.
_OF_ONE_COIN: Final = {
    b"bbo": (b'","data":{"coin":"', "bbo"),
    b"l2Book": (b'","data":{"coin":"', "l2Book"),
    b"trades": (b'","data":[{"coin":"', "trades"),
    b"activeAssetCtx": (b'","data":{"coin":"', "activeAssetCtx"),
    b"activeSpotAssetCtx": (b'","data":{"coin":"', "activeAssetCtx"),
}
#: Channels that are called otherwise than the subscription.
_KIND_OF_CHANNEL: Final = {"user": "userEvents", "activeSpotAssetCtx": "activeAssetCtx"}
_FAST: Final = b'"fast":true'
_SPREAD: Final = b'"spread":'

_decode = msgspec.json.decode


class _Anything:
    """Contains everything: what was recorded is not checked against a listing."""

    def __contains__(self, _: object) -> bool:
        return True


_ANYTHING: Any = _Anything()


def key_of(wanted: Subscription) -> StreamKey:
    """The stream that a subscription is about."""
    fields = wanted.fields
    match wanted.kind:
        case "l2Book":
            return ("l2Book", fields["coin"], fields["fast"], fields["nSigFigs"], fields["mantissa"])
        case "candle":
            return ("candle", fields["coin"], fields["interval"])
        case "bbo" | "trades" | "activeAssetCtx" as kind:
            return (kind, fields["coin"])
        case "allMids":
            return ("allMids", wanted.dex)
        case kind:
            return (kind, wanted.user, wanted.dex, bool(fields.get("aggregateByTime")))


class Routes:
    """Finds the stream of every frame, and knows what the recorder had subscribed on each connection."""

    def __init__(self) -> None:
        #: What was asked for on each connection, by the stream.
        self._asked: dict[int, dict[StreamKey, None]] = {}
        #: Rounding of the books of a coin on a connection; absent where they are not rounded.
        self._rounded: dict[tuple[int, str], StreamKey] = {}
        self._of_coin: dict[tuple[bytes, bytes], StreamKey] = {}
        self._fast: dict[bytes, StreamKey] = {}

    def connected(self, conn_id: int) -> None:
        """A connection was made again: nothing is subscribed on it yet."""
        self._asked.pop(conn_id, None)
        for key in [key for key in self._rounded if key[0] == conn_id]:
            del self._rounded[key]

    def asked(self, frame: Frame) -> StreamKey | None:
        """The recorder sent something; the stream, if it subscribed one."""
        try:
            request = parse(frame.payload.decode(errors="replace"), _ANYTHING, _ANYTHING)
        except (ParseFailed, Refused, Fatal):
            return None
        if request.subscription is None:
            return None
        return self._note(frame.conn_id, request.subscription, request.method)

    def _note(self, conn_id: int, wanted: Subscription, method: str) -> StreamKey | None:
        key = key_of(wanted)
        asked = self._asked.setdefault(conn_id, {})
        if method != "subscribe":
            asked.pop(key, None)
            return None
        asked[key] = None
        if wanted.kind == "l2Book" and not wanted.fields["fast"]:
            if wanted.fields["nSigFigs"] is None:
                self._rounded.pop((conn_id, wanted.coin), None)
            else:
                self._rounded[conn_id, wanted.coin] = key
        return key

    def key(self, frame: Frame) -> StreamKey | None:
        """The stream of a received frame; None for one that no subscription brings, or that is not known."""
        payload = frame.payload
        if payload.startswith(_START):
            end = payload.find(b'"', 12)
            channel = payload[12:end]
            known = _OF_ONE_COIN.get(channel)
            if known is not None and payload.startswith(known[0], end):
                begin = end + len(known[0])
                coin = payload[begin : payload.find(b'"', begin)]
                if channel == b"l2Book":
                    return self._book(frame, coin)
                key = self._of_coin.get((channel, coin))
                if key is None:
                    key = self._of_coin[channel, coin] = (known[1], coin.decode(errors="replace"))
                return key
        return self._decoded(frame)

    def _book(self, frame: Frame, coin: bytes) -> StreamKey | None:
        payload = frame.payload
        if _FAST in payload:
            key = self._fast.get(coin)
            if key is None:
                key = self._fast[coin] = ("l2Book", coin.decode(errors="replace"), True, None, None)
            return key
        if self._rounded:
            rounded = self._rounded.get((frame.conn_id, coin.decode(errors="replace")))
            if rounded is not None:
                return rounded
        if _SPREAD in payload:
            return None  # rounded, and nothing says how
        key = self._of_coin.get((b"l2Book", coin))
        if key is None:
            key = self._of_coin[b"l2Book", coin] = ("l2Book", coin.decode(errors="replace"), False, None, None)
        return key

    def _decoded(self, frame: Frame) -> StreamKey | None:
        """The same for frames that come seldom, or that were written by others with spaces in between."""
        try:
            message = _decode(frame.payload)
            channel, data = message["channel"], message["data"]
            return self._key_of_data(frame, _KIND_OF_CHANNEL.get(channel, channel), data)
        except (*UNREADABLE, LookupError, TypeError, AttributeError):
            return None

    def _key_of_data(self, frame: Frame, kind: str, data: Any) -> StreamKey | None:
        match kind:
            case "subscriptionResponse":
                self._acknowledged(frame, data)
                return None
            case "trades":
                return ("trades", str(data[0]["coin"]))
            case "l2Book":
                return self._book(
                    msgspec.structs.replace(frame, payload=msgspec.json.encode(data)), str(data["coin"]).encode()
                )
            case "bbo" | "activeAssetCtx":
                return (kind, str(data["coin"]))
            case "candle":
                return ("candle", str(data["s"]), str(data["i"]))
            case "allMids":
                return ("allMids", str(data.get("dex") or ""))
            case _ if kind in USER_TYPES:
                return self._of_user(frame.conn_id, kind, data)
            case _:
                return None

    def _acknowledged(self, frame: Frame, data: Any) -> None:
        text = msgspec.json.encode({"method": data["method"], "subscription": data["subscription"]})
        self.asked(msgspec.structs.replace(frame, payload=text))

    def _of_user(self, conn_id: int, kind: str, data: Any) -> StreamKey | None:
        named = data if isinstance(data, dict) else {}
        if kind == "webData3" and isinstance(named.get("userState"), dict):
            named = named["userState"]
        user, dex = str(named.get("user") or "").lower(), str(named.get("dex") or "")
        for key in self._asked.get(conn_id, ()):
            if key[0] == kind and (not user or (key[1] == user and key[2] == dex)):
                return key
        return (kind, user, dex, False) if user else None
