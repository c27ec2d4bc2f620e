"""
Every error tickdeck raises on purpose.

TickdeckError
 ├── ProtocolError            what a venue sent cannot be understood
 │    ├── ParseError          one frame does not have the shape the venue documents
 │    └── VenueRefused        the venue understood us and said no
 ├── SymbolError              a pair or symbol that the venue does not list, or that is ambiguous
 ├── BookError                an update that no order book can take (NaN, negative size or price)
 ├── SequenceGap              updates are missing between two that arrived
 ├── TransportError           the network or the other side of it
 │    ├── ConnectFailed       nothing answers, or TLS is refused
 │    └── RequestFailed       a REST request got no usable answer
 ├── RecordingError           a recording cannot be used as it is
 │    ├── NotARecording       the folder holds no manifest and no journal
 │    ├── FormatTooNew        written by a newer tickdeck
 │    ├── RecordingDamaged    a file is missing, cut short, or not what the manifest says
 │    └── RecordingLocked     another process writes into the folder
 ├── ImportFailed             a capture file cannot be imported at all
 ├── BackpressureError        a consumer or the disk cannot follow
 └── ConfigError              options that contradict each other or make no sense

Messages say what was found, what was expected and what to do, in one line.

`UnsealedWarning` is no error: what was computed is right, of the sealed part of a recording.
"""

from __future__ import annotations

__all__ = [
    "BackpressureError",
    "BookError",
    "ConfigError",
    "ConnectFailed",
    "FormatTooNew",
    "ImportFailed",
    "NotARecording",
    "ParseError",
    "ProtocolError",
    "RecordingDamaged",
    "RecordingError",
    "RecordingLocked",
    "RequestFailed",
    "SequenceGap",
    "SymbolError",
    "TickdeckError",
    "TransportError",
    "UnsealedWarning",
    "VenueRefused",
]


class TickdeckError(Exception):
    """Base of every error that tickdeck raises on purpose."""


class ProtocolError(TickdeckError):
    """What a venue sent cannot be understood."""


class ParseError(ProtocolError):
    """One frame does not have the shape the venue documents; the frame is kept and the stream goes on."""


class VenueRefused(ProtocolError):
    """The venue understood the request and refused it."""


class SymbolError(TickdeckError):
    """A trading pair or symbol that the venue does not list, or that fits more than one instrument."""


class BookError(TickdeckError):
    """An update that no order book can take: NaN, infinity, a negative size, or a price that is not positive."""


class SequenceGap(TickdeckError):
    """A book update does not follow the one before it. The book is stale until the next snapshot."""

    def __init__(self, symbol: str, expected: int, received: int) -> None:
        super().__init__(f"{symbol}: expected an update that follows {expected}, received {received}")
        self.symbol = symbol
        self.expected = expected
        self.received = received


class TransportError(TickdeckError):
    """The network, or the other side of it; `retry_after_s` is how long that wants to be left alone, if it does."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ConnectFailed(TransportError):
    """A connection could not be opened; `status` is the HTTP status that was answered, if there was an answer."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, status: int | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.status = status


class RequestFailed(TransportError):
    """A REST request got no usable answer."""


class RecordingError(TickdeckError):
    """A recording cannot be used as it is."""


class NotARecording(RecordingError):
    """The folder holds neither a manifest nor a journal."""


class FormatTooNew(RecordingError):
    """The recording was written by a newer tickdeck than this one."""


class RecordingDamaged(RecordingError):
    """A file of the recording is missing, cut short, or not what the manifest says."""


class RecordingLocked(RecordingError):
    """Another process is writing into the folder."""


class ImportFailed(TickdeckError):
    """A capture file cannot be imported at all."""


class BackpressureError(TickdeckError):
    """A consumer or the disk cannot follow, and the bounded buffer in front of it is full."""


class ConfigError(TickdeckError):
    """Options that contradict each other or make no sense."""


class UnsealedWarning(UserWarning):
    """An answer is of the sealed part of a recording, and frames of it are not sealed yet."""
