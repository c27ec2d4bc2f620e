"""The digest chain in compiled code is BLAKE2b, step for step."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest

from toolkit.kernels.hashing import STATE_BYTES, chain


@pytest.mark.parametrize("length", [1, 2, 111, 112, 113, 127, 128, 239, 240, 241, 368, 4096])
def test_the_chain_is_that_of_hashlib(length: int) -> None:
    """Contents that end before, at and after the border of a block, three of them in a row."""
    words = np.zeros((STATE_BYTES + length + 127) // 128 * 16, np.uint64)
    memory = words.view(np.uint8)
    scratch = np.zeros(8, np.uint64)
    state = bytes(STATE_BYTES)
    for turn in range(3):
        content = bytes((turn + place * 7) % 256 for place in range(length))
        memory[STATE_BYTES : STATE_BYTES + length] = np.frombuffer(content, np.uint8)
        memory[STATE_BYTES + length :] = 0
        chain(words, STATE_BYTES + length, scratch)
        state = blake2b(state + content, digest_size=STATE_BYTES).digest()
        assert memory[:STATE_BYTES].tobytes() == state
