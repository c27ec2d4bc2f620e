"""Going on behind journals that are sealed later: the state is the one that sealing comes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recordings.care.recovery import CarriedOver, carry_over, finish_leftovers
from recordings.care.verifying import verify
from recordings.format.manifest import read_manifest
from recordings.journal.journal_reader import journal_path
from recordings.sealing.journal_sealing import Sealer
from recordings.states.normalizer import Normalizer
from tests.recordings.care.test_recovery import DayLater, end, frame, heal, journal, raw, said, tape


def carried(folder: Path) -> tuple[CarriedOver, Normalizer]:
    finish_leftovers(folder)
    manifest = read_manifest(folder)
    normalizer = Normalizer.for_sources(manifest.sources)
    return carry_over(folder, manifest, normalizer, DayLater()), normalizer


def sealed(folder: Path, found: CarriedOver) -> str:
    sealer = Sealer(folder)
    for number in found.segments:
        sealer.seal(number)
    return read_manifest(folder).digest


def test_the_loss_is_stated_in_a_journal_of_its_own(tmp_path: Path) -> None:
    """Once, however often a recorder dies behind it."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0), frame(1)])
    journal(folder, 1, [frame(2)])
    for _ in range(2):
        found, normalizer = carried(folder)
        assert found == CarriedOver([0, 1, 2], 3, 5)
    assert sealed(folder, found) == normalizer.chain.hexdigest()
    assert [each.capture_seq for each in raw(folder)] == list(range(5))
    assert said(folder) == ["lost", "session_end"]
    assert heal(folder).lost_from is None
    assert verify(folder).problems == []


def test_a_session_that_ended_well_needs_no_statement(tmp_path: Path) -> None:
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0), end(1)])
    found, normalizer = carried(folder)
    assert found == CarriedOver([0], 1, 2)
    assert sealed(folder, found) == normalizer.chain.hexdigest()


def torn(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"torn")


def flipped(path: Path) -> None:
    """A batch in the middle is damaged; what holds the place of its frames is known to the state too."""
    content = bytearray(path.read_bytes())
    content[content.index(b"the middle")] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("fault", [torn, flipped])
def test_damage_gives_the_state_that_sealing_comes_to(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    from recordings.journal.journal_reader import JournalWriter

    folder = tape(tmp_path / "tape")
    writer = JournalWriter(folder, 0)
    for seq in range(6):
        writer.append(frame(seq, b'{"channel":"the middle"}' if seq == 2 else b'{"channel":"pong"}'))
        writer.drain()
    writer.close()
    fault(writer.path)
    journal(folder, 1, [frame(6)])
    found, normalizer = carried(folder)
    assert found == CarriedOver([0, 1, 2], 3, 9)
    assert sealed(folder, found) == normalizer.chain.hexdigest()
    assert [each.capture_seq for each in raw(folder)] == list(range(9))
    assert list((folder / "set-aside").iterdir())


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_empty_journals_take_no_number(tmp_path: Path, empty: int) -> None:
    """A recorder that died right after a rotation leaves one."""
    folder = tape(tmp_path / "tape")
    seq = 0
    for number in range(3):
        journal(folder, number, [] if number == empty else [frame(seq)])
        seq += number != empty
    found, normalizer = carried(folder)
    assert found == CarriedOver([0, 1, 2], 3, 4)
    assert sealed(folder, found) == normalizer.chain.hexdigest()
    assert not journal_path(folder, 3).exists()


def test_what_is_sealed_already_is_where_it_begins(tmp_path: Path) -> None:
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0), end(1)])
    heal(folder)
    journal(folder, 1, [frame(2)])
    finish_leftovers(folder)
    manifest = read_manifest(folder)
    normalizer = Normalizer.for_sources(manifest.sources)
    from recordings.states.checkpoints import read_checkpoint

    assert manifest.resume is not None
    read_checkpoint(folder, manifest.resume, normalizer)
    found = carry_over(folder, manifest, normalizer, DayLater())
    assert found == CarriedOver([1, 2], 3, 5)
    assert sealed(folder, found) == normalizer.chain.hexdigest()
