"""Decimals that a float64 does not keep: how many there are is in the manifest, and their text in `raw`."""

from __future__ import annotations

import re
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["EXACT_DIGITS", "count_imprecise", "imprecise_decimals"]

#: float64 returns every decimal of up to 15 significant digits exactly.
EXACT_DIGITS: Final = 15
#: A quoted decimal that may have more.
_SUSPECT: Final = rf'"-?[0-9.]{{{EXACT_DIGITS + 1},}}"'
_suspects = re.compile(_SUSPECT.encode())


def count_imprecise(payloads: pa.Array) -> int:
    """Quoted decimals in the payloads that have more significant digits than a float64 keeps."""
    suspicious: Any = payloads.filter(pc.match_substring_regex(payloads, _SUSPECT))
    return sum(imprecise_decimals(text.encode()) for text in suspicious.to_pylist())


def imprecise_decimals(payload: bytes) -> int:
    """The same, of one payload."""
    return sum(_digits(match) > EXACT_DIGITS for match in _suspects.findall(payload))


def _digits(quoted: bytes) -> int:
    """Significant digits of a quoted decimal."""
    digits = quoted.strip(b'"').lstrip(b"-").replace(b".", b"").lstrip(b"0")
    return len(digits.rstrip(b"0"))
