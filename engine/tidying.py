"""Files that hold little that is still needed: their sections move into one new file, as bytes, and they can go.

A flush writes one file for many cells. Merges then replace the segments of some cells, not of all, and one small
segment that is left would keep the whole file. So a file of which less than half is needed is emptied: the disk holds
at most about twice what the segments take. When nobody commits, it is done ``thoroughly``: the disk then holds at most
about a third more.

A file that is missing, or cut before the end of what is needed of it, stays as it is: its segments are damaged, and all
other files are emptied all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import numpy as np

from ..base.errors import NotFound, Unavailable
from ..storage.files import FileWriter
from .segment import Description, Section, Segment

NEEDED_SHARE: Final = 0.5
NEEDED_SHARE_THOROUGH: Final = 0.75
MOVED_BYTES_MAX: Final = 64 << 20
"""So much is moved at once; a flush may have to wait for it."""


def wasteful_files(segments: Sequence[Segment], size_of: Callable[[int], int], *, thoroughly: bool = False) -> set[int]:
    """Numbers of files of which less than half is needed, some at a time; ``thoroughly``: than three quarters.

    ``size_of`` gives a file's bytes, or raises where there are none.
    """
    share = NEEDED_SHARE_THOROUGH if thoroughly else NEEDED_SHARE
    needed: Counter[int] = Counter()
    ends: Counter[int] = Counter()
    for segment in segments:
        for section in _sections(segment.description):
            needed[section.file] += section.length
            ends[section.file] = max(ends[section.file], section.offset + section.length)
    found: set[int] = set()
    moved = 0
    for file, length in sorted(needed.items(), key=lambda item: item[1]):
        with suppress(NotFound, Unavailable):
            size = size_of(file)
            fits = moved + length <= MOVED_BYTES_MAX or (thoroughly and not found)
            if length < share * size and ends[file] <= size and fits:
                found.add(file)
                moved += length
    return found


def moved(
    description: Description,
    *,
    files: set[int],
    out: FileWriter,
    number: int,
    bytes_of: Callable[[Section], np.ndarray],
    done: dict[Section, Section],
) -> Description:
    """The description with its sections in ``files`` copied to the end of file ``number``."""

    def move(section: Section) -> Section:
        if section.file not in files:
            return section
        if section not in done:
            offset = out.pad(64)
            out.write(bytes_of(section))
            done[section] = replace(section, file=number, offset=offset)
        return done[section]

    overlay = None if description.overlay is None else move(description.overlay)
    return replace(description, place=move(description.place), overlay=overlay)


def touches(description: Description, files: set[int]) -> bool:
    """Whether any of the segment's sections lies in ``files``."""
    return any(section.file in files for section in _sections(description))


def _sections(description: Description) -> list[Section]:
    return [description.place] if description.overlay is None else [description.place, description.overlay]
