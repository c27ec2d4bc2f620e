from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import pytest

from toolkit.gc_tuning import rare_collections


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_collections_are_rare_inside_and_as_before_after_it() -> None:
    gc.set_threshold(700, 10, 10)
    with contextlib.suppress(RuntimeError), rare_collections():
        assert gc.get_threshold()[0] > 100_000
        raise RuntimeError("a failure inside")
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("thresholds", [(0, 10, 10), (1_000_000, 10, 10)])
def test_what_somebody_has_relaxed_or_switched_off_stays_so(thresholds: tuple[int, int, int]) -> None:
    gc.set_threshold(*thresholds)
    with rare_collections():
        assert gc.get_threshold() == thresholds
    assert gc.get_threshold() == thresholds
