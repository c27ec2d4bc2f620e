"""Which room of the replay may see which: the engine nothing, the seeded market the engine, a venue both."""

from __future__ import annotations

import pytest

from tests.test_layers import sources

#: What each room must not import.
BLIND_TO = {
    "replay.market.engine": ("replay.synthetic", "replay.serving", "replay.embedded", "toolkit.venues", "recordings"),
    "replay.synthetic": ("replay.serving", "replay.embedded", "toolkit.venues", "recordings"),
    "replay.serving.venues": ("replay.embedded",),
}


def is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


@pytest.mark.parametrize("room", BLIND_TO)
def test_a_room_of_the_replay_looks_one_way(room: str) -> None:
    here = [source for source in sources() if is_within(source.name, room)]
    assert len(here) >= 6
    wrong = [
        f"{source.name}:{line} imports {name}"
        for source in here
        for name, line in source.uses
        if any(is_within(name, other) for other in BLIND_TO[room])
    ]
    assert wrong == []


def test_a_venue_s_side_imports_no_other_venue_s() -> None:
    """Each is a folder that can be taken away."""
    rooms = ("replay.serving.venues", "toolkit.venues")
    wrong = []
    for source in sources():
        parts = source.name.split(".")
        own = next(
            (parts[room.count(".") + 1] for room in rooms if is_within(source.name, room) and source.name != room), None
        )
        for name, line in source.uses if own is not None else ():
            room = next((each for each in rooms if is_within(name, each) and name != each), None)
            if room is not None and name.split(".")[room.count(".") + 1] != own:
                wrong.append(f"{source.name}:{line} imports {name}")
    assert wrong == []
