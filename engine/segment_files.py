"""The files that segments lie in: mapped when they are first read, removed when nothing in them is needed any more.

A file holds sections of many cells: segments and overlays. It is counted how many of them the manifest names, and who
else needs the file (a backup under way); the last one to let go removes it. Readers that still have it mapped go on:
the system keeps the bytes until they are done.

Touching a mapped page beyond the end of a file kills the process (SIGBUS). So the file's size is looked at whenever a
section is about to be read first, mapped or not: a file that was cut is Corrupt for whoever comes to it after that.
Not so for a reader that has the section already, nor where the disk fails under a mapped page.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

import numpy as np
import xxhash

from ..base.errors import Corrupt, NotFound, Unavailable
from ..storage.files import FileWriter, Throttle
from ..storage.overlay_section import decode_overlay, encode_overlay
from ..storage.segment import SegmentReader
from ..storage.storage import Storage, segment_name, segment_number
from .overlay import OPEN, Overlay
from .segment import Section


class SegmentFiles:
    """See the module. Thread-safe."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._uses: Counter[int] = Counter()
        self._maps: dict[int, np.ndarray] = {}  # address space only
        self._removing: set[int] = set()
        self._first_made: int | None = None  # the lowest number that this program made a file of

    def create(self, number: int, *, throttle: Throttle | None = None) -> FileWriter:
        """Begin a new file. Raises Unavailable when the disk refuses."""
        with self._lock:
            self._first_made = number if self._first_made is None else min(number, self._first_made)
        return self._storage.files.create(segment_name(number), throttle=throttle)

    def read_ahead(self, number: int, *, throttle: Throttle) -> None:
        """Bring a file into the page cache, so fast as ``throttle`` lets it."""
        self._storage.files.read_ahead(segment_name(number), throttle=throttle)

    def use(self, numbers: Iterable[int]) -> None:
        """Count one more use of each file."""
        with self._lock:
            self._uses.update(numbers)

    def release(self, numbers: Iterable[int]) -> None:
        """Count one use less of each; files that nobody uses are removed."""
        unused: list[int] = []
        with self._lock:
            for number in numbers:
                self._uses[number] -= 1
                if self._uses[number] <= 0:
                    del self._uses[number]
                    self._maps.pop(number, None)
                    self._removing.add(number)
                    unused.append(number)
        try:
            for number in unused:
                self._storage.files.remove(segment_name(number))
        finally:
            with self._lock:
                self._removing.difference_update(unused)

    def discard(self, number: int) -> None:
        """Remove a file that was written and that nothing came to use."""
        self._storage.files.remove(segment_name(number))

    def remove_strays(self) -> list[str]:
        """Remove files that nothing uses: what a crash left half done. Only when the log was replayed."""
        strays: list[str] = []
        for name in self._storage.files.names():
            number = segment_number(name)
            if number is not None and not self._uses[number]:
                self._storage.files.remove(name)
                strays.append(name)
        return strays

    def strays(self) -> list[str]:
        """Files that nothing uses, beside all that goes on: none that this program made, or removes just now."""
        before = set(self._storage.files.names())
        with self._lock:
            known, first_made = self._uses.keys() | self._removing, self._first_made
        numbers = {name: segment_number(name) for name in self._storage.files.names() if name in before}
        return [
            name
            for name, number in numbers.items()
            if number is None or (number not in known and (first_made is None or number < first_made))
        ]

    def used(self) -> list[int]:
        """The numbers of the files in use."""
        with self._lock:
            return sorted(self._uses)

    def open(self, place: Section) -> SegmentReader:
        """A reader of the segment at ``place``. Raises Corrupt, naming the file."""
        return SegmentReader.open(self.bytes(place), name=self._name(place), checksum=place.checksum)

    def read_overlay(self, place: Section | None, rows_count: int) -> Overlay:
        """The overlay at ``place``; an empty one for None. Raises Corrupt."""
        overlay = Overlay(rows_count)
        if place is not None:
            rows, ends, rest_end = decode_overlay(self.bytes(place), checksum=place.checksum, name=self._name(place))
            overlay.end_at(rows, ends)
            if rest_end != OPEN:
                overlay.end_rest(rest_end)
        return overlay

    def write_overlay(self, out: FileWriter, number: int, overlay: Overlay, *, up_to: int) -> Section | None:
        """Append the ends up to a version to file ``number``; None when there are none."""
        rows, ends = overlay.items(up_to)
        rest_end = overlay.rest_end if overlay.rest_end <= up_to else OPEN
        if not len(rows) and rest_end == OPEN:
            return None
        offset = out.pad(64)
        data = encode_overlay(rows, ends, rest_end=rest_end)
        out.write(data)
        return Section(file=number, offset=offset, length=len(data), checksum=xxhash.xxh3_64_intdigest(data))

    def size(self, number: int) -> int:
        """Bytes of a file."""
        return self._storage.files.size(segment_name(number))

    def bytes(self, place: Section) -> np.ndarray:
        """The section as it is in the file: uint8[length]. Raises Corrupt where the file is missing or too short.

        Nothing of it was touched then. A file that somebody else removed is there for as long as it is mapped.
        """
        with self._lock:
            mapped = self._maps.get(place.file)
            if mapped is None:
                mapped = self._map(place)
                self._maps[place.file] = mapped
        size = len(mapped)
        with suppress(NotFound, Unavailable):
            size = min(size, self.size(place.file))
        if place.offset + place.length > size:
            raise Corrupt(
                f"{self._name(place)}: the file has {size:,} bytes, the section ends at "
                f"{place.offset + place.length:,}",
                hint="Restore the database from a backup.",
            )
        return mapped[place.offset : place.offset + place.length]

    def _map(self, place: Section) -> np.ndarray:
        files, name = self._storage.files, segment_name(place.file)
        try:
            return files.map(name, size=files.size(name))
        except NotFound as error:
            raise Corrupt(
                f"{self._name(place)}: the file is missing", hint="Restore the database from a backup."
            ) from error

    def _name(self, place: Section) -> str:
        return f"{self._storage.files.name}/{segment_name(place.file)} at {place.offset}"
