"""BLAKE2b (RFC 7693) without a key, as the digest chain uses it: 16 bytes of state, and what is to be added."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from toolkit.kernels.compiling import check_bounds, kernel, store_word

__all__ = ["STATE_BYTES", "chain", "end_frame"]

STATE_BYTES: Final = 16
_BLOCK: Final = 128
_IV: Final = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    np.uint64,
)
_SIGMA: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
)
#: What hashing starts from, with the parameter block in it: digest of 16 bytes, no key, fan-out and depth 1.
_START: Final = _IV ^ np.array([0x01010000 ^ STATE_BYTES, *[0] * 7], np.uint64)


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _compress(typing_context: Any, h: Any, words: Any, at: Any, count: Any, final: Any) -> Any:
    """
    Take a block of 16 words, from `words[at]` on, into `h`.

    The state is four rows of four words, so that one instruction mixes four columns; for the diagonals the rows are
    turned. Written as LLVM's own instructions, which know vectors: word by word it takes 1.4 times as long.
    """
    signature = types.void(h, words, types.intp, types.uint64, types.uint64)
    word, row = ir.IntType(64), ir.VectorType(ir.IntType(64), 4)
    lane_type = ir.IntType(32)

    def word_of(value: int) -> Any:
        return ir.Constant(word, value)

    def constant(values: Any) -> Any:
        return ir.Constant(row, [int(value) for value in values])

    def rotated(builder: Any, value: Any, bits: int) -> Any:
        right = builder.lshr(value, constant([bits] * 4))
        return builder.or_(right, builder.shl(value, constant([64 - bits] * 4)))

    def chosen(builder: Any, vector: Any, places: Any) -> Any:
        mask = ir.Constant(ir.VectorType(lane_type, len(places)), list(places))
        return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        check_bounds(context, builder, signature.args[0], arguments[0], word_of(0), word_of(8))
        check_bounds(context, builder, signature.args[1], arguments[1], arguments[2], word_of(16))
        state = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        block = cgutils.create_struct_proxy(signature.args[1])(context, builder, arguments[1]).data

        def row_at(base: Any, index: int) -> Any:
            return builder.bitcast(builder.gep(base, [ir.Constant(word, index)]), row.as_pointer())

        block = builder.gep(block, [arguments[2]])
        m = [builder.load(builder.gep(block, [ir.Constant(word, i)])) for i in range(16)]

        def gathered(places: Any) -> Any:
            vector = ir.Constant(row, ir.Undefined)
            for lane, which in enumerate(places):
                vector = builder.insert_element(vector, m[which], lane_type(lane))
            return vector

        before = [builder.load(row_at(state, index), align=8) for index in (0, 4)]
        counted = builder.insert_element(
            constant(_IV[4:]), builder.xor(arguments[3], ir.Constant(word, int(_IV[4]))), lane_type(0)
        )
        flag = builder.xor(arguments[4], ir.Constant(word, int(_IV[6])))
        v = [*before, constant(_IV[:4]), builder.insert_element(counted, flag, lane_type(2))]

        def mix(order: Any) -> None:
            for start, (first, second) in enumerate(((32, 24), (16, 63))):
                v[0] = builder.add(builder.add(v[0], gathered(order[start::2])), v[1])
                v[3] = rotated(builder, builder.xor(v[3], v[0]), first)
                v[2] = builder.add(v[2], v[3])
                v[1] = rotated(builder, builder.xor(v[1], v[2]), second)

        def turn(by: int) -> None:
            # The second row stays: it is the last one that a step has ready.
            for index in (0, 2, 3):
                v[index] = chosen(builder, v[index], [(lane + by * (index - 1)) % 4 for lane in range(4)])

        for order in _SIGMA:
            mix(order[:8])
            turn(1)
            mix((*order[14:], *order[8:14]))
            turn(-1)
        for index, base in enumerate((0, 4)):
            mixed = builder.xor(builder.xor(before[index], v[index]), v[index + 2])
            builder.store(mixed, row_at(state, base), align=8)
        return context.get_dummy_value()

    return signature, generate


@kernel
def chain(words, length, h):
    """
    Replace the state by the hash of state and content.

    Args:
        words: uint64, little-endian: the first two are the state, then the content; the last block padded with zeros.
        length: Bytes of state and content.
        h: Scratch, 8 words.
    """
    for i in range(8):
        h[i] = _START[i]
    blocks = (length + _BLOCK - 1) // _BLOCK
    for block in range(blocks - 1):
        _compress(h, words, block * 16, np.uint64((block + 1) * _BLOCK), np.uint64(0))
    last = blocks - 1
    _compress(h, words, last * 16, np.uint64(length), np.uint64(0xFFFFFFFFFFFFFFFF))
    words[0] = h[0]
    words[1] = h[1]


@kernel
def end_frame(scratch, at):
    """Hash what a frame gave into the state: `scratch.bytes` up to `at`, the same memory as `scratch.words`."""
    # Zeros to the end of the block: word by word, since a word written byte by byte is slow to load right after.
    store_word(scratch.bytes, at, np.uint64(0))
    for index in range((at + 7) // 8, (at + 127) // 128 * 16):
        scratch.words[index] = 0
    chain(scratch.words, at, scratch.hash)
