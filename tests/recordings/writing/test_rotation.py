from __future__ import annotations

import pytest

from recordings.writing.rotation import Rotation
from toolkit.clock import NS_PER_S

HOUR = 3600 * NS_PER_S


def test_a_segment_ends_at_the_full_hour_whenever_it_began() -> None:
    rotation = Rotation(3600.0, 1000)
    rotation.begin(5 * HOUR + HOUR // 2)
    assert not rotation.is_due(6 * HOUR - 1, 0)
    assert rotation.is_due(6 * HOUR, 0)


@pytest.mark.parametrize(("byte_count", "is_due"), [(999, False), (1000, True), (1001, True)])
def test_a_segment_ends_at_a_size_before_its_time(byte_count: int, is_due: bool) -> None:
    rotation = Rotation(3600.0, 1000)
    rotation.begin(5 * HOUR)
    assert rotation.is_due(5 * HOUR + 1, byte_count) == is_due


def test_a_clock_that_steps_back_ends_the_segment() -> None:
    rotation = Rotation(3600.0, 1000)
    rotation.begin(5 * HOUR)
    assert not rotation.is_due(5 * HOUR, 0)
    assert rotation.is_due(5 * HOUR - 1, 0)


def test_a_segment_may_be_of_a_part_of_a_second() -> None:
    rotation = Rotation(0.25, 1000)
    rotation.begin(NS_PER_S)
    assert not rotation.is_due(NS_PER_S + NS_PER_S // 4 - 1, 0)
    assert rotation.is_due(NS_PER_S + NS_PER_S // 4, 0)
