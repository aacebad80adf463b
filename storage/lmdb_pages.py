"""LMDB's pages, read without LMDB: what it takes on trust, checked.

LMDB has no checksums. What lies in its values has ours, and the log's chain and the manifest's sum notice an entry that
is missing. That leaves what decides which pages are read at all:

- ``check_meta``: two meta pages, of which the newer one counts. A bit that flips in a transaction number could make
  LMDB go back by one commit and not say so. Quick; called whenever a folder is opened.
- ``contents``: the entries of the named databases, for who must not trust LMDB to survive a damaged page.
- ``problems``: every page of the newer tree: its number, kind, bounds, order of keys, counts, and that no page is in
  use twice, or in use and free at once: LMDB would overwrite it. Reads all; for ``weft check``.

The format is that of LMDB 0.9 on 64-bit machines of this byte order (mdb.c, "Page Header", "MDB_meta", "MDB_node"):

    page       number u8 · - u2 · flags u2 · lower u2 · upper u2 · ...      flags: 1 branch, 2 leaf, 4 overflow, 8 meta
    meta       magic u4 · version u4 · address u8 · map size u8 · free database · main database · last page u8 ·
               transaction u8
    database   page size or 0 u4 · flags u2 · depth u2 · branch, leaf, overflow pages u8 · entries u8 · root u8
    node       low u2 · high u2 · flags u2 · key's size u2 · key · value    flags: 1 on overflow pages, 2 a database
    free       transaction → count u8, page numbers u8

Only for files that nobody is writing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..base.errors import Corrupt

_PAGE: Final = struct.Struct("<QHHHH")
_META: Final = struct.Struct("<IIQQ48s48sQQ")
_DATABASE: Final = struct.Struct("<IHHQQQQQ")
_NODE: Final = struct.Struct("<HHHH")
_NUMBER: Final = struct.Struct("<Q")
_MAGIC: Final = 0xBEEFC0DE
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_ON_OVERFLOW, _SUBTREE = 1, 2
_EMPTY: Final = (1 << 64) - 1
_DEPTH_MAX: Final = 32

assert _PAGE.size == 16, _PAGE.size
assert _META.size == 136, _META.size
assert _DATABASE.size == 48, _DATABASE.size


def check_meta(file: Path) -> None:
    """Raise Corrupt when the file's two meta pages do not tell one story. A file that is not there passes.

    The story: page 0 has an even transaction, page 1 an odd one, one above the other. The free list of a transaction
    names none that is later. The newer transaction could not use what the older one freed, so its free list still
    names the older one's last.
    """
    if not file.exists() or not file.stat().st_size:
        return
    with _Pages(file) as pages:
        older, newer = sorted(pages.metas(), key=lambda meta: meta.transaction)
        if older.transaction == newer.transaction == 0:
            return
        if newer.transaction != older.transaction + 1 or newer.place != newer.transaction & 1:
            raise pages.damage(f"its meta pages are of transactions {older.transaction} and {newer.transaction}")
        freed = [pages.last_freed(meta) for meta in (older, newer)]
        if freed[0] > older.transaction or freed[1] > newer.transaction or freed[1] < freed[0]:
            raise pages.damage(
                f"its meta pages of transactions {older.transaction} and {newer.transaction} have free lists up to "
                f"{freed[0]} and {freed[1]}"
            )


def problems(file: Path) -> Iterator[str]:
    """What is wrong with the file, in words; nothing when it is sound. Nobody may be writing it."""
    try:
        check_meta(file)
        with _Pages(file) as pages:
            meta = max(pages.metas(), key=lambda meta: meta.transaction)
            used: dict[int, str] = {0: "meta", 1: "meta"}
            free: dict[int, str] = {}
            tree = _Walk(pages, meta=meta, used=used)
            for key, value in tree.entries(meta.free, name="the free list", numeric=True):
                for page in _listed(pages, value):
                    if page in free:
                        yield f"{file}: page {page} is free twice"
                    free[page] = f"freed by transaction {_NUMBER.unpack(key)[0]}"
            for key, value in tree.entries(meta.main, name="the main database"):
                name = bytes(key).decode(errors="replace")
                for _ in tree.entries(_Database.unpack(value), name=f"database {name}"):
                    pass
            for page in sorted(used.keys() & free.keys()):
                yield f"{file}: page {page} belongs to {used[page]} and is {free[page]}"
            missing = meta.last_page + 1 - len(used.keys() | free.keys())
            if missing:
                yield f"{file}: {missing} pages are neither in use nor free"
    except Corrupt as error:
        yield error.message


def free_ranges(file: Path, *, bytes_min: int) -> list[tuple[int, int]]:
    """(offset, length) of what neither the newer meta page nor the older one needs, where it is as long as that.

    What the newer transaction freed, the older one still uses. Raises Corrupt.
    """
    with _Pages(file) as pages:
        meta = max(pages.metas(), key=lambda meta: meta.transaction)
        tree = _Walk(pages, meta=meta, used={})
        free = sorted(
            page
            for key, value in tree.entries(meta.free, name="the free list", numeric=True)
            if _NUMBER.unpack(key)[0] < meta.transaction
            for page in _listed(pages, value)
        )
        ranges: list[tuple[int, int]] = []
        for page in free:
            offset = page * pages.page_bytes
            if ranges and sum(ranges[-1]) == offset:
                ranges[-1] = ranges[-1][0], ranges[-1][1] + pages.page_bytes
            else:
                ranges.append((offset, pages.page_bytes))
        return [(offset, length) for offset, length in ranges if length >= bytes_min]


def contents(file: Path) -> dict[str, Iterator[tuple[bytes, bytes]]]:
    """The named databases: each an iterator of its entries, in order, that raises Corrupt at a damaged page.

    Raises Corrupt when it cannot be told which there are. Nothing is read of a file that is not there.
    """
    if not file.exists() or not file.stat().st_size:
        return {}
    with _Pages(file) as pages:
        meta = max(pages.metas(), key=lambda meta: meta.transaction)
        named = list(_Walk(pages, meta=meta, used={}).entries(meta.main, name="the main database"))
    return {bytes(key).decode(errors="replace"): _entries_of(file, bytes(key), bytes(value)) for key, value in named}


def _entries_of(file: Path, key: bytes, value: bytes) -> Iterator[tuple[bytes, bytes]]:
    with _Pages(file) as pages:
        meta = max(pages.metas(), key=lambda meta: meta.transaction)
        name = f"database {key.decode(errors='replace')}"
        yield from _Walk(pages, meta=meta, used={}).entries(_Database.unpack(value), name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Database:
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> _Database:
        if len(data) != _DATABASE.size:
            return cls(depth=0, branch_pages=0, leaf_pages=0, overflow_pages=0, entries=-1, root=_EMPTY)
        _, _, depth, branch, leaf, overflow, entries, root = _DATABASE.unpack(data)
        return cls(
            depth=depth, branch_pages=branch, leaf_pages=leaf, overflow_pages=overflow, entries=entries, root=root
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meta:
    place: int
    free: _Database
    main: _Database
    last_page: int
    transaction: int


class _Pages:
    """Pages by number. Raises Corrupt where one is not what it should be."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        self._count = 0
        self.page_bytes = 4096
        first = os.pread(self._descriptor, 16 + _META.size, 0)
        if len(first) == 16 + _META.size:
            (self.page_bytes,) = struct.unpack_from("<I", first, 16 + 24)
        if not 512 <= self.page_bytes <= 1 << 16 or self.page_bytes & (self.page_bytes - 1):
            self.close()
            raise self.damage("its first page is none of LMDB's")
        self._count = os.fstat(self._descriptor).st_size // self.page_bytes

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> _Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def damage(self, what: str) -> Corrupt:
        return Corrupt(f"{self._file} is damaged: {what}", hint="Restore it from a backup.")

    def metas(self) -> list[_Meta]:
        found: list[_Meta] = []
        for place in (0, 1):
            page = self.read(place, kind=_META_PAGE)
            magic, version, _, _, free, main, last_page, transaction = _META.unpack_from(page, 16)
            if magic != _MAGIC or version != 1:
                raise self.damage(f"meta page {place} has magic {magic:#x} and version {version}")
            found.append(
                _Meta(
                    place=place,
                    free=_Database.unpack(free),
                    main=_Database.unpack(main),
                    last_page=last_page,
                    transaction=transaction,
                )
            )
        return found

    def read(self, number: int, *, kind: int, count: int = 1) -> bytes:
        """``count`` pages from ``number`` on, of which the first says that it is of this kind."""
        if number + count > self._count:
            raise self.damage(f"page {number + count - 1} is beyond its end")
        data = os.pread(self._descriptor, count * self.page_bytes, number * self.page_bytes)
        own, _, flags, _, _ = _PAGE.unpack_from(data)
        if own != number or flags != kind:
            raise self.damage(f"page {number} says that it is page {own} of kind {flags}, and {kind} was expected")
        return data

    def kind(self, number: int) -> int:
        if number >= self._count:
            raise self.damage(f"page {number} is beyond its end")
        return _PAGE.unpack(os.pread(self._descriptor, _PAGE.size, number * self.page_bytes))[2]

    def nodes(self, data: bytes, *, number: int) -> list[tuple[int, int, bytes, int]]:
        """Flags, the value's size or the child's number, key and the value's offset, of each node of a page."""
        _, _, kind, lower, upper = _PAGE.unpack_from(data)
        if not (16 <= lower <= upper <= self.page_bytes) or lower % 2:
            raise self.damage(f"page {number} has bounds {lower} and {upper}")
        found: list[tuple[int, int, bytes, int]] = []
        for (at,) in struct.iter_unpack("<H", data[16:lower]):
            if not upper <= at <= self.page_bytes - _NODE.size:
                raise self.damage(f"page {number} has a node at {at}")
            low, high, flags, key_bytes = _NODE.unpack_from(data, at)
            value_at = at + _NODE.size + key_bytes
            size = low | high << 16
            if kind == _BRANCH:
                size, flags = size | flags << 32, 0
                end = value_at
            else:
                end = value_at + (8 if flags & _ON_OVERFLOW else size)
            if end > self.page_bytes:
                raise self.damage(f"page {number} has a node that ends at {end}")
            found.append((flags, size, data[at + _NODE.size : value_at], value_at))
        if not found:
            raise self.damage(f"page {number} is empty")
        return found

    def last_freed(self, meta: _Meta) -> int:
        """The last transaction that the free list names; 0 when it is empty."""
        number = meta.free.root
        if number == _EMPTY:
            return 0
        for _ in range(_DEPTH_MAX):
            kind = self.kind(number) & (_BRANCH | _LEAF)
            _, child, key, _ = self.nodes(self.read(number, kind=kind or _LEAF), number=number)[-1]
            if kind == _LEAF:
                if len(key) != _NUMBER.size:
                    raise self.damage(f"page {number} of its free list has a key of {len(key)} bytes")
                return _NUMBER.unpack(key)[0]
            number = child
        raise self.damage("its free list is too deep")


