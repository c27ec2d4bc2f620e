"""Sequences of the models as recordings: whatever a venue did, raw frames and rows replay to the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.format.manifest import Manifest, SourceInfo, read_manifest, write_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from tests.models.machine import BEGIN_NS, Machine, sequence
from tests.models.registry import MODELS
from tests.tapes import seen_in_replay


def recorded(folder: Path, machine: Machine) -> Recording:
    """The frames of a sequence, in segments."""
    folder.mkdir()
    protocol = machine.protocol
    options = protocol.options
    source = SourceInfo(protocol.venue, protocol.version, options.pairs, options.channels, options.accounts)
    write_manifest(folder, Manifest(created_ns=BEGIN_NS, sources=[source], software="a model"))
    sealer, journal, number = Sealer(folder), JournalWriter(folder, 0), 0
    for place, frame in enumerate(machine.frames, start=1):
        journal.append(frame)
        if place % 100 == 0:
            number += 1
            before, journal = journal, JournalWriter(folder, number, after=journal)
            before.close()
    journal.close()
    for each in range(number + 1):
        if (folder / "journal").is_dir() and any((folder / "journal").iterdir()):
            sealer.seal(each)
    manifest = read_manifest(folder)
    manifest.status = "sealed"
    write_manifest(folder, manifest)
    return Recording.open(folder)


@pytest.mark.parametrize("seed", ["recorded 1", "recorded 2"])
@pytest.mark.parametrize("venue", MODELS)
def test_a_sequence_replays_alike_from_frames_and_from_rows(venue: str, seed: str, tmp_path: Path) -> None:
    machine = Machine(MODELS[venue].make, seed)
    machine.run(sequence(seed, 60))
    recording = recorded(tmp_path / "tape", machine)
    assert len(recording.manifest.segments) > 1
    from_frames, digest = seen_in_replay(recording, "raw")
    from_rows, digest_of_rows = seen_in_replay(recording, "normalized")
    assert [message for message, _ in from_frames] == machine.messages
    assert from_rows == from_frames
    assert digest == digest_of_rows == recording.manifest.segments[-1].digest
