"""Changes of frames, of lines and of files: what damages them, and what nearly means the same."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import lz4.frame
import msgspec
import pyarrow as pa

from tests.toolkit.venues.binance_tapes import REPLACEMENTS
from toolkit.frames import CONTROL, DAMAGED, REST_IN, WS_IN, WS_OUT, Frame, control_payload

__all__ = ["damaged", "mutated", "packed", "written"]

_ALPHABET: Final = b'0123456789.,:"[]{}eE-+tfnu \\\xff\n\0aAbBuUpPsSTqlm@'
_NUMBER: Final = re.compile(rb'"(\d+\.\d+|\d+)"')
_INTEGER: Final = re.compile(rb":(\d+)")
_NAME: Final = re.compile(rb'"stream":"([^"@]*)@([^"]*)"')
_KEY: Final = re.compile(rb'"([A-Za-z]{1,2})":')
_PRICE: Final = re.compile(rb'\["(\d+\.?\d*)","[^"]*"\]')
_LEVEL: Final = re.compile(rb'\["[^"]*","[^"]*"\]')
#: Changes of text beside those that the tests of compiled code know.
_MORE: Final = (
    (b'"pu":', b'"P":'),
    (b'"pu":', b'"P":3,"pu":'),
    (b'"s":"', b'"c":"12345678901234567890","s":"'),
    (b'"s":"', b'"1234567890123456789":null,"s":"'),
    (b'"s":"BTCUSDT"', b'"s":"1234567890123456"'),
    (b'"e":"', b'"e":"x'),
    (b'"data":{', b'"data":{"stream":"ethusdt@trade",'),
    (b'{"stream":"', b'{"stream":"btcusdt@kline_1m","stream":"'),
    (b"}}", b"}}}"),
    (b"{", b"\xef\xbb\xbf{"),
    (b'"', b'"\xff'),
    (b'"E":1', b'"E":"1'),
    (b'"m":true', b'"m":1'),
)


def _sub(pattern: re.Pattern[bytes], payload: bytes, rng: random.Random, change: Callable[[bytes], bytes]) -> bytes:
    """One match of the pattern, its first group or all of it, changed."""
    found = list(pattern.finditer(payload))
    if not found:
        return payload
    match = rng.choice(found)
    group = 1 if pattern.groups else 0
    return payload[: match.start(group)] + change(match[group]) + payload[match.end(group) :]


def _byte(payload: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(payload) + 1)
    fresh = bytes([rng.choice(_ALPHABET)])
    return payload[:at] + fresh + payload[at + rng.choice((0, 1, 1)) :]


def _cut(payload: bytes, rng: random.Random) -> bytes:
    return payload[: rng.randrange(len(payload) + 1)]


def _text(payload: bytes, rng: random.Random, texts: Sequence[tuple[bytes, bytes]]) -> bytes:
    old, new = rng.choice(texts)
    return payload.replace(old, new, 1)


def _number(payload: bytes, rng: random.Random) -> bytes:
    """A decimal with more digits, or others: the sixteenth and seventeenth digit too."""

    def change(text: bytes) -> bytes:
        digits = rng.choice((1, 2, 8, 14, 16, 17, 18, 20))
        tail = b"%0*d" % (digits, rng.choice((0, 1, rng.randrange(10**digits))))
        return rng.choice(
            (text + tail, text + b"." + tail, tail, text[:-1] + b"1", b"0", b"0." + tail, tail + b"." + tail[:3])
        )

    return _sub(_NUMBER, payload, rng, change)


def _twin(payload: bytes, rng: random.Random) -> bytes:
    """Two prices that are one float64, or nearly."""
    whole = rng.randrange(10**15, 9 * 10**15)
    point = rng.randint(1, 15)
    texts = [b"%d" % (whole + rng.randint(0, 2)) for _ in range(3)]
    levels = b",".join(b'["%s.%s","%d"]' % (text[:point], text[point:], rng.randint(0, 2)) for text in texts)
    return payload.replace(b'"a":[', b'"a":[' + levels + rng.choice((b",", b"")), 1)


def _near(payload: bytes, rng: random.Random) -> bytes:
    """
    Beside a level of the payload others that differ from it in the sixteenth or seventeenth digit.

    There some are one float64, where the digits begin with what is just above a power of two.
    """
    found = _PRICE.search(payload)
    if found is None:
        return payload
    whole, _, rest = found[1].partition(b".")
    count = rng.choice((16, 16, 17)) - len((whole + rest).lstrip(b"0"))
    if count <= 0:
        return payload
    units = int(whole + rest + b"0" * count)
    decimals = len(rest) + count
    texts = [b"%0*d" % (decimals + 1, units + rng.randint(0, 3)) for _ in range(4)]
    levels = b",".join(b'["%s.%s","%d"]' % (text[:-decimals], text[-decimals:], rng.randint(0, 2)) for text in texts)
    return payload[: found.start()] + levels + b"," + payload[found.start() :]


def _integer(payload: bytes, rng: random.Random) -> bytes:
    def change(text: bytes) -> bytes:
        value = int(text[:19])
        return b"%d" % rng.choice((value + 1, value - 1, 0, -1, value * 10**6, 2**63 - 1, 2**64, value + 10**4, 7))

    return _sub(_INTEGER, payload, rng, change)


def _name(payload: bytes, rng: random.Random) -> bytes:
    """A stream's name in other case, with escapes, without end, or another one."""

    def change(text: bytes) -> bytes:
        at = rng.randrange(len(text)) if text else 0
        return rng.choice(
            (
                text.upper(),
                text.title(),
                text[:at] + b"\\u%04x" % (text[at] if text else 65) + text[at + 1 :],
                text[:64] * rng.choice((2, 40, 300, 9000)),  # it may have been made long before
                b"y" * rng.choice((250, 256, 257, 1500, 4096, 70_000)),
                text + b"\\\\",
                text + b"\xc3\xa9",
                b"ethusdt",
                b"x%d" % rng.randrange(50),
            )
        )

    return _sub(_NAME, payload, rng, change)


