"""
The values of Parquet pages as arrays, for the encodings that recordings are written in.

What is read is bytes of a file: every length in it is checked before it is gone by, and a negative result says that
something is not as it should be, or in no form that is known here.
"""

from __future__ import annotations

import numpy as np

from recordings.columns.kernel_page_heads import (
    BYTES,
    DATA,
    DICTIONARY,
    ENCODING,
    ENCODING_BY_BYTE,
    ENCODING_DELTA,
    ENCODING_DICTIONARY,
    ENCODING_OLD_DICTIONARY,
    ENCODING_PLAIN,
    KIND,
    VALUES,
    signed,
    varint,
)
from toolkit.kernels.compiling import kernel, load_word, unlocked

__all__ = ["decode_flags", "decode_numbers", "decode_places"]

_ONE = np.uint64(1)


@kernel
def _bits(data, bit, width, end):
    """A number of so many bits from a bit on; all of them lie before byte `end`."""
    at = bit >> 3
    shift = np.uint64(bit & 7)
    if at + 8 <= end:
        word = load_word(data, at) >> shift
        if np.int64(shift) + width > 64:
            word |= np.uint64(data[at + 8]) << (np.uint64(64) - shift)
    else:
        word = np.uint64(0)
        for place in range(at, end):
            word |= np.uint64(data[place]) << np.uint64(8 * (place - at))
        word >>= shift
    if width >= 64:
        return word
    return word & ((_ONE << np.uint64(width)) - _ONE)


@kernel
def _are_all_there(data, at, end, count):
    """Whether levels of one bit say of all values that they are there, by runs."""
    while count > 0:
        head, at = varint(data, at, end)
        if at < 0 or head & _ONE or at >= end or data[at] != 1:
            return False
        count -= np.int64(head >> _ONE)
        at += 1
    return True


@kernel
def _there(data, at, end, count, there):
    """Levels of one bit: which values are there; how many, or -1."""
    place = np.int64(0)
    present = np.int64(0)
    while place < count:
        head, at = varint(data, at, end)
        if at < 0:
            return -1
        if head & _ONE:
            size = np.int64(head >> _ONE)
            if size > end - at:
                return -1
            stop = min(place + 8 * size, count)
            for index in range(place, stop):
                offset = index - place
                flag = (data[at + (offset >> 3)] >> (offset & 7)) & 1
                there[index] = flag
                present += flag
            at += size
        else:
            if at >= end or data[at] > 1:
                return -1
            flag = np.uint8(data[at])
            at += 1
            stop = np.int64(min(np.uint64(place) + (head >> _ONE), np.uint64(count)))
            if stop == place:
                return -1
            for index in range(place, stop):
                there[index] = flag
            present += (stop - place) * np.int64(flag)
        place = stop
    return present


@kernel
def _plain(data, at, end, count, out, place, width):
    if count > (end - at) // width:
        return -1
    if width == 8:
        for index in range(count):
            out[place + index] = np.int64(load_word(data, at + 8 * index))
        return count
    for index in range(count):
        begin = at + 4 * index
        out[place + index] = np.int32(
            np.uint32(data[begin])
            | np.uint32(data[begin + 1]) << np.uint32(8)
            | np.uint32(data[begin + 2]) << np.uint32(16)
            | np.uint32(data[begin + 3]) << np.uint32(24)
        )
    return count


@kernel
def _by_byte(data, at, end, count, out, place, width):
    if count > (end - at) // width:
        return -1
    # Byte after byte of all of them, which is several at a time.
    for index in range(count):
        out[place + index] = data[at + index]
    for byte in range(1, width):
        begin = at + byte * count
        shift = 8 * byte
        for index in range(count):
            out[place + index] |= np.int64(data[begin + index]) << shift
    return count


