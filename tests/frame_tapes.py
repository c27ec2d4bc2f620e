"""Recordings made of frames by hand, control and REST frames too, and clients of a deck, for tests of serving."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from recordings.format.manifest import Manifest, SourceInfo, write_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from replay.serving.deck import Deck, DeckOptions
from replay.serving.face import Ask
from replay.serving.registry import served_venues
from replay.serving.served_venue import Client
from tests.tapes import TS, VENUE
from toolkit.clock import ManualClock
from toolkit.frames import CONTROL, REST_IN, REST_OUT, WS_IN, WS_OUT, Frame, control_payload

MS = 1_000_000


class Script:
    """
    Frames of a recording, written one after the other.

    Attributes:
        frames: All so far.
        now: Receive time of the next one, ns; each is a millisecond after the one before.
    """

    def __init__(self, venue: str = VENUE, now: int = TS) -> None:
        self.venue = venue
        self.now = now
        self.frames: list[Frame] = []
        self._asked = 0

    def put(self, kind: str, payload: bytes, conn_id: int = 0, context: str | None = None) -> bytes:
        self.frames.append(Frame(len(self.frames), self.now, self.now, self.venue, conn_id, 0, kind, payload, context))
        self.now += MS
        return payload

    def said(self, message: Any, conn_id: int = 0) -> bytes:
        """The venue said something; returns the very bytes."""
        raw = message if isinstance(message, bytes) else msgspec.json.encode(message)
        return self.put(WS_IN, raw, conn_id)

    def sent(self, message: Any, conn_id: int = 0) -> bytes:
        """The recorder said something."""
        return self.put(WS_OUT, msgspec.json.encode(message), conn_id)

    def subscribed(self, conn_id: int = 0, **subscription: Any) -> None:
        """The recorder subscribed something, and the venue acknowledged it as it would."""
        request = {"method": "subscribe", "subscription": subscription}
        self.sent(request, conn_id)
        self.said({"channel": "subscriptionResponse", "data": request}, conn_id)

    def rest(self, tag: str, path: str, question: Any, answer: Any, status: int = 200) -> bytes:
        """The recorder asked something, and was answered."""
        self._asked += 1
        about = {"id": self._asked, "method": "POST", "path": path, "tag": tag}
        self.put(REST_OUT, msgspec.json.encode(question), -1, json.dumps(about))
        return self.put(REST_IN, msgspec.json.encode(answer), -1, json.dumps(about | {"status": status}))

    def control(self, event: str, conn_id: int = 0, **details: Any) -> None:
        """Something happened."""
        self.put(CONTROL, control_payload(event, **details), conn_id)

    def recording(self, folder: Path, *, accounts: tuple[str, ...] = (), pairs: tuple[str, ...] = ()) -> Recording:
        """The recording, sealed."""
        return sealed(folder, self.frames, venue=self.venue, accounts=accounts, pairs=pairs)


def sealed(
    folder: Path,
    frames: Iterable[Frame],
    *,
    venue: str = VENUE,
    accounts: tuple[str, ...] = (),
    pairs: tuple[str, ...] = (),
) -> Recording:
    """A sealed recording of those frames."""
    folder.mkdir(parents=True)
    write_manifest(folder, Manifest(sources=[SourceInfo(venue, 1, pairs, (), accounts)], flush_interval_s=0.25))
    journal = JournalWriter(folder, 0)
    for frame in frames:
        journal.append(frame)
    journal.close()
    Sealer(folder).seal(0, status="sealed")
    return Recording.open(folder)


class Visitor:
    """A client of a deck."""

    def __init__(self, deck: Deck, venue: str = VENUE, path: str = "/ws", query: str = "") -> None:
        self.deck = deck
        self.client: Client = deck.connect(venue, len(deck.clients), "127.0.0.1", path, query)

    def say(self, message: Any) -> list[Any]:
        """Say something; what it is answered, decoded."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.deck.receive(self.client, text, 0)
        return [json.loads(payload) for payload in self.client.take()]

    def subscribe(self, kind: str, **fields: Any) -> list[Any]:
        return self.say({"method": "subscribe", "subscription": {"type": kind, **fields}})

    def heard(self) -> list[bytes]:
        """What came since, as it came."""
        return self.client.take()


def deck_of(*recordings: Recording, **options: Any) -> Deck:
    return Deck(recordings, served_venues(), pacer=ManualClock(), options=DeckOptions(**options))


def step(deck: Deck, count: int = 1) -> None:
    """Play so many frames."""
    for _ in range(count):
        deck.player.step_frame()


def ask(deck: Deck, kind: str, venue: str = VENUE, **fields: Any) -> tuple[int, Any]:
    """Status and reply to a `POST /info`; text where it is no JSON."""
    body = msgspec.json.encode({"type": kind, **fields})
    reply = deck.venues[venue].answer(Ask("POST", "/info", {}, body, "application/json", "127.0.0.1"), 0)
    if reply.content_type != "application/json":
        return reply.status, reply.body.decode()
    return reply.status, json.loads(reply.body)