def _key(payload: bytes, rng: random.Random) -> bytes:
    return _sub(
        _KEY, payload, rng, lambda _: rng.choice((b"P", b"pu", b"st", b"E", b"T", b"u", b"U", b"X", b"\x01", b"aa"))
    )


def _level(payload: bytes, rng: random.Random) -> bytes:
    return _sub(
        _LEVEL,
        payload,
        rng,
        lambda text: rng.choice((text + b"," + text, text[:-1] + b",[]]", text[:-1] + b',"1"]', b"[]", text * 2)),
    )


#: None: a change of text.
_PAYLOADS: Final = (_byte, _byte, _cut, None, None, _number, _twin, _near, _near, _integer, _name, _key, _level)


def mutated(
    rng: random.Random,
    frames: Sequence[Frame],
    texts: Sequence[tuple[bytes, bytes]] = (*REPLACEMENTS, *_MORE),
    symbol: str = "BTCUSDT",
) -> list[Frame]:
    """
    The frames with some of them changed, left out, doubled, swapped, and of another kind; numbered again.

    `texts` are changes of text that mean something to their venue, of which `symbol` is one.
    """
    share = rng.choice((0.0, 0.0005, 0.003, 0.02, 0.2))
    found: list[Frame] = []
    for frame in frames:
        found.append(frame)
        if rng.random() >= share:
            continue
        match rng.randrange(12):
            case 0:
                found.append(frame)
            case 1:
                found.pop()
            case 2 if len(found) > 1:
                found[-2:] = found[-1], found[-2]
            case 3:
                kind = rng.choice((CONTROL, REST_IN, WS_OUT, DAMAGED, "other"))
                found[-1] = msgspec.structs.replace(frame, kind=kind)
            case 4:
                found[-1] = msgspec.structs.replace(frame, conn_id=rng.choice((-1, 0, 1, 2, 5000)))
            case 5:
                found[-1] = msgspec.structs.replace(
                    frame, ts_recv=max(frame.ts_recv + rng.choice((-1, 1, -(10**10), 10**11)), 0)
                )
            case 6:
                event = rng.choice(("disconnected", "session_end", "connected", "stale"))
                payload = control_payload(event, cause="x", symbol=symbol, stream="full")
                found.append(msgspec.structs.replace(frame, kind=CONTROL, payload=payload))
            case _:
                payload = frame.payload
                for _ in range(rng.choice((1, 1, 1, 3))):
                    change = rng.choice(_PAYLOADS)
                    payload = _text(payload, rng, texts) if change is None else change(payload, rng)
                found[-1] = msgspec.structs.replace(frame, payload=payload)
    return [msgspec.structs.replace(frame, capture_seq=number) for number, frame in enumerate(found)]