@kernel
def _delta(data, at, end, count, out, place):
    """Differences, in blocks that have a lowest one and bits above it; arithmetic wraps, as the format says."""
    block, at = varint(data, at, end)
    if at < 0:
        return -1
    parts, at = varint(data, at, end)
    if at < 0:
        return -1
    total, at = varint(data, at, end)
    if at < 0:
        return -1
    first, at = varint(data, at, end)
    if at < 0 or total != np.uint64(count):
        return -1
    if block == 0 or block > np.uint64(1 << 20) or parts == 0 or parts > block or block % parts:
        return -1
    if count == 0:
        return 0
    each = np.int64(block // parts)
    if each % 8:
        return -1
    value = signed(first)
    out[place] = value
    done = 1
    while done < count:
        lowest, at = varint(data, at, end)
        if at < 0 or np.int64(parts) > end - at:
            return -1
        least = signed(lowest)
        widths = at
        at += np.int64(parts)
        for part in range(np.int64(parts)):
            if done >= count:
                break
            width = np.int64(data[widths + part])
            size = each // 8 * width
            if width > 64 or size > end - at:
                return -1
            stop = min(done + each, count)
            if width == 0:
                for index in range(done, stop):
                    value += least
                    out[place + index] = value
            elif width <= 56 and at + size + 8 <= end:
                mask = (_ONE << np.uint64(width)) - _ONE
                bit = at * 8
                for index in range(done, stop):
                    word = load_word(data, bit >> 3) >> np.uint64(bit & 7)
                    value += least + np.int64(word & mask)
                    out[place + index] = value
                    bit += width
            else:
                bit = at * 8
                for index in range(done, stop):
                    value += least + np.int64(_bits(data, bit, width, end))
                    out[place + index] = value
                    bit += width
            done = stop
            at += size
    return count


@kernel
def _coded(data, at, end, count, words, out, place):
    """Places in a dictionary, as runs of one and as bits."""
    if count == 0:
        return 0
    if at >= end:
        return -1
    width = np.int64(data[at])
    at += 1
    if width > 32:
        return -1
    known = np.uint64(len(words))
    mask = (_ONE << np.uint64(width)) - _ONE
    size = (width + 7) // 8
    done = np.int64(0)
    while done < count:
        head, at = varint(data, at, end)
        if at < 0:
            return -1
        if head & _ONE:
            groups = head >> _ONE
            if groups == 0 or groups > np.uint64(1 << 40):
                return -1
            # The last run may be cut short where its values end.
            stop = np.int64(min(np.uint64(done) + np.uint64(8) * groups, np.uint64(count)))
            if (stop - done) * width > (end - at) * 8:
                return -1
            bit = at * 8
            # As far as whole words can be read.
            safe = stop if width == 0 else min(stop, done + max((end - 8 - at) * 8 // width, 0))
            for index in range(done, safe):
                code = load_word(data, bit >> 3) >> np.uint64(bit & 7) & mask if width else np.uint64(0)
                if code >= known:
                    return -1
                out[place + index] = words[code]
                bit += width
            for index in range(safe, stop):
                code = _bits(data, bit, width, end)
                if code >= known:
                    return -1
                out[place + index] = words[code]
                bit += width
            at = np.int64(min(np.uint64(at) + groups * np.uint64(width), np.uint64(end)))
        else:
            if size > end - at:
                return -1
            code = np.uint64(0)
            for byte in range(size):
                code |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
            at += size
            stop = np.int64(min(np.uint64(done) + (head >> _ONE), np.uint64(count)))
            if stop == done or code >= known:
                return -1
            word = words[code]
            for index in range(done, stop):
                out[place + index] = word
        done = stop
    return count


@kernel
def _spread(out, place, count, present, there, missing):
    """Move values that lie together to where they are there."""
    source = place + present
    for index in range(count - 1, -1, -1):
        if there[index]:
            source -= 1
            out[place + index] = out[source]
        else:
            out[place + index] = missing


@kernel
def _present(data, at, end, has_levels, count, there):
    """How many values are there, and where they begin; -1 for levels that are not understood."""
    if not has_levels:
        return count, at
    if end - at < 4:
        return -1, at
    size = (
        np.int64(data[at]) | np.int64(data[at + 1]) << 8 | np.int64(data[at + 2]) << 16 | np.int64(data[at + 3]) << 24
    )
    at += 4
    if size > end - at:
        return -1, at
    if _are_all_there(data, at, at + size, count):
        return count, at + size
    return _there(data, at, at + size, count, there), at + size


@kernel
def _values(data, at, end, encoding, count, words, out, place):
    width = out.itemsize
    if encoding in (ENCODING_DICTIONARY, ENCODING_OLD_DICTIONARY):
        return _coded(data, at, end, count, words, out, place)
    if encoding == ENCODING_PLAIN:
        return _plain(data, at, end, count, out, place, width)
    if encoding == ENCODING_DELTA:
        return _delta(data, at, end, count, out, place)
    if encoding == ENCODING_BY_BYTE:
        return _by_byte(data, at, end, count, out, place, width)
    return -1


@unlocked
def decode_numbers(data, heads, has_levels, words, missing, there, out):
    """
    The numbers of a column chunk.

    Args:
        data: The bytes of its pages, one after the other; those of the dictionary are passed over.
        heads: What the pages say of themselves.
        has_levels: Whether they say which values are there.
        words: Dictionary of the column; of integers as wide as `out`.
        missing: Number in place of one that is missing.
        there: Scratch for as many flags: which are there, where not all are.
        out: Array of int64 or int32 to fill; other numbers of this width are given as their bits.

    Returns:
        How many are there; -1 where the bytes are not understood, or are not those of so many numbers.
    """
    at = 0
    place = 0
    total = 0
    for page in range(len(heads)):
        count = heads[page, VALUES]
        end = at + heads[page, BYTES]
        if end > len(data):
            return -1
        if heads[page, KIND] != DICTIONARY:
            if count > len(out) - place or count > len(there):
                return -1
            present, begin = _present(data, at, end, has_levels, count, there)
            if present < 0 or _values(data, begin, end, heads[page, ENCODING], present, words, out, place) < 0:
                return -1
            if present < count:
                _spread(out, place, count, present, there, missing)
            place += count
            total += present
        at = end
    return total if place == len(out) else -1


@kernel
def _at_places(data, at, end, encoding, count, begin, starts, first, out):
    """Numbers at some places of a page whose bytes lie where they are looked for."""
    width = out.itemsize
    if count > (end - at) // width:
        return -1
    index = first
    while index < len(starts) and starts[index] < begin + count:
        row = starts[index] - begin
        word = np.uint64(0)
        for byte in range(width):
            place = at + row * width + byte if encoding == ENCODING_PLAIN else at + byte * count + row
            word |= np.uint64(data[place]) << np.uint64(8 * byte)
        out[index] = np.int64(word) if width == 8 else np.int32(np.uint32(word))
        index += 1
    return index


@unlocked
def decode_places(data, heads, has_levels, words, missing, there, starts, scratch, out):
    """
    The same of some rows, in order: `starts` are their places.

    Where the bytes of a number lie does not always depend on the ones before; `scratch` takes the numbers of a page
    where it does.
    """
    at = 0
    place = 0
    index = 0
    for page in range(len(heads)):
        count = heads[page, VALUES]
        end = at + heads[page, BYTES]
        if end > len(data):
            return -1
        if heads[page, KIND] != DICTIONARY:
            if count > len(there) or count > len(scratch):
                return -1
            present, begin = _present(data, at, end, has_levels, count, there)
            if present < 0:
                return -1
            encoding = heads[page, ENCODING]
            if present == count and encoding in (ENCODING_PLAIN, ENCODING_BY_BYTE):
                index = _at_places(data, begin, end, encoding, count, place, starts, index, out)
                if index < 0:
                    return -1
            else:
                if _values(data, begin, end, encoding, present, words, scratch, 0) < 0:
                    return -1
                if present < count:
                    _spread(scratch, 0, count, present, there, missing)
                while index < len(starts) and starts[index] < place + count:
                    out[index] = scratch[starts[index] - place]
                    index += 1
            place += count
        at = end
    return index if index == len(starts) else -1


@unlocked
def decode_flags(data, heads, has_levels, there, out):
    """The same of truths, which are plain, a bit each; what is missing is False."""
    at = 0
    place = 0
    total = 0
    for page in range(len(heads)):
        count = heads[page, VALUES]
        end = at + heads[page, BYTES]
        if end > len(data) or heads[page, KIND] != DATA or heads[page, ENCODING] != ENCODING_PLAIN:
            return -1
        if count > len(out) - place or count > len(there):
            return -1
        present, begin = _present(data, at, end, has_levels, count, there)
        if present < 0 or (present + 7) // 8 > end - begin:
            return -1
        for index in range(present):
            out[place + index] = (data[begin + (index >> 3)] >> (index & 7)) & 1
        if present < count:
            _spread(out, place, count, present, there, 0)
        place += count
        total += present
        at = end
    return total if place == len(out) else -1
