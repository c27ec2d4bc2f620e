"""Clients of `tickdeck serve` that mean no good, beside one that does: real processes, real sockets."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from tests.chaos.bench import DEADLINE_S, ROOT, check
from tests.replay.serving.client_fuzz import frames
from tests.tapes import mixed_tape

#: How long each attack goes on, seconds, and how many of its kind at a time.
ATTACK_S: Final = 4.0
EACH: Final = 8
#: What the server may take at most, kB: it has some 200,000 with nobody connected.
MEMORY_KB_MAX: Final = 600_000


@contextmanager
def serving(work: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """A server of a tape that begins again at its end; its number, and what it printed. It ends well."""
    work.mkdir(parents=True, exist_ok=True)
    tape = mixed_tape(work / "tape", frames=400, segment_frames=200).path
    command = [sys.executable, "-m", "toolkit.cli", "serve", str(tape), "--port", "0", "--no-wait", "--loop", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, json.loads(process.stdout.readline())
        check(process.poll() is None, "the server is still there")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
    check(process.returncode == 0, f"it ends with 0, not {process.returncode}: {said}")
    check("Traceback" not in said, f"and without a traceback: {said[-2000:]}")


def handshake(port: int) -> socket.socket:
    """A WebSocket by hand, of somebody who never reads."""
    place = socket.create_connection(("127.0.0.1", port), timeout=ATTACK_S)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    place.sendall((head + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
    return place


def text(payload: str | bytes) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return Frame(Opcode.TEXT, data).serialize(mask=True, extensions=[])


def pings(port: int, rng: random.Random) -> Iterator[bytes]:
    """Pings without end."""
    yield from iter(lambda: Frame(Opcode.PING, b"p" * 125).serialize(mask=True, extensions=[]) * 100, b"")


def questions(port: int, rng: random.Random) -> Iterator[bytes]:
    """Questions whose answers are long, and that nobody reads."""
    ask = {"method": "post", "id": 1, "request": {"type": "info", "payload": {"type": "allMids"}}}
    yield from iter(lambda: text(json.dumps(ask)) * 50, b"")


def fragments(port: int, rng: random.Random) -> Iterator[bytes]:
    """A message whose end does not come."""
    yield Frame(Opcode.TEXT, b"x" * 1000, fin=False).serialize(mask=True, extensions=[])
    yield from iter(lambda: Frame(Opcode.CONT, b"x" * 60_000, fin=False).serialize(mask=True, extensions=[]), b"")


def crumbs(port: int, rng: random.Random) -> Iterator[bytes]:
    """A message in pieces of nothing."""
    yield Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True, extensions=[])
    yield from iter(lambda: Frame(Opcode.CONT, b"", fin=False).serialize(mask=True, extensions=[]) * 500, b"")


def giant(port: int, rng: random.Random) -> Iterator[bytes]:
    """A frame that says it has 2**62 bytes."""
    yield b"\x81\xff" + struct.pack(">Q", 1 << 62) + b"mask"
    yield from iter(lambda: b"x" * 60_000, b"")


def subscriptions(port: int, rng: random.Random) -> Iterator[bytes]:
    """Subscribes and unsubscribes, of what there is and what there is not."""
    while True:
        wanted = {"type": "bbo", "coin": rng.choice(["BTC", "ETH", "NO"])}
        yield text(json.dumps({"method": rng.choice(["subscribe", "unsubscribe"]), "subscription": wanted})) * 20


def nonsense(port: int, rng: random.Random) -> Iterator[bytes]:
    """Broken frames of every kind."""
    for each in frames("hyperliquid", rng, 1 << 30):
        yield text(each)


def closes(port: int, rng: random.Random) -> Iterator[bytes]:
    """A close, whose answer is not read, with rubbish behind it."""
    yield Frame(Opcode.CLOSE, struct.pack(">H", 1000)).serialize(mask=True, extensions=[])
    yield from iter(lambda: rng.randbytes(1000), b"")


ATTACKS: Final = (pings, questions, fragments, crumbs, giant, subscriptions, nonsense, closes)


def attack(port: int, kind: Callable[[int, random.Random], Iterator[bytes]], rng: random.Random, until: float) -> None:
    """One attacker, who comes again when it is thrown out."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError), handshake(port) as place:
            for data in kind(port, rng):
                place.sendall(data)
                if time.monotonic() > until:
                    return


def flooding_clients(work: Path, seed: object) -> str:
    """Each attack at a time, by several: who behaves is served within seconds, memory stays bounded, nothing ends."""
    said = []
    with serving(work) as (pid, facts):
        port = urlsplit(facts["url"]).port or 0
        for kind in ATTACKS:
            until = time.monotonic() + ATTACK_S
            attackers = [
                threading.Thread(
                    target=attack, args=(port, kind, random.Random(f"{seed}/{kind.__name__}/{number}"), until)
                )
                for number in range(EACH)
            ]
            for each in attackers:
                each.start()
            slowest, asked = 0.0, 0
            while time.monotonic() < until or not asked:
                slowest = max(slowest, _served_s(facts))
                asked += 1
            for each in attackers:
                each.join()
            check(asked > 0, f"somebody who behaves is served during {kind.__name__}")
            said.append(f"{kind.__name__} {slowest:.1f} s")
        status = Path(f"/proc/{pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0])
        check(peak < MEMORY_KB_MAX, f"memory stays bounded, not {peak} kB")
        handles = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        check(handles < 60, f"the sockets of those who are gone are closed, not {handles} open")
    return f"slowest answers: {', '.join(said)}; {peak // 1024} MiB"


def _served_s(facts: dict[str, Any]) -> float:
    """Connect, ask, subscribe and hear of it; how long that took."""
    began = time.monotonic()
    url = facts["venues"]["hyperliquid"]["ws_url"]
    with connect(url, open_timeout=DEADLINE_S, close_timeout=1) as client:
        client.send('{"method":"ping"}')
        check(client.recv(DEADLINE_S) == '{"channel":"pong"}', "it answers")
        client.send('{"method":"subscribe","subscription":{"type":"bbo","coin":"BTC"}}')
        while json.loads(client.recv(DEADLINE_S))["channel"] != "subscriptionResponse":
            pass
    return time.monotonic() - began


SCENARIOS: dict[str, Callable[[Path, object], str]] = {"flooding clients": flooding_clients}