class _Walk:
    """All entries of a tree, in order, with all that can be checked on the way."""

    def __init__(self, pages: _Pages, *, meta: _Meta, used: dict[int, str]) -> None:
        self._pages = pages
        self._meta = meta
        self._used = used

    def entries(self, database: _Database, *, name: str, numeric: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """``numeric``: keys are numbers of this machine, in their order. Values on overflow pages are read, too."""
        found = {_BRANCH: 0, _LEAF: 0, _OVERFLOW: 0}
        count = 0
        last: bytes | int | None = None
        if database.root != _EMPTY:
            for key, value in self._tree(database.root, depth=database.depth, name=name, found=found):
                rank = int.from_bytes(key, "little") if numeric else key
                if last is not None and not last < rank:  # type: ignore[operator]
                    raise self._pages.damage(f"the keys of {name} are out of order at entry {count}")
                last = rank
                count += 1
                yield key, value
        counted = (found[_BRANCH], found[_LEAF], found[_OVERFLOW], count)
        written = (database.branch_pages, database.leaf_pages, database.overflow_pages, database.entries)
        if counted != written:
            raise self._pages.damage(f"{name} has {counted} branch, leaf, overflow pages and entries, not {written}")

    def _tree(self, number: int, *, depth: int, name: str, found: dict[int, int]) -> Iterator[tuple[bytes, bytes]]:
        if not 1 <= depth <= _DEPTH_MAX:
            raise self._pages.damage(f"{name} has depth {depth}")
        kind = _LEAF if depth == 1 else _BRANCH
        data = self._pages.read(number, kind=kind)
        self._use(number, 1, name=name)
        found[kind] += 1
        for flags, size, key, at in self._pages.nodes(data, number=number):
            if kind == _BRANCH:
                yield from self._tree(size, depth=depth - 1, name=name, found=found)
            elif flags & _ON_OVERFLOW:
                (first,) = _NUMBER.unpack_from(data, at)
                count = (16 + size + self._pages.page_bytes - 1) // self._pages.page_bytes
                value = self._pages.read(first, kind=_OVERFLOW, count=count)
                (stored,) = struct.unpack_from("<I", value, 12)
                if stored != count:
                    raise self._pages.damage(f"page {first} says that it is one of {stored}, not of {count}")
                self._use(first, count, name=name)
                found[_OVERFLOW] += count
                yield key, value[16 : 16 + size]
            else:
                yield key, data[at : at + size]

    def _use(self, first: int, count: int, *, name: str) -> None:
        for number in range(first, first + count):
            if number > self._meta.last_page:
                raise self._pages.damage(f"{name} has page {number}, and {self._meta.last_page} is the last")
            if number in self._used:
                raise self._pages.damage(f"page {number} belongs to {self._used[number]} and to {name}")
            self._used[number] = name


def _listed(pages: _Pages, value: bytes) -> tuple[int, ...]:
    """The page numbers of an entry of the free list."""
    count = _NUMBER.unpack_from(value)[0] if len(value) >= _NUMBER.size else _EMPTY
    if len(value) < _NUMBER.size * (count + 1):
        raise pages.damage(f"its free list has an entry of {len(value)} bytes for {count} pages")
    return struct.unpack_from(f"<{count}Q", value, _NUMBER.size)
