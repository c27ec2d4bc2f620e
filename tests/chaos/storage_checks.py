"""What must hold of a recording after every step of the storage machine, and what is known of it for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recordings.care.recovery import needs_recovery
from recordings.care.verifying import verify
from recordings.format.manifest import read_manifest
from recordings.storage import lock_holder as lock_state
from tests.chaos.storage_model import Broken, Disk, event_of, events_in, rows_in, scratch_of, undisturbed
from tests.chaos.storage_session import Session
from toolkit.errors import TickdeckError
from toolkit.frames import Frame

__all__ = ["Expectation"]


class Expectation:
    """
    What is known of a recording, and whether its folder agrees.

    Attributes:
        folder: The recording.
        kept: Every frame that must be there, by its number, but for those of the session that is under way.
        is_cut: A session ended without a word, and nobody has stated that yet.
        is_import: Whether it was imported, not recorded.
        may_be_pruned: Raw frames may have been given up.
        session: Session that records now; None for none.
        theirs: Files that somebody else has put into the folder, by name.
        flipped: Content of files before a bit in them turned over, by path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: list[Frame] = []
        self.is_cut = False
        self.is_import = False
        self.may_be_pruned = False
        self.session: Session | None = None
        self.theirs: dict[str, bytes] = {}
        self.flipped: dict[Path, bytes] = {}
        self._cache: dict[Any, list[Frame]] = {}

    @property
    def known(self) -> list[Frame]:
        """Every frame that was ever given, in order."""
        return self.kept + (self.session.given if self.session is not None else [])

    @property
    def state(self) -> tuple[list[Frame], bool, int]:
        """What is known to be on the disk, for certain."""
        return self.kept, self.is_cut, self.session.flushed if self.session is not None else 0

    @state.setter
    def state(self, state: tuple[list[Frame], bool, int]) -> None:
        self.kept, self.is_cut, flushed = state
        if self.session is not None:
            self.session.flushed = max(flushed, self.session.synced)

    def leave(self, *, is_killed: bool = False, is_power_cut: bool = False) -> None:
        """The session is over; what it had flushed stays, and perhaps what it had not."""
        assert self.session is not None
        session, self.session = self.session, None
        session.leave(is_killed=is_killed)
        disk = self.disk()
        if disk is None:
            if session.flushed:
                raise Broken(f"{session.flushed} frames were flushed, and the recording is gone")
            return
        found = [frame for _, frame in disk.frames()]
        self._take_statement(found[: session.given[0].capture_seq] if session.given else found)
        rest = found[len(self.kept) :]
        count = next(
            (at for at, (frame, right) in enumerate(zip(rest, session.given, strict=False)) if frame != right),
            min(len(rest), len(session.given)),
        )
        if count < session.flushed:
            raise Broken(f"{session.flushed} frames were flushed, {count} are on the disk")
        self.kept = self.kept + session.given[:count]
        self.is_cut = self.is_cut or disk.is_cut
        if len(rest) > count:
            # It could not write its end, and has stated that itself.
            self.is_cut = self.is_cut or session.is_doomed
            self._take_statement(found)
        elif (
            is_power_cut
            and not count
            and disk.status == "running"
            and not disk.has_journals_from(session.first_segment)
        ):
            return  # its first journal had no name on the disk yet, and the manifest says that it had begun
        elif count < len(session.given) and not disk.is_cut:
            raise Broken(f"{len(session.given) - count} frames of a session are lost, and it ended well")

    def _take_statement(self, found: list[Frame | None]) -> None:
        """Whoever healed the folder has stated a loss, if a session had been cut, and only then."""
        extra = [frame for frame in found[len(self.kept) :] if frame is not None]
        if not extra:
            return
        if events_in(extra) != ["lost", "session_end"] or len(extra) != 2 or not self.is_cut:
            raise Broken(f"frames came from nowhere: {extra}" + ("" if self.is_cut else ", though no session was cut"))
        self.kept = self.kept + extra
        self.is_cut = False

    def disk(self) -> Disk | None:
        """What is there; None before there is a manifest."""
        return Disk(self.folder, self._cache, self.flipped) if (self.folder / "recording.json").exists() else None

    def check(self, *, is_under_way: bool = False) -> None:
        """The frames that are there, and the files of others."""
        for name, content in self.theirs.items():
            path = self.folder / name
            if not path.is_file() or path.read_bytes() != content:
                raise Broken(f"{name}, which is somebody's own, is gone")
        if self.session is None and not is_under_way and lock_state.is_held(self.folder):
            raise Broken("nobody records, and whoever follows would wait")
        disk = self.disk()
        if disk is None:
            if self.kept:
                raise Broken("the manifest is gone")
            return
        found = list(disk.frames())
        if [seq for seq, _ in found] != list(range(len(found))):
            raise Broken(f"frames are numbered {[seq for seq, _ in found]}")
        session = self.session
        frames = [frame for _, frame in found]
        if session is None or not session.given:
            self._take_statement(frames)
            given: list[Frame] = []
        else:
            self._take_statement(frames[: session.given[0].capture_seq])
            given = session.given
        expected = self.kept + given
        least = len(self.kept) + (session.flushed if session is not None else 0)
        if not least <= len(frames) <= len(expected):
            raise Broken(f"{len(frames)} frames are there, expected {least} to {len(expected)}")
        for frame, right in zip(frames, expected, strict=False):
            if frame is not None and frame != right:
                raise Broken(f"frame {right.capture_seq} is another: {frame}, expected {right}")
        if None in frames and not self.may_be_pruned:
            raise Broken("raw frames are gone that nobody pruned")
        if session is None and not is_under_way and not self.is_import and self.is_cut != disk.is_cut:
            raise Broken(f"a session was {'cut' if self.is_cut else 'ended well'}, and the folder says otherwise")

    def check_verified(self, *, is_quick: bool = False) -> None:
        """`verify` calls nothing sound that is not, and everything that is."""
        result = verify(self.folder, is_quick=is_quick)
        if not self.flipped and not result.is_sound:
            raise Broken(f"verify: {'; '.join(result.problems)}")
        if result.is_sound:
            segments = result.manifest.segments
            count = segments[-1].capture_seq_last + 1 if segments else 0
            digest, rows = undisturbed(self.known[:count], result.manifest.sources)
            if count and result.manifest.digest != digest:
                raise Broken("verify says sound of other frames than were recorded")
            if rows_in(self.folder) != rows:
                raise Broken("verify says sound of other rows than the frames give")
            if self.flipped and any(path.exists() for path in self.flipped):
                named = _names_in(self.folder)
                if any(path.relative_to(self.folder).as_posix() in named for path in self.flipped):
                    raise Broken("verify says sound of a file with a flipped bit")

    def check_tidy(self) -> None:
        """What was healed or rewritten is made of what its manifest names, what was set aside, and what others put there."""
        left = scratch_of(self.folder) - set(self.theirs)
        if left:
            raise Broken(f"left over: {sorted(left)}")
        named = _names_in(self.folder)
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            is_known = name in named or name in self.theirs or name.startswith("set-aside/")
            if path.is_file() and "/" in name and not is_known:
                raise Broken(f"left over: {name}")

    def check_outcome(self, name: str, refusal: BaseException | None, before: Disk) -> None:
        """Undisturbed, a command does what it is for, or says why it cannot."""
        if refusal is None:
            if needs_recovery(self.folder):
                raise Broken(f"{name} went through, and the folder needs healing")
            self.check_tidy()
            return
        text = str(refusal)
        is_meant = (
            name != "recover" and "is not sealed: run `tickdeck recover" in text and self._is_unsealed(before)
        ) or (name == "renormalize" and "holds no raw frames of segment" in text and self.may_be_pruned)
        if not is_meant or not isinstance(refusal, TickdeckError) or "\n" in text:
            raise Broken(f"{name} failed: {refusal!r}") from refusal

    def _is_unsealed(self, before: Disk) -> bool:
        return before.status == "running" or bool(before.journals)

    def check_read(self, kind: str, batch: list[Any], seq: int) -> int:
        """What a reader was given from frame `seq` on is right; the next frame."""
        if kind == "messages":
            numbers = [message.capture_seq for message in batch]
            if numbers != sorted(numbers) or (numbers and numbers[0] < seq - 1):
                raise Broken(f"messages go back to frame {numbers[0]} after {seq}")
            return int(numbers[-1]) + 1 if numbers else seq
        right = self.known[seq : seq + len(batch)]
        # Who reads a cut session is told what may be lost as healing will state it, by its own clock.
        rest = batch[len(right) :]
        is_told = not rest or (self.is_cut and events_in(rest) == ["lost", "session_end"] and len(rest) == 2)
        if not is_told or not all(map(_is_same, batch, right)):
            raise Broken(f"a reader of {kind} was given others than frames {seq} to {seq + len(batch) - 1}")
        return seq + len(batch)


def _is_same(frame: Frame, right: Frame) -> bool:
    """Whether a reader was given that frame; of a statement of loss the times may be others."""
    event = event_of(frame)
    return frame == right or (
        event in ("lost", "session_end") and (event, frame.capture_seq) == (event_of(right), right.capture_seq)
    )


def _names_in(folder: Path) -> set[str]:
    """The files that the manifest names."""
    manifest = read_manifest(folder)
    files = [file.path for segment in manifest.segments for file in segment.files]
    return {*files, *([] if manifest.resume is None else [manifest.resume.path])}
