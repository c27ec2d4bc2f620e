"""REST replies as they were recorded, found again by what was asked."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from replay.serving.face import UNREADABLE
from toolkit.frames import REST_IN, REST_OUT, Frame

__all__ = ["Answer", "RecordedAnswers"]

#: Questions remembered; a recorder asks the same few again and again, so more are questions of another time each.
_QUESTIONS_MAX: Final = 4096
#: Questions without an answer yet: at most those under way, but an answer may be missing for ever.
_OPEN_MAX: Final = 1024

_decode = msgspec.json.decode
_encode = msgspec.json.Encoder(order="sorted").encode

_Question = tuple[str, str, bytes]


class Answer(NamedTuple):
    """A recorded reply: what it was for in the protocol's words, its HTTP status, its body, and when it came."""

    tag: str
    status: int
    body: bytes
    ts_recv: int


class RecordedAnswers:
    """
    The newest recorded reply to each question, at the present of the tape.

    Before the tape has one, the first that its opening holds may be asked for.
    """

    def __init__(self) -> None:
        self._now: dict[_Question, Answer] = {}
        self._first: dict[_Question, Answer] = {}
        self._open: dict[tuple[int, str], bytes] = {}

    def forget(self) -> None:
        """Return to before the first frame; what was primed stays."""
        self._now.clear()
        self._open.clear()

    def take(self, frame: Frame) -> Answer | None:
        """Take in a frame of REST; returns the answer if it is one."""
        found = self._pair(frame)
        if found is None:
            return None
        question, answer = found
        if answer.status == 200 or question not in self._now:
            self._now.pop(question, None)
            self._now[question] = answer
            if len(self._now) > _QUESTIONS_MAX:
                del self._now[next(iter(self._now))]
        return answer

    def prime(self, frame: Frame) -> Answer | None:
        """Take in a frame of the tape's opening; the first answer to a question counts."""
        found = self._pair(frame)
        if found is None:
            return None
        question, answer = found
        if answer.status == 200:
            self._first.setdefault(question, answer)
        return answer

    def find(self, method: str, path: str, body: bytes = b"", *, primed: bool = False) -> Answer | None:
        """The newest answer to that question; with `primed`, else the first of the opening."""
        question = (method, path, _normal(body))
        found = self._now.get(question)
        return found if found is not None or not primed else self._first.get(question)

    def _pair(self, frame: Frame) -> tuple[_Question, Answer] | None:
        if frame.kind not in (REST_OUT, REST_IN):
            return None
        try:
            context = _decode(frame.context or "{}")
        except UNREADABLE:
            return None
        if not isinstance(context, dict):
            return None
        number = (frame.conn_id, str(context.get("id")))
        if frame.kind == REST_OUT:
            if len(self._open) >= _OPEN_MAX:
                del self._open[next(iter(self._open))]
            self._open[number] = frame.payload
            return None
        asked = self._open.pop(number, b"")
        status = context.get("status", 200)
        answer = Answer(
            str(context.get("tag", "")), status if isinstance(status, int) else 200, frame.payload, frame.ts_recv
        )
        return (str(context.get("method", "")), str(context.get("path", "")), _normal(asked)), answer


def _normal(body: bytes) -> bytes:
    """One spelling for a JSON body."""
    if not body:
        return body
    try:
        return _encode(_decode(body))
    except (*UNREADABLE, OverflowError):
        return body
