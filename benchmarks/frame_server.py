"""
A WebSocket server that does nothing but send, so that the client is what is measured.

`python -m benchmarks.frame_server FILE COUNT RATE`: takes one connection, sends COUNT frames of FILE (already framed,
again and again) at RATE a second (0: as fast as they are taken), closes, and prints what it did as one line of JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.harness import pin

__all__ = ["framed", "main", "offsets"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
#: Frames that go out in one piece when there is no rate, and how often a paced sender wakes.
_PIECE: Final = 512
_WAKE_S: Final = 0.002


def framed(payload: bytes) -> bytes:
    """A payload as an unmasked text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def offsets(content: bytes) -> list[int]:
    """Where each frame begins, and where the last one ends."""
    places, at = [0], 0
    while at < len(content):
        size = content[at + 1]
        head = 2
        if size == 126:
            size, head = int.from_bytes(content[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(content[at + 2 : at + 10], "big"), 10
        at += head + size
        places.append(at)
    return places


def main(argv: Sequence[str]) -> int:
    """Serve once."""
    path, count, rate = Path(argv[0]), int(argv[1]), float(argv[2])
    pin(1)
    content = path.read_bytes()
    places = offsets(content)
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(json.dumps({"port": server.getsockname()[1]}), flush=True)
        connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _shake_hands(connection)
            began = time.perf_counter()
            late_s_max = _send(connection, memoryview(content), places, count, rate)
            seconds = time.perf_counter() - began
            connection.sendall(b"\x88\x02\x03\xe8")  # close, code 1000
            connection.settimeout(30)
            connection.recv(1 << 16)  # the client's own close frame; after it the server ends the connection (7.1.1)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                continue
    print(json.dumps({"sent": count, "seconds": seconds, "late_s_max": late_s_max}), flush=True)
    return 0


def _shake_hands(connection: socket.socket) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key.partition(b":")[2].strip() + _GUID).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def _send(connection: socket.socket, content: memoryview, places: list[int], count: int, rate: float) -> float:
    """Send, and return by how much the latest frame was late, in seconds."""
    total = len(places) - 1
    sent, late = 0, 0.0
    began = time.perf_counter()
    while sent < count:
        if rate:
            due = min(count, int((time.perf_counter() - began) * rate))
            if due <= sent:
                time.sleep(_WAKE_S)
                continue
        else:
            due = min(count, sent + _PIECE)
        while sent < due:
            start = sent % total
            end = min(total, start + due - sent)
            connection.sendall(content[places[start] : places[end]])
            sent += end - start
        if rate:
            late = max(late, time.perf_counter() - began - sent / rate)
    return late


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
