"""Delays between attempts."""

from __future__ import annotations

from toolkit.transport.backoff import Backoff


def test_the_ceiling_doubles_up_to_the_maximum() -> None:
    """A venue that stays away is asked less and less often, but never given up."""
    backoff = Backoff(1, base_s=0.5, max_s=4.0)
    ceilings = []
    for _ in range(6):
        ceilings.append(backoff.ceiling_s)
        assert 0.0 <= backoff.next_s() <= ceilings[-1]
    assert ceilings == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_delays_depend_on_the_seed_alone() -> None:
    """Jitter can be repeated in a test, and differs between two clients."""
    first, again, other = (Backoff(seed) for seed in (1, 1, 2))
    delays = [first.next_s() for _ in range(8)]
    assert delays == [again.next_s() for _ in range(8)]
    assert delays != [other.next_s() for _ in range(8)]


def test_a_connection_that_lived_long_starts_over() -> None:
    """One loss after a day is not the continuation of yesterday's trouble; a short life is."""
    backoff = Backoff(1, base_s=1.0, max_s=60.0, reset_after_s=20.0)
    for _ in range(3):
        backoff.next_s()
    backoff.lived(19.9)
    assert backoff.ceiling_s == 8.0
    backoff.lived(20.0)
    assert backoff.ceiling_s == 1.0


def test_a_venue_that_is_down_for_a_month_does_not_overflow() -> None:
    """2.0 ** 1024 is an OverflowError."""
    backoff = Backoff(1, max_s=30.0)
    for _ in range(2000):
        backoff.next_s()
    assert backoff.ceiling_s == 30.0
