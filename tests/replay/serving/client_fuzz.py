"""What clients may send a served venue: frames, questions and controls as they should be, and broken in every way, by a seed."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, cast

import msgspec

from recordings.recording import Recording
from replay.serving.face import Ask
from replay.serving.registry import synthetic_venues

__all__ = ["ODD", "Words", "asks", "frames", "words_of"]

#: Values in place of any other.
ODD: Final[list[Any]] = [
    None, True, False, 0, -1, 1.5, -0.0, 1e300, 10**18, 2**63, 2**64, -(2**70), 10**400, "", " ", "\x00", "\u202e", "x" * 5000,
    "9" * 5000, "\ud800", "😀" * 100, [], {}, [[]], {"": {}}, ["BTC"] * 3000, {"type": "l2Book"}, "=1", "../..", "NaN",
]  # fmt: skip


class Words(Protocol):
    """What a venue's folder of tests says of its clients, in `client_words.py`."""

    #: A well-formed frame of each kind.
    FRAMES: list[Any]
    #: Requests of each kind, with the parameters or the body that they have.
    ASKS: list[tuple[Ask, dict[str, Any]]]

    def ws_path(self, venue: str) -> str:
        """Where a client connects."""

    def make_tape(self, venue: str, folder: Path) -> Recording:
        """A recording of the venue."""


@cache
def words_of(venue: str) -> Words:
    """Found by the folder that the venue is in."""
    folder = synthetic_venues()[venue].make.__module__.split(".")[3]
    words: Any = importlib.import_module(f"tests.replay.serving.venues.{folder}.client_words")
    return cast(Words, words)


def frames(venue: str, rng: random.Random, count: int) -> Iterator[str]:
    """Text frames of a client."""
    for _ in range(count):
        yield _text(rng, _mutated(rng, rng.choice(words_of(venue).FRAMES)))


def asks(venue: str, rng: random.Random, count: int) -> Iterator[Ask]:
    """REST requests."""
    for _ in range(count):
        like, asked = rng.choice(words_of(venue).ASKS)
        yield _posted(rng, like, asked) if like.method == "POST" else _got(rng, like, asked)


def _posted(rng: random.Random, like: Ask, asked: dict[str, Any]) -> Ask:
    body = _text(rng, _mutated(rng, asked)).encode(errors="replace")
    method = rng.choice([like.method] * 20 + ["GET"])
    kind = rng.choice([like.content_type] * 20 + ["", "text/plain"])
    return Ask(method, rng.choice([like.path] * 20 + ["/exchange", "/x"]), {}, body, kind, "127.0.0.1")


def _got(rng: random.Random, like: Ask, asked: dict[str, Any]) -> Ask:
    path = like.path
    if not rng.randrange(5):
        base, what = path.rpartition("/")[::2]
        path = f"{base}/{rng.choice([what + '/x' * 50, what.upper(), '/'.join([what] * 50), '', '%00'])}"
    query = {}
    for name, value in (_mutated(rng, asked) if asked else {}).items():
        text = value if isinstance(value, str) else json.dumps(value)
        # A URL has room for some 8,000 characters, and no half of one.
        query[name.encode(errors="replace").decode()] = text.encode(errors="replace").decode()[:8000]
    if not rng.randrange(5):
        query[rng.choice(list(query) or ["limit"])] = rng.choice(
            ["9" * 4000, "-1", "[" * 4000, "0", "1e9", "\u0663", "\u00b2"]
        )
    return Ask(rng.choice([like.method] * 20 + ["POST", "X"]), path, query, b"", "", "")


def _mutated(rng: random.Random, value: Any) -> Any:
    value = msgspec.json.decode(msgspec.json.encode(value))
    for _ in range(rng.randrange(4)):
        value = _changed(rng, value)
    return value if isinstance(value, dict) else {"x": value}


def _changed(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.randrange(8):
        name = rng.choice(list(value))
        match rng.randrange(6):
            case 0:
                del value[name]
            case 1:
                value[rng.choice(["", "x" * 300, "\u2028", name.upper()])] = deepcopy(rng.choice(ODD))
            case _:
                value[name] = _changed(rng, value[name])
        return value
    if isinstance(value, list) and value and rng.randrange(3):
        place = rng.randrange(len(value))
        value[place] = _changed(rng, value[place])
        return value
    return deepcopy(rng.choice(ODD))


def _text(rng: random.Random, value: Any) -> str:
    # A half of a character has no place in a text frame: sockets refuse it before.
    text = json.dumps(value, ensure_ascii=bool(rng.randrange(2))).encode(errors="replace").decode()
    match rng.randrange(12):
        case 0:
            return text[: rng.randrange(len(text))]
        case 1:
            depth = rng.choice([5, 100, 200, 2000, 100_000])
            return "[" * depth + text + "]" * depth
        case 2:
            return text.replace(":", ':{"a":' * rng.choice([1, 150, 3000]), 1) + "}" * 3000
        case 3:
            return text.replace(
                "1", rng.choice(["1e400", "1" * 30, "1" * 4400, "-1e999999999", "NaN", "Infinity", "01"])
            )
        case 4:
            return rng.choice(["", "null", "0", '"', "\x00", "{}", "[]", "\ufeff" + text, text + text, "x" * 1_000_000])
        case _:
            return text
