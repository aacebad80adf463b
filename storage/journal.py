"""The journal: a file in front of the log's store, where a small entry is durable with one write.

A transaction of LMDB syncs twice (lmdb_store.py). A small entry is written here instead, and goes on into the store
with many others, in one transaction of the store: when the journal is full, when an entry comes that is too large for
it, when the log is trimmed, leased or closed.

    store      … 41 42                      entries up to the store's tail
    journal    43 44 45 |  ruins            those that follow it, from the beginning of the file

The file has a fixed size and was written whole when it was made, so that writing into it changes nothing but its
content, and it is opened such that a write returns when it is on the disk (O_DSYNC). Each entry begins a sector, and no
sector holds two: a write that is torn by a crash cannot hurt the entry before it.

What it holds needs no mark of its own: an entry's envelope says its position and the hash of the one before it
(envelope.py). Those count that follow the store's tail, one after the other, from the beginning of the file. What comes
behind them are *ruins*: entries that are in the store by now, or one that a crash has torn, which nobody was told of.
Only an entry further on cannot be a ruin: it was written after one that is gone, so that is damage. So that no value
in a row can pass for one, an entry of which another sector than the first begins as envelopes do goes into the store.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..base.errors import Corrupt, Unavailable
from ..base.limits import KIB, MIB
from .envelope import ENVELOPE_BYTES, MAGIC, Chain, extent_of, owned
from .files import DiskFiles, check_size, refused, write_whole
from .log import Entry

JOURNAL_FILE: Final = "journal"
JOURNAL_BYTES: Final = MIB
"""Its size. So much is put into the store at once, some thousand entries, while commits wait."""

JOURNALED_BYTES_MAX: Final = 32 * KIB
"""Larger entries go into the store themselves: there the second sync is no longer what costs most."""

SECTOR: Final = 512

assert JOURNALED_BYTES_MAX <= JOURNAL_BYTES, "an entry fits"


class Journal:
    """An open journal. For one appender at a time."""

    def __init__(self, path: Path, *, descriptor: int) -> None:
        self.path = path
        self.entries: list[bytes] = []  # what was written since ``restart``, one after the other
        self._descriptor = descriptor
        self._end = 0

    @classmethod
    def open(cls, folder: Path, *, new: bool) -> Journal:
        """Open the journal in ``folder`` to write, made where it is ``new``. Raises Unavailable when the disk refuses.

        What it holds counts as ruins from now on: ``entries_after`` first.
        """
        path = folder / JOURNAL_FILE
        try:
            if new:
                write_whole(DiskFiles(folder), JOURNAL_FILE, bytes(JOURNAL_BYTES))
            return cls(path, descriptor=os.open(path, os.O_WRONLY | os.O_DSYNC | os.O_CLOEXEC))
        except FileNotFoundError as error:
            raise _missing(path) from error
        except OSError as error:
            raise refused(error, path) from error

    def takes(self, entry: memoryview) -> bool:
        """Whether an entry can be appended: where it is small, fits, and has no sector that looks like another's."""
        size = len(entry)
        if size > JOURNALED_BYTES_MAX or self._end + size > JOURNAL_BYTES:
            return False
        return all(bytes(entry[at : at + len(MAGIC)]) != MAGIC for at in range(SECTOR, size, SECTOR))

    def append(self, entry: bytes) -> bool:
        """Write an entry durably; False where nobody can tell whether it was.

        Raises Unavailable when the disk refuses and nothing was written.
        """
        assert self.takes(memoryview(entry)), "the caller looks first"
        try:
            _write(self._descriptor, entry, at=self._end)
        except OSError as error:
            try:  # it may come to the disk later, and must not count then
                _write(self._descriptor, bytes(SECTOR), at=self._end)
            except OSError:
                return False
            raise refused(error, self.path) from error
        self.entries.append(entry)
        self._end += sectors(len(entry))
        return True

    def restart(self) -> None:
        """All entries are in the store: begin anew over them."""
        self.entries = []
        self._end = 0

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def entries_after(folder: Path, chain: Chain) -> list[Entry]:
    """The entries of the journal in ``folder`` that follow ``chain``, which moves on to the last.

    Raises Corrupt where the file is missing, or one is damaged that others were written after; Unavailable where it
    cannot be read.
    """
    path = folder / JOURNAL_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    check_size(str(path), len(content), JOURNAL_BYTES)
    found: list[Entry] = []
    at = 0
    while (
        extent := extent_of(content[at : at + ENVELOPE_BYTES])
    ) is not None and extent.position == chain.position + 1:
        try:
            found.append(chain.follow(owned(content[at : at + extent.size]), position=extent.position))
        except Corrupt:
            break
        at += sectors(extent.size)
    for sector in range(at, JOURNAL_BYTES, SECTOR):
        extent = extent_of(content[sector : sector + ENVELOPE_BYTES])
        if extent is not None and extent.position > chain.position + 1:
            raise Corrupt(
                f"entry {chain.position + 1} of {path} is damaged or missing, and entry {extent.position} is there",
                hint="Restore it from a backup.",
            )
    return found


def sectors(size: int) -> int:
    """``size`` rounded up to whole sectors."""
    return (size + SECTOR - 1) // SECTOR * SECTOR


def _missing(path: Path) -> Corrupt:
    return Corrupt(
        f"{path} is missing: the newest commits may have been in it",
        hint="Restore it from where the folder was copied from, or restore a backup.",
    )


def _write(descriptor: int, data: bytes, *, at: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:] if done else data, at + done)
