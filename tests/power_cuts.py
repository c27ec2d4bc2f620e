"""
What a power cut leaves of a folder: what was synced, and of the rest as little as a file system may keep.

Names are kept in the order in which they were changed: at the cut they are as they were at some moment since the last
sync of a folder in it, as a file system with a journal leaves them. The content of a file is what it was when it was
synced last, or any newer one; of a file that never was there may be nothing. Before the first look all is synced.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from random import Random

__all__ = ["PowerCut"]

#: Names below the folder: what has each, by inode; None for a folder.
_Tree = dict[str, int | None]


class PowerCut:
    """
    Watches a folder until the power goes.

    Args:
        folder: Folder to watch, which need not be there yet.
        is_named: Whether the disk has the folder's own name by now, if the folder is there.
    """

    def __init__(self, folder: Path, *, is_named: bool = True) -> None:
        self._folder = folder
        #: Open files, so that no number of an inode is given again.
        self._handles: dict[int, int] = {}
        #: Content that is on the disk for certain; None for nothing.
        self._durable: dict[int, bytes | None] = {}
        self._trees: list[_Tree] = [self._look(is_durable=True)]
        #: The first of the trees that the disk may have kept, and whether it has the folder's own name for certain.
        self._kept, self._is_named = 0, is_named and folder.is_dir()

    def close(self) -> None:
        """Let all files go."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def look(self) -> None:
        """Something has changed a name, or is about to."""
        tree = self._look()
        if tree != self._trees[-1]:
            self._trees.append(tree)

    def synced(self, handle: int) -> None:
        """A file or a folder was synced."""
        self.look()
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            if os.path.samestat(found, self._folder.parent.stat()):
                self._is_named = self._folder.is_dir()
            elif self._is_below(found):
                self._kept = len(self._trees) - 1
        elif found.st_ino in self._handles:
            self._durable[found.st_ino] = _content(self._handles[found.st_ino])

    def leave(self, target: Path, rng: Random) -> None:
        """Make a folder of what is left, now; none if it never came to the disk."""
        self.look()
        tree = self._trees[rng.randint(self._kept, len(self._trees) - 1)]
        if "" not in tree or not (self._is_named or rng.random() < 0.5):
            return
        for name, inode in sorted(tree.items()):
            path = target / name
            if inode is None:
                path.mkdir()
            else:
                path.write_bytes(self._left_of(inode, rng))

    def _is_below(self, found: os.stat_result) -> bool:
        folders = (self._folder / name for name, inode in self._trees[-1].items() if inode is None)
        return any(os.path.samestat(found, folder.stat()) for folder in folders)

    def _left_of(self, inode: int, rng: Random) -> bytes:
        durable, now = self._durable[inode], _content(self._handles[inode])
        if durable == now:
            return now
        durable = durable or b""
        if rng.random() < 0.5:
            return durable
        # The size came to the disk before the content did, or a part of what was appended.
        if now.startswith(durable):
            there = now[: rng.randint(len(durable), len(now))]
            return there + bytes(len(now) - len(there)) * (rng.random() < 0.5)
        return now

    def _look(self, *, is_durable: bool = False) -> _Tree:
        if not self._folder.is_dir():
            return {}
        tree: _Tree = {"": None}
        waiting = [""]
        while waiting:
            place = waiting.pop()
            with os.scandir(self._folder / place) as entries:
                for entry in entries:
                    name = f"{place}/{entry.name}".removeprefix("/")
                    if entry.is_dir(follow_symlinks=False):
                        tree[name] = None
                        waiting.append(name)
                        continue
                    tree[name] = inode = entry.inode()
                    if inode not in self._handles:
                        self._handles[inode] = os.open(entry.path, os.O_RDONLY)
                        self._durable[inode] = _content(self._handles[inode]) if is_durable else None
        return tree


def _content(handle: int) -> bytes:
    return os.pread(handle, os.fstat(handle).st_size, 0)
