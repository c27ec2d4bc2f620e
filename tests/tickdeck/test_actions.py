"""What step functions call is public under one name."""

from __future__ import annotations

from replay.fast import actions as own
from tickdeck import actions


def test_the_public_actions_are_all_there_are() -> None:
    assert sorted(actions.__all__) == sorted(own.__all__)
    assert all(getattr(actions, name) is getattr(own, name) for name in own.__all__)
