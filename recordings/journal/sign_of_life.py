"""
When a journal was opened, and until when its recorder was seen alive: two stamps at the beginning of the file.

They are in the metadata of the stream's schema, in a value of fixed width that is written over in place. The file's
modification time says the same, but is another one in a copy of the folder.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa

from recordings.format.frames_to_rows import STREAM_END
from recordings.format.schema import RAW_TABLE, TABLES
from recordings.storage.atomic_files import open_regular

__all__ = ["PLACE", "SignOfLife", "begin_of", "sign_of_life", "stamp"]

_KEY: Final = b"alive"


class SignOfLife(NamedTuple):
    """
    What a journal says of the recorder that wrote it.

    Attributes:
        opened_ns: When it was opened, ns; None if it does not say.
        alive_ns: When the recorder was last seen alive, ns; 0 if there is no journal.
    """

    opened_ns: int | None
    alive_ns: int


def stamp(opened_ns: int, alive_ns: int) -> bytes:
    """Both stamps as they stand in the file, and a CRC-32 of them."""
    text = b"%019d %019d" % (opened_ns, alive_ns)
    return b"%b %08x" % (text, zlib.crc32(text))


def begin_of(opened_ns: int) -> bytes:
    """How a journal begins that says when it was opened: as `STREAM_BEGIN`, with the stamps."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TABLES[RAW_TABLE].with_metadata({_KEY: stamp(opened_ns, opened_ns)})):
        pass
    return bytes(sink.getvalue().to_pybytes().removesuffix(STREAM_END))


#: Where the stamps stand in it, in bytes.
PLACE: Final = begin_of(0).index(stamp(0, 0))


def sign_of_life(path: Path) -> SignOfLife:
    """
    The stamps of a journal; where it has none, or they are damaged, its modification time.

    Raises OSError.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        try:
            schema = pa.ipc.open_stream(file).schema
        except (pa.ArrowException, OSError, ValueError, MemoryError):  # as `JournalReader` has it
            schema = None
        value = ((schema is not None and schema.metadata) or {}).get(_KEY, b"")
        opened, _, alive = value.rpartition(b" ")[0].partition(b" ")
        if opened.isdigit() and alive.isdigit() and value == stamp(int(opened), int(alive)):
            return SignOfLife(int(opened), int(alive))
    return SignOfLife(None, path.stat().st_mtime_ns)
