"""What the pages of a column of a Parquet file say of themselves."""

from __future__ import annotations

from typing import Final

import numpy as np

from toolkit.kernels.compiling import kernel

__all__ = [
    "BEGIN",
    "BYTES",
    "CRC",
    "DATA",
    "DICTIONARY",
    "ENCODING",
    "ENCODING_BITS",
    "ENCODING_BY_BYTE",
    "ENCODING_DELTA",
    "ENCODING_DICTIONARY",
    "ENCODING_OLD_DICTIONARY",
    "ENCODING_PLAIN",
    "HEAD",
    "KIND",
    "LEVELS",
    "NO_CRC",
    "PACKED",
    "VALUES",
    "page_heads",
    "signed",
    "varint",
]

#: Kinds of pages, and encodings, as the format numbers them.
DATA: Final = 0
DICTIONARY: Final = 2
ENCODING_PLAIN: Final = 0
ENCODING_OLD_DICTIONARY: Final = 2
ENCODING_BITS: Final = 3
ENCODING_DELTA: Final = 5
ENCODING_DICTIONARY: Final = 8
ENCODING_BY_BYTE: Final = 9
#: No checksum.
NO_CRC: Final = 1 << 40

#: What `page_heads` says of a page, by place: kind, encoding, that of its definition levels, values, where its bytes
#: begin, how many they are, how many they become, and their checksum.
KIND, ENCODING, LEVELS, VALUES, BEGIN, PACKED, BYTES, CRC = range(8)
HEAD: Final = 8
_VALUES_MAX = 1 << 31

_ONE = np.uint64(1)
_SEVEN = np.uint64(7)


@kernel
def varint(data, at, end):
    """An unsigned number of 7 bits a byte, and the place after it; -1 where it does not end."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while at < end and shift < np.uint64(64):
        byte = np.uint64(data[at])
        at += 1
        value |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            return value, at
        shift += _SEVEN
    return value, -1


@kernel
def signed(value):
    """A number of which the lowest bit is the sign."""
    return np.int64(value >> _ONE) ^ -np.int64(value & _ONE)


@kernel
def page_heads(chunk, heads):
    """
    What the pages of a column chunk say of themselves, in Thrift's compact protocol.

    Args:
        chunk: The bytes.
        heads: A row of `HEAD` numbers is written for each page.

    Returns:
        How many pages there are; -1 if they are not understood, or more than there is room for.
    """
    at = 0
    end = len(chunk)
    count = 0
    while at < end:
        if count == len(heads):
            return -1
        for place in range(HEAD):
            heads[count, place] = -1
        heads[count, CRC] = NO_CRC
        heads[count, LEVELS] = ENCODING_BITS
        depth = 0
        field = np.int64(0)
        outer = np.int64(0)
        middle = np.int64(0)
        while True:
            if at >= end:
                return -1
            byte = np.int64(chunk[at])
            at += 1
            kind = byte & 15
            if kind == 0:
                if depth == 0:
                    break
                depth -= 1
                field = outer if depth == 0 else middle
                continue
            if byte >> 4:
                field += byte >> 4
            else:
                value, at = varint(chunk, at, end)
                if at < 0:
                    return -1
                field = signed(value)
            if kind == 1 or kind == 2:  # a truth, which has no bytes of its own
                continue
            if kind == 3:
                at += 1
            elif kind <= 6:
                value, at = varint(chunk, at, end)
                if at < 0:
                    return -1
                number = signed(value)
                if depth == 0:
                    if field == 1:
                        heads[count, KIND] = number
                    elif field == 2:
                        heads[count, BYTES] = number
                    elif field == 3:
                        heads[count, PACKED] = number
                    elif field == 4:
                        heads[count, CRC] = number & 0xFFFFFFFF
                elif depth == 1 and (outer == 5 or outer == 7):
                    if field == 1:
                        heads[count, VALUES] = number
                    elif field == 2:
                        heads[count, ENCODING] = number
                    elif field == 3 and outer == 5:
                        heads[count, LEVELS] = number
            elif kind == 7:
                at += 8
            elif kind == 8:
                value, at = varint(chunk, at, end)
                if at < 0 or value > np.uint64(end - at):
                    return -1
                at += np.int64(value)
            elif kind == 12 and depth < 2:
                if depth == 0:
                    outer = field
                else:
                    middle = field
                depth += 1
                field = np.int64(0)
            else:
                return -1
        heads[count, BEGIN] = at
        packed = heads[count, PACKED]
        if packed < 0 or heads[count, BYTES] < 0 or packed > end - at:
            return -1
        values = heads[count, VALUES]
        if values < 0 or values > _VALUES_MAX:
            return -1
        at += packed
        count += 1
    return count
