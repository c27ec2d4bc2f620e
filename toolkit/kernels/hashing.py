"""BLAKE2b (RFC 7693) without a key, as the digest chain uses it: 16 bytes of state, and what is to be added."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from toolkit.kernels.compiling import kernel

__all__ = ["STATE_BYTES", "chain"]

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
#: Parameter block: digest of 16 bytes, no key, fan-out and depth 1.
_PARAMETERS: Final = np.uint64(0x01010000 ^ STATE_BYTES)
#: Which words of the state a mixing step takes: columns, then diagonals.
_STEPS: Final = (
    (0, 4, 8, 12),
    (1, 5, 9, 13),
    (2, 6, 10, 14),
    (3, 7, 11, 15),
    (0, 5, 10, 15),
    (1, 6, 11, 12),
    (2, 7, 8, 13),
    (3, 4, 9, 14),
)


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _compress(typing_context: Any, h: Any, words: Any, at: Any, count: Any, final: Any) -> Any:
    """
    Take a block of 16 words, from `words[at]` on, into `h`.

    Written out as instructions, all 96 steps of it: as a loop over `_SIGMA` it takes 1.6 times as long, and written
    out in Python it takes seconds to compile.
    """
    signature = types.void(h, words, types.intp, types.uint64, types.uint64)
    word = ir.IntType(64)

    def rotated(builder: Any, value: Any, bits: int) -> Any:
        right = builder.lshr(value, ir.Constant(word, bits))
        return builder.or_(right, builder.shl(value, ir.Constant(word, 64 - bits)))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        state = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        block = cgutils.create_struct_proxy(signature.args[1])(context, builder, arguments[1]).data
        block = builder.gep(block, [arguments[2]])

        def place(base: Any, index: int) -> Any:
            return builder.gep(base, [ir.Constant(ir.IntType(64), index)])

        m = [builder.load(place(block, index)) for index in range(16)]
        before = [builder.load(place(state, index)) for index in range(8)]
        v = before + [ir.Constant(word, int(value)) for value in _IV]
        v[12] = builder.xor(v[12], arguments[3])
        v[14] = builder.xor(v[14], arguments[4])
        for order in _SIGMA:
            for number, (a, b, c, d) in enumerate(_STEPS):
                for index, (first, second) in enumerate(((32, 24), (16, 63))):
                    v[a] = builder.add(builder.add(v[a], v[b]), m[order[2 * number + index]])
                    v[d] = rotated(builder, builder.xor(v[d], v[a]), first)
                    v[c] = builder.add(v[c], v[d])
                    v[b] = rotated(builder, builder.xor(v[b], v[c]), second)
        for index in range(8):
            mixed = builder.xor(v[index], v[index + 8])
            builder.store(builder.xor(before[index], mixed), place(state, index))
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
        h[i] = _IV[i]
    h[0] ^= _PARAMETERS
    blocks = (length + _BLOCK - 1) // _BLOCK
    for block in range(blocks - 1):
        _compress(h, words, block * 16, np.uint64((block + 1) * _BLOCK), np.uint64(0))
    last = blocks - 1
    _compress(h, words, last * 16, np.uint64(length), np.uint64(0xFFFFFFFFFFFFFFFF))
    words[0] = h[0]
    words[1] = h[1]