def written(rng: random.Random, frames: Sequence[Frame], line_format: str = "collector") -> bytes:
    """Frames as a file of lines of that form; with junk between them, other units, lost ends, and runs of nothing."""
    share = rng.choice((0.0, 0.001, 0.02))
    end = rng.choice((b"\n", b"\n", b"\r\n"))
    line_of = _LINES[line_format](rng)
    lines = []
    for frame in frames:
        if frame.kind == WS_IN:
            lines.append(line_of(frame.ts_recv, frame.payload) + end)
        if rng.random() < share:
            lines.append(
                rng.choice(
                    (
                        b"junk\n",
                        b"\n" * rng.choice((1, 5, 40_000)),
                        b"\r\n\r\n",
                        b"\0" * rng.choice((1, 9, 300_000)) + b"\n",
                        b"%d %s\n" % (frame.ts_recv // 1000, frame.payload),
                        line_of(frame.ts_recv // 1000, frame.payload) + b"\n",
                        line_of(frame.ts_recv - 3600 * 10**9, frame.payload) + b"\n",
                        b"\xef\xbb\xbf" + line_of(frame.ts_recv, frame.payload) + b"\n",
                        line_of(frame.ts_recv, b"") + b"\n",
                        line_of(frame.ts_recv, b"[" + frame.payload) + b"\n",
                        b"%d " % frame.ts_recv,
                    )
                )
            )
    content = b"".join(lines)
    return rng.choice(
        (content, content, content, content[:-1], b"\xef\xbb\xbf" + content, content + content, b"x\n" + content)
    )


def _collector_lines(_: random.Random) -> Callable[[int, bytes], bytes]:
    return lambda ns, payload: b"%d %s" % (ns, payload)


def _iso_lines(rng: random.Random, lead: bytes, middle: Sequence[bytes]) -> Callable[[int, bytes], bytes]:
    """Lines with a time in ISO 8601, of so many digits; a few of another form."""
    digits, zone, between = (
        rng.choice((0, 3, 6, 9, 12)),
        rng.choice((b"", b"Z", b"+00:00", b"+02:00")),
        rng.choice(middle),
    )

    def line(ns: int, payload: bytes) -> bytes:
        second, rest = divmod(ns, 10**9)
        text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        count = digits if rng.random() < 0.98 else rng.choice((0, 1, 9))
        fraction = f".{rest:09d}000"[: count + 1] if count else ""
        if rng.random() < 0.005:
            text = rng.choice((text.replace("T", " "), text[:-1], "2024-02-30T10:00:00", "2023-02-29T23:59:60"))
        return lead + text.encode() + fraction.encode() + zone + between + payload + b"}"

    return line


_LINES: Final[dict[str, Callable[[random.Random], Callable[[int, bytes], bytes]]]] = {
    "collector": _collector_lines,
    "jsonl": lambda rng: _iso_lines(rng, b'{"ts":"', (b'","payload":', b'","payload":', b'","payload": ')),
    "archive": lambda rng: _iso_lines(rng, b'{"time":"', (b'","ver_num":1,"raw":', b'","raw":', b'","a":{},"raw":')),
}


def packed(rng: random.Random, content: bytes) -> bytes:
    """As it is, or compressed: of gzip several members too."""
    match rng.randrange(6):
        case 0:
            return content
        case 1:
            return lz4.frame.compress(content, content_checksum=rng.random() < 0.5, block_checksum=rng.random() < 0.5)  # type: ignore[no-any-return]
        case 2:
            return pa.compress(content, "zstd", asbytes=True)  # type: ignore[no-any-return]
        case 3:
            middle = rng.randrange(len(content) + 1)
            return (
                gzip.compress(content[:middle], 1) + bytes(rng.choice((0, 0, 600))) + gzip.compress(content[middle:], 1)
            )
        case _:
            return gzip.compress(content, rng.choice((1, 6)))


def damaged(rng: random.Random, content: bytes) -> bytes:
    """With bits flipped, bytes lost, or its end: more often near the end, where checksums are."""
    found = bytearray(content)
    if not found:
        return content
    for _ in range(rng.choice((1, 1, 3))):
        at = len(found) - 1 - rng.randrange(12) if rng.random() < 0.4 else rng.randrange(len(found))
        at = max(at, 0)
        match rng.randrange(4):
            case 0:
                del found[at:]
            case 1:
                del found[at : at + rng.randrange(1, 200)]
            case _:
                found[at] ^= 1 << rng.randrange(8)
        if not found:
            break
    return bytes(found)
