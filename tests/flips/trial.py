"""Flip bits, read with everything, and count what came of it."""

from __future__ import annotations

import os
import random
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.flips.readers import REFUSED, Reader, answer_of
from tests.flips.tapes import files_of
from toolkit.errors import TickdeckError


@dataclass
class Tally:
    """
    What became of the flips.

    Attributes:
        flips: How many there were, by kind of file.
        said: Answers that named the damage, by reader.
        same: Answers that were as before: the reader does not need what was damaged, or made it again.
        wrong: Answers that differed without a word.
        raised: Exceptions that are no error of ours.
        content: Flips with which `verify` was content.
        examples: Some of what should not be.
    """

    flips: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    content: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing answered wrongly, nothing gave a traceback, and `verify` was never content."""
        return not (self.wrong or self.raised or self.content)

    def table(self) -> str:
        """For people."""
        lines = [
            f"{sum(self.flips.values()):,} flips: " + ", ".join(f"{k} {n:,}" for k, n in sorted(self.flips.items()))
        ]
        lines.append(f"{'reader':<20}{'said so':>10}{'same answer':>13}{'silently other':>16}{'traceback':>11}")
        for name in dict.fromkeys([*self.said, *self.same, *self.wrong, *self.raised]):
            row = (self.said[name], self.same[name], self.wrong[name], self.raised[name])
            lines.append(f"{name:<20}{row[0]:>10,}{row[1]:>13,}{row[2]:>16,}{row[3]:>11,}")
        lines.append(f"verify was content {self.content:,} times")
        return "\n".join([*lines, *self.examples[:20]])


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """One bit of a file is another, in place, within the block."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes((byte ^ 1 << bit % 8,)))
    try:
        yield
    finally:
        with path.open("r+b") as file:
            file.seek(bit // 8)
            file.write(bytes((byte,)))


class Opened:
    """Which files are opened, as long as it is on. There is one: an audit hook stays for the life of a process."""

    _hooked: Opened | None = None

    def __init__(self) -> None:
        self.paths: set[str] | None = None
        sys.addaudithook(self._note)

    @classmethod
    def the_one(cls) -> Opened:
        """The process's."""
        cls._hooked = cls._hooked or cls()
        return cls._hooked

    def _note(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open" and self.paths is not None and isinstance(args[0], str):
            self.paths.add(os.path.realpath(args[0]))

    def by(self, read: Callable[[], object]) -> tuple[object, set[str]]:
        """What a function returns, and which files it opened."""
        self.paths = set()
        try:
            return read(), self.paths
        finally:
            self.paths = None


def random_bits(folder: Path, count: int, seed: object) -> Iterator[tuple[Path, int]]:
    """So many bits of all files of a recording, each as likely as any other."""
    rng = random.Random(f"flips/{seed}")
    files = files_of(folder)
    sizes = [path.stat().st_size for path in files]
    for path in rng.choices(files, sizes, k=count):
        yield path, rng.randrange(path.stat().st_size * 8)


def kind_of(folder: Path, path: Path) -> str:
    """Which kind of file it is."""
    relative = path.relative_to(folder)
    return path.suffix.lstrip(".") if relative.parts[0] == "checkpoints" else relative.parts[0].removesuffix(".json")


def run(
    folder: Path,
    readers: Mapping[str, Reader],
    count: int,
    seed: object,
    progress: Callable[[int], None] = lambda _: None,
    *,
    must_be_seen: bool = True,
    all_every: int = 50,
) -> Tally:
    """
    Flip `count` bits of a recording, one after the other, and read it with every reader each time.

    Args:
        folder: The recording; it is as it was afterwards.
        readers: By name.
        count: How many bits.
        seed: Decides which.
        progress: Told how many are done.
        must_be_seen: Whether `verify` has to see each; bits between the batches of a journal say nothing.
        all_every: A reader that does not open the file in question answers as before; it is asked only every so often,
            to see that this is so.
    """
    tally = Tally()
    sound: dict[str, str] = {}
    opens: dict[str, set[str]] = {}
    for name, read in readers.items():
        answer, opens[name] = Opened.the_one().by(partial(read, folder))
        sound[name] = answer_of(answer)
    refused = answer_of(REFUSED)
    assert refused not in sound.values()
    for done, (path, bit) in enumerate(random_bits(folder, count, seed), 1):
        where = f"bit {bit} of {path.relative_to(folder)}"
        tally.flips[kind_of(folder, path)] += 1
        with flipped(path, bit):
            for name, read in readers.items():
                if os.path.realpath(path) not in opens[name] and done % all_every:
                    tally.same[name] += 1
                    continue
                try:
                    answer = answer_of(read(folder))
                except TickdeckError as exc:
                    answer = refused
                    if "\n" in str(exc):
                        tally.raised[name] += 1
                        tally.examples.append(f"{where}: {name} says more than a line: {str(exc)[:200]!r}")
                except Exception:  # noqa: BLE001  # what a user would see as a traceback
                    tally.raised[name] += 1
                    tally.examples.append(f"{where}: {name} raised {traceback.format_exc().splitlines()[-1][:300]}")
                    continue
                if answer == refused:
                    tally.said[name] += 1
                elif answer == sound[name]:
                    tally.same[name] += 1
                    if name == "verify" and must_be_seen:
                        tally.content += 1
                        tally.examples.append(f"{where}: verify is content")
                else:
                    tally.wrong[name] += 1
                    tally.examples.append(f"{where}: {name} answers otherwise")
        progress(done)
    return tally
