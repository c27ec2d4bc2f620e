"""
The controls of a running server: what `tickdeck ctl` asks, over HTTP below `/tickdeck`.

| request | body | does |
|---|---|---|
| `GET /tickdeck/status` | | nothing |
| `POST /tickdeck/pause`, `resume`, `stop` | | that |
| `POST /tickdeck/step` | `{"frames": 1}` | pause, and play so many frames |
| `POST /tickdeck/seek` | `{"ns": ...}` or `{"by_ns": ...}` | go to a time, or forwards or backwards, at most to an end |
| `POST /tickdeck/speed` | `{"speed": "10x"}` | play at that pace |

Every answer is the status after it, as JSON, with a `note` where something else was done than what was asked; an error is
`{"error": "..."}` with a status of 400 or more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from replay.serving.face import Unreadable, as_json, read_json
from toolkit.borders import shown_json
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.timing.times import parse_speed
from toolkit.transport.server import RestRequest, RestResponse

if TYPE_CHECKING:
    from replay.serving.server import TapeServer

__all__ = ["CONTROL_PREFIX", "Controls", "speed_text"]

CONTROL_PREFIX: Final = "/tickdeck"
#: Frames of one step: the answer waits for it.
_STEP_MAX: Final = 1_000_000
#: Frames of a step after which clients are written to, and others may ask.
_STEP_TURN: Final = 256
#: Characters of an error that quotes what was asked.
_SAID_MAX: Final = 500


def speed_text(speed: Fraction | None) -> str:
    """A speed as it is given on the command line."""
    if speed is None:
        return "max"
    return f"{speed.numerator}x" if speed.denominator == 1 else f"{float(speed):g}x"


class Controls:
    """Carries out what is asked, on the server's own loop."""

    def __init__(self, server: TapeServer) -> None:
        self._server = server
        # What one gives back is a note: what was done in place of what was asked.
        self._acts: dict[str, Callable[[dict[str, Any]], Awaitable[str | None] | str | None]] = {
            "pause": self._pause,
            "resume": self._resume,
            "step": self._step,
            "seek": self._seek,
            "speed": self._speed,
            "stop": self._stop,
        }

    async def answer(self, request: RestRequest) -> RestResponse:
        """Answer one request. What takes long lets others have their turn."""
        name = request.path.removeprefix(CONTROL_PREFIX).strip("/")
        if name == "status":
            if request.method != "GET":
                return _refused(405, "status is asked for with GET")
            return _said(self.status())
        act = self._acts.get(name)
        if act is None:
            return _refused(404, f"no control {name!r}, expected one of status, {', '.join(self._acts)}")
        if request.method != "POST":
            return _refused(405, f"{name} is asked for with POST")
        try:
            details = read_json(request.body) if request.body else {}
            if not isinstance(details, dict):
                raise ConfigError("the body is no JSON object")
            done = act(details)
            note = done if done is None or isinstance(done, str) else await done
        except Unreadable:
            return _refused(400, "the body is no JSON object")
        except ConfigError as exc:
            return _refused(400, str(exc)[:_SAID_MAX])
        self._server.flush()
        return _said(self.status() | ({} if note is None else {"note": note}))

    def status(self) -> dict[str, Any]:
        """What the server does."""
        server = self._server
        deck, player = server.deck, server.deck.player
        if server.is_waiting:
            state = "waiting"
        elif server.has_ended:
            state = "ended"
        else:
            state = "paused" if player.is_paused else "playing"
        return {
            "state": state,
            "position": format_ns(player.position_ns),
            "position_ns": player.position_ns,
            "first_ns": deck.tape.first_ns,
            "last_ns": deck.tape.last_ns,
            "speed": speed_text(player.speed),
            "pace": None if player.anchor is None else {"mono_ns": player.anchor[0], "tape_ns": player.anchor[1]},
            "frames": player.message_count,
            "laps": player.lap_count,
            "delivered": deck.delivered_count,
            "subscriptions": deck.subscription_count,
            "closed_by_tape": deck.closed_by_tape,
            "cut_off": server.cut_off_count,
            "clients": server.described_clients(),
            "venues": {
                name: {"ws_url": server.ws_url_of(name), "rest_url": server.rest_url_of(name)} for name in deck.venues
            },
            "recordings": [str(recording.path) for recording in server.recordings],
        }

    def _pause(self, details: dict[str, Any]) -> None:
        self._server.is_waiting = False
        self._server.deck.player.pause()

    def _resume(self, details: dict[str, Any]) -> None:
        self._server.is_waiting = False
        self._server.deck.player.resume()
        self._server.go_on()

    async def _step(self, details: dict[str, Any]) -> str | None:
        count = details.get("frames", 1)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _STEP_MAX:
            raise ConfigError(f"cannot step {count!r} frames, expected 1 to {_STEP_MAX:,}")
        self._pause(details)
        player = self._server.deck.player
        for number in range(1, count + 1):
            if not player.step_frame():
                return f"the tape ended after {number - 1:,} of {count:,}"
            if number % _STEP_TURN == 0:
                await self._server.take_turn()
                if not player.is_paused:
                    return f"stopped after {number:,} of {count:,}: it was resumed meanwhile"
        return None

    def _seek(self, details: dict[str, Any]) -> str | None:
        player, tape = self._server.deck.player, self._server.deck.tape
        ns, by_ns, note = details.get("ns"), details.get("by_ns"), None
        if isinstance(by_ns, int) and not isinstance(by_ns, bool):
            wanted = player.position_ns + by_ns
            ns = min(max(wanted, tape.first_ns), tape.last_ns)
            if ns != wanted:
                end = "beginning" if wanted < ns else "end"
                note = f"{format_ns(wanted)} is not on the tape: went to its {end}, {format_ns(ns)}"
        if not isinstance(ns, int) or isinstance(ns, bool):
            raise ConfigError('nowhere to seek to: expected {"ns": ...} or {"by_ns": ...}')
        if not tape.first_ns <= ns <= tape.last_ns:
            raise ConfigError(
                f"{format_ns(ns)} is not on the tape, which goes from {format_ns(tape.first_ns)} "
                f"to {format_ns(tape.last_ns)}"
            )
        self._server.deck.seek(ns)
        self._server.go_on()
        return note

    def _speed(self, details: dict[str, Any]) -> None:
        self._server.deck.player.speed = parse_speed(str(details.get("speed", "")))

    def _stop(self, details: dict[str, Any]) -> None:
        self._server.stop()


def _refused(status: int, text: str) -> RestResponse:
    return _said({"error": text}, status)


def _said(value: Any, status: int = 200) -> RestResponse:
    """JSON that a terminal may be shown."""
    return RestResponse(status=status, body=shown_json(as_json(value).decode()).encode())
