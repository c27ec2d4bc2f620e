"""
What goes over the wire between a recorder and those who follow it.

A client opens a WebSocket at `/tee?from=N`; without `from` it gets what comes from then on. It is sent

1. a text message, `TeeHello` as JSON;
2. binary messages. Put together they are an Arrow IPC stream in the schema of `raw`: first the schema, then a message per
   record batch, byte for byte as the recorder wrote it into its journal (recordings/FORMAT.md, "The journal"), so with
   the checksum, the first batch being the one that holds frame N. Frames in it before N are to be left out.

The client sends nothing. A close code says why it is over: 1000 the recording has ended, 1001 the recorder has
stopped because of a failure, 4000 frame N is not held any more, 4001 the client was too slow, 1003 it spoke.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from recordings.format.frames_to_rows import STREAM_BEGIN
from recordings.format.manifest import SourceInfo
from recordings.format.rows_to_messages import frames
from recordings.format.schema import FORMAT_VERSION, RAW_TABLE, TABLES
from recordings.journal.journal_reader import batch_problem
from recordings.storage.atomic_files import write_atomically
from toolkit.errors import ProtocolError
from toolkit.frames import Frame

__all__ = [
    "CODE_ENDED",
    "CODE_FAILED",
    "CODE_GONE",
    "CODE_SLOW",
    "CODE_SPOKE",
    "TEE_FILE",
    "TEE_PATH",
    "BatchDecoder",
    "TeeFile",
    "TeeHello",
    "decode_hello",
    "read_tee_file",
    "remove_tee_file",
    "write_tee_file",
]

TEE_PATH: Final = "/tee"
#: Where a recorder says how it can be followed, in the folder of the recording.
TEE_FILE: Final = "tee.json"
TEE_NAME: Final = "tickdeck-tee"
TEE_VERSION: Final = 1

CODE_ENDED: Final = 1000
CODE_FAILED: Final = 1001
CODE_SPOKE: Final = 1003
CODE_GONE: Final = 4000
CODE_SLOW: Final = 4001


class TeeHello(msgspec.Struct, kw_only=True):
    """
    The first message to a client.

    Attributes:
        tee: Always `tickdeck-tee`.
        version: Version of this protocol.
        software: Name and version of the recorder.
        created_ns: `created_ns` of the recording's manifest: which recording it is.
        started_ns: When this session began, ns: which session it is.
        format_version: Version of the recording, and so of the schema.
        sources: Sources as in the manifest.
        flush_interval_s: How long a frame may be held back before it is written, and so before it is sent.
        begin_seq: First frame that will be sent; null if it cannot be, then a close frame with code 4000 follows.
        first_seq: First frame that is held; `next_seq` if none is.
        next_seq: Number that the next frame will have.
    """

    tee: str = TEE_NAME
    version: int = TEE_VERSION
    software: str = ""
    created_ns: int
    started_ns: int
    format_version: int = FORMAT_VERSION
    sources: list[SourceInfo] = []
    flush_interval_s: float = 0.0
    begin_seq: int | None = None
    first_seq: int
    next_seq: int


class TeeFile(msgspec.Struct, frozen=True):
    """
    Content of `tee.json`. Of a recorder that was killed it stays behind: then no recorder there says this `started_ns`.

    Attributes:
        url: Where the recorder can be followed.
        created_ns: Time of creation, as in the manifest.
        started_ns: Start of the session, as in the hello.
        pid: Process of the recorder, for people.
    """

    url: str
    created_ns: int
    started_ns: int
    pid: int


_decode_hello = msgspec.json.Decoder(TeeHello).decode
_decode_file = msgspec.json.Decoder(TeeFile).decode


def write_tee_file(folder: Path, file: TeeFile) -> None:
    """Say where the recorder can be followed. Raises OSError."""
    write_atomically(folder / TEE_FILE, msgspec.json.encode(file) + b"\n")


def read_tee_file(folder: Path) -> TeeFile | None:
    """Where a recorder said it can be followed; None if none did, or it cannot be read."""
    try:
        return _decode_file((folder / TEE_FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def remove_tee_file(folder: Path) -> None:
    """Take it back, also one that was left behind. Raises OSError."""
    (folder / TEE_FILE).unlink(missing_ok=True)


def decode_hello(text: bytes) -> TeeHello:
    """The hello of a tee. Raises ProtocolError if it is none, or of a newer tickdeck."""
    try:
        hello = _decode_hello(text)
    except msgspec.DecodeError as exc:
        raise ProtocolError(f"no tee of a recorder answers there ({exc}); check the URL") from None
    if hello.tee != TEE_NAME:
        raise ProtocolError(f"no tee of a recorder answers there, but {hello.tee[:40]!r}; check the URL")
    if hello.version > TEE_VERSION or hello.format_version > FORMAT_VERSION:
        raise ProtocolError(
            f"the recorder speaks version {hello.version} of the tee and format {hello.format_version}, "
            f"expected at most {TEE_VERSION} and {FORMAT_VERSION}: upgrade tickdeck"
        )
    return hello


class BatchDecoder:
    """Turns the binary messages of a tee into frames."""

    def __init__(self) -> None:
        self._schema: bytes | None = None

    def decode(self, content: bytes) -> list[Frame]:
        """The frames of a message; none of the first, which is the schema. Raises ProtocolError."""
        if self._schema is None:
            if content != STREAM_BEGIN and not _is_schema(content):
                raise ProtocolError("the tee sends other columns than this format has: upgrade tickdeck")
            self._schema = content
            return []
        try:
            stream = pa.ipc.open_stream(pa.BufferReader(self._schema + content))
            batch, metadata = stream.read_next_batch_with_custom_metadata()
            batch.validate(full=True)
            problem = batch_problem(batch, dict(metadata or {}), None)
        except (StopIteration, pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as exc:
            problem = str(exc).partition("\n")[0] or type(exc).__name__
        if problem:
            raise ProtocolError(f"the tee sent what is no batch of frames ({problem})")
        return frames(batch)


def _is_schema(content: bytes) -> bool:
    try:
        return bool(pa.ipc.open_stream(pa.BufferReader(content)).schema.equals(TABLES[RAW_TABLE]))
    except (pa.ArrowException, OSError, ValueError):
        return False
