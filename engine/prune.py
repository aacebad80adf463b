"""Where rows can be for which a filter is true, seen from its conjunction of simple comparisons.

    key columns each equal to constants         those shards; those runs of a segment, and its key filter
    event time between constants                those slices, and parts whose event times meet the range
    leading columns of the sort key equal to    one range of encoded sort keys for each combination: in a segment
      constants, then at most one range         a run of rows, found by bisection; in a memtable, by the key's hash
    primary key equal to constants              rows found by the index
    any column compared with constants          blocks whose zones meet them (zones.py)

Only ``column <op> literal`` of one type counts, in either order, and an OR whose every branch says something about the
sort key; all else is left to the filter. So pruning may only ever leave out rows for which the filter is not true.
Where ``exact`` it leaves out all of those: the ranges say the whole filter.

Event times here are closed ranges ``[low, high]`` in the column's stored unit (microseconds, or days for DATE); ranges
of encoded keys are half-open, and their bounds are not padded.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

from ..base.errors import Invalid
from ..base.types import Kind, Type
from .expression.node import Call, Column, Expression, Literal
from .key_encoding import hash_one, microseconds_of
from .layout import DAY, Layout
from .zones import ZoneTest, comparison, zone_test

COMBINATIONS_MAX: Final = 1_024
"""Beyond this many combinations of key values, fewer columns are looked at."""


def _no_type(id: int) -> Type | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """Encoded sort keys from ``low`` to ``high`` (exclusive; None: no bound), both without padding.

    ``hash`` is that of the key columns where all keys of the range have the same ones.
    """

    low: bytes
    high: bytes | None
    hash: int | None

    @property
    def padded(self) -> bytes:
        """``low`` in whole words: the encoded key, where the range is that of a whole primary key."""
        return self.low.ljust((len(self.low) + 7) & ~7, b"\0")


@dataclass(kw_only=True)
class Pruning:
    """What None says nothing about is not restricted.

    ``low`` and ``high`` bound the stored event time. ``ranges`` ascend and do not overlap; ``whole``: each is of one
    whole primary key. ``exact``: the filter is true of every row in the ranges.
    """

    shards: frozenset[int] | None = None
    low: int | None = None
    high: int | None = None
    slice_low: int | None = None
    slice_high: int | None = None
    ranges: tuple[KeyRange, ...] | None = None
    whole: bool = False
    exact: bool = False
    filter: Expression | None = None
    types: Callable[[int], Type | None] = _no_type

    @cached_property
    def zones(self) -> ZoneTest | None:
        """What the filter says about the zones of blocks."""
        return zone_test(self.filter, self.types)

    @property
    def keys(self) -> tuple[bytes, ...] | None:
        """The encoded, padded primary keys of the only rows that can be wanted, in order."""
        return tuple(one.padded for one in self.ranges or ()) if self.whole else None

    @property
    def is_series(self) -> bool:
        """Whether each range is of one key (not: primary key), so that its hash finds the rows."""
        return self.ranges is not None and all(one.hash is not None for one in self.ranges)

    def keeps_times(self, low: int, high: int) -> bool:
        """Whether a chunk or segment with event times ``low`` to ``high`` may have rows."""
        return (self.low is None or high >= self.low) and (self.high is None or low <= self.high)


def prune(filter: Expression | None, layout: Layout) -> Pruning:
    """What ``filter`` says about where rows can be."""
    if filter is None:
        return Pruning()
    found = [_prune_one(parts, layout) for parts in _alternatives(filter, layout)]
    pruning = found[0] if len(found) == 1 else _either(found)
    if pruning.ranges is not None and len(pruning.ranges) > 1:
        pruning.ranges = _disjoint(pruning.ranges)
    if layout.sliced:
        scale = DAY if layout.time is not None and layout.time.type.kind is Kind.DATE else 1
        pruning.slice_low = None if pruning.low is None else layout.slice_of(pruning.low * scale)
        pruning.slice_high = None if pruning.high is None else layout.slice_of(pruning.high * scale)
    pruning.filter, pruning.types = filter, partial(_type_of, layout)
    return pruning


def _type_of(layout: Layout, id: int) -> Type | None:
    column = layout.by_id.get(id)
    return None if column is None else column.type


def stored_time(value: Any, kind: Kind) -> int:
    """An event time as its column stores it: microseconds, or days for DATE."""
    if isinstance(value, int):
        return value
    if kind is Kind.DATE:
        return value.toordinal() - datetime.date(1970, 1, 1).toordinal()
    return microseconds_of(value)


def conjuncts(expression: Expression) -> Iterator[Expression]:
    """The expressions that must all be true for ``expression`` to be true."""
    if isinstance(expression, Call) and expression.function == "and":
        for argument in expression.arguments:
            yield from conjuncts(argument)
    else:
        yield expression


def column_ids(expression: Expression | None) -> set[int]:
    """The columns that an expression reads."""
    match expression:
        case Column():
            return {expression.id}
        case Call():
            return set().union(*(column_ids(argument) for argument in expression.arguments))
        case None | Literal():
            return set()
        case _:
            parts: list[Expression] = []
            for branch in getattr(expression, "branches", ()):
                parts.extend(branch)
            parts += [part for name in ("argument", "default") if (part := getattr(expression, name, None)) is not None]
            return set().union(*(column_ids(part) for part in parts))


def _alternatives(filter: Expression, layout: Layout) -> list[list[Expression]]:
    """The conjunctions of which at least one must hold: more than one where an OR chooses among sort keys."""
    parts = list(conjuncts(filter))
    first = layout.sort_columns[0].id
    for place, part in enumerate(parts):
        if isinstance(part, Call) and part.function == "or" and len(part.arguments) <= COMBINATIONS_MAX:
            branches = [list(conjuncts(branch)) for branch in part.arguments]
            if all(any(_compares(conjunct, first) for conjunct in branch) for branch in branches):
                others = parts[:place] + parts[place + 1 :]
                return [branch + others for branch in branches]
    return [parts]


def _compares(conjunct: Expression, id: int) -> bool:
    found = comparison(conjunct)
    return found is not None and found[0].id == id


class _Comparisons:
    """The usable conjuncts by column: constants that it equals (the shortest IN), and bounds. ``places`` are those of
    the conjuncts, so that one can tell which were made use of.
    """

    def __init__(self, parts: Sequence[Expression], layout: Layout) -> None:
        self.equal: dict[int, tuple[int, list[Any]]] = {}
        self.bounds: dict[int, list[tuple[int, str, Any]]] = {}
        self.times: list[tuple[str, list[Any]]] = []
        self.nothing = False
        for place, part in enumerate(parts):
            if isinstance(part, Literal):
                self.nothing = self.nothing or part.value is not True
                continue
            found = comparison(part)
            if found is None or found[0].id not in layout.by_id:
                continue
            column, function, literals = found
            values = list(dict.fromkeys(literal.value for literal in literals))
            if not values:
                self.nothing = True
            elif function in ("equal", "in_list"):
                if column.id not in self.equal or len(values) < len(self.equal[column.id][1]):
                    self.equal[column.id] = (place, values)
            else:
                self.bounds.setdefault(column.id, []).append((place, function, values[0]))
            if layout.time is not None and column.id == layout.time.id and values:
                self.times.append((function, values))


def _prune_one(parts: Sequence[Expression], layout: Layout) -> Pruning:
    """What a conjunction says, but for what follows from it in the end (slices, zones)."""
    found = _Comparisons(parts, layout)
    if found.nothing:
        return Pruning(shards=frozenset(), ranges=(), exact=True)
    pruning = Pruning()
    for function, values in found.times:
        assert layout.time is not None, "times are compared"
        _bound(pruning, function, [stored_time(value, layout.time.type.kind) for value in values])
    try:
        _prune_keys(pruning, found, parts, layout)
    except Invalid:  # A constant that the column cannot hold: the filter itself finds no row.
        pruning.ranges = None
    return pruning


def _prune_keys(pruning: Pruning, found: _Comparisons, parts: Sequence[Expression], layout: Layout) -> None:
    """Ranges of encoded keys, and with them shards and whole primary keys."""
    encoder, columns = layout.sort_encoder, layout.sort_columns
    prefixes: list[tuple[bytes, tuple[Any, ...]]] = [(b"", ())]
    used: set[int] = set()
    leading = 0
    for leading, column in enumerate(columns):
        place, values = found.equal.get(column.id, (0, []))
        if not values or len(prefixes) * len(values) > COMBINATIONS_MAX:
            break
        pieces = [(encoder.encode_column(leading, value), value) for value in values]
        prefixes = [(prefix + piece, (*known, value)) for prefix, known in prefixes for piece, value in pieces]
        used.add(place)
    else:
        leading = len(columns)
    low, high = b"", None
    if leading < len(columns):
        low, high, places = _range_of(found.bounds.get(columns[leading].id, []), layout, leading)
        used.update(places)
    if not used:
        return
    hashes = _hashes(prefixes, layout, leading)
    found_ranges = [_key_range(prefix, low, high, hash) for (prefix, _), hash in zip(prefixes, hashes, strict=True)]
    pruning.ranges = tuple(one for one in found_ranges if one is not None)
    if layout.sharded and hashes[0] is not None:
        shards = layout.table.shards
        pruning.shards = frozenset(hash % shards for hash in hashes if hash is not None)
    pruning.whole = layout.encoder is not None and leading == len(columns)
    pruning.exact = len(used) + sum(isinstance(part, Literal) for part in parts) == len(parts)


def _range_of(
    bounds: Iterable[tuple[int, str, Any]], layout: Layout, index: int
) -> tuple[bytes, bytes | None, set[int]]:
    """The encodings of one column's values within its bounds, and which bounds those are."""
    nullable = layout.sort_columns[index].nullable
    low, high = b"", None
    used: set[int] = set()
    for place, function, value in bounds:
        try:
            encoded = layout.sort_encoder.encode_column(index, value)
        except Invalid:
            continue  # such as 1.234 for NUMERIC(5,2): the filter decides
        used.add(place)
        if function in ("greater", "greater_equal"):
            first = encoded if function == "greater_equal" else _after(encoded)
            low, high = (max(low, first), high) if first is not None else (encoded, b"")  # nothing is greater
        else:
            below = encoded if function == "less" else _after(encoded)
            high = below if high is None else min(high, high if below is None else below)
    if used and nullable and high is None:
        high = b"\1"  # NULLs stand behind all values, and no comparison is true of them.
    return low, high, used


def _key_range(prefix: bytes, low: bytes, high: bytes | None, hash: int | None) -> KeyRange | None:
    """The keys that begin with ``prefix`` and go on from ``low`` to ``high``; None if there can be none."""
    first = prefix + low
    last = _after(prefix) if high is None else prefix + high
    return KeyRange(low=first, high=last, hash=hash) if last is None or first < last else None


def _hashes(
    prefixes: list[tuple[bytes, tuple[Any, ...]]], layout: Layout, leading: int
) -> list[int | None]:  # fmt: skip
    """The hash of the key columns of each combination of the ``leading`` columns' values, where it has all of them."""
    if leading == len(layout.table.key) and layout.key_leads:
        return [hash_one(prefix.ljust((len(prefix) + 7) & ~7, b"\0")) for prefix, _ in prefixes]
    known = [values for _, values in prefixes]
    places = {column.id: index for index, column in enumerate(layout.sort_columns[:leading])}
    if not layout.table.key or not all(id in places for id in layout.table.key):
        return [None] * len(known)
    order = [places[id] for id in layout.table.key]
    return [layout.key_hash([values[place] for place in order]) for values in known]


def _either(found: Sequence[Pruning]) -> Pruning:
    """What is known where one of several holds. Ranges may overlap in the result."""
    ranges = [some for one in found for some in one.ranges or ()]
    every = all(one.ranges is not None for one in found) and len(ranges) <= COMBINATIONS_MAX
    wanted = [one for one in found if one.ranges != ()]  # what holds for no row adds nothing
    return Pruning(
        shards=_union([one.shards for one in wanted]),
        low=_extreme(min, [one.low for one in wanted]),
        high=_extreme(max, [one.high for one in wanted]),
        ranges=tuple(ranges) if every else None,
        whole=every and bool(wanted) and all(one.whole for one in wanted),
        exact=every and all(one.exact for one in found),
    )


def _union(shards: Sequence[frozenset[int] | None]) -> frozenset[int] | None:
    known = [some for some in shards if some is not None]
    return frozenset[int]().union(*known) if len(known) == len(shards) else None


def _extreme(choose: Any, times: Sequence[int | None]) -> int | None:
    known = [time for time in times if time is not None]
    return choose(known) if known and len(known) == len(times) else None


def _disjoint(ranges: Sequence[KeyRange]) -> tuple[KeyRange, ...]:
    """Ranges in order, those that overlap as one."""
    merged: list[KeyRange] = []
    for one in sorted(ranges, key=lambda one: one.low):
        last = merged[-1] if merged else None
        if last is None or (last.high is not None and last.high <= one.low):
            merged.append(one)
            continue
        high = None if last.high is None or one.high is None else max(last.high, one.high)
        merged[-1] = KeyRange(low=last.low, high=high, hash=last.hash if last.hash == one.hash else None)
    return tuple(merged)


def _after(encoded: bytes) -> bytes | None:
    """The least bytes above all that begin with ``encoded``; None: there are none."""
    kept = encoded.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None


def _bound(pruning: Pruning, function: str, times: list[int]) -> None:
    low = high = None
    match function:
        case "equal" | "in_list":
            low, high = min(times), max(times)
        case "less":
            high = times[0] - 1
        case "less_equal":
            high = times[0]
        case "greater":
            low = times[0] + 1
        case _:
            low = times[0]
    if low is not None:
        pruning.low = low if pruning.low is None else max(pruning.low, low)
    if high is not None:
        pruning.high = high if pruning.high is None else min(pruning.high, high)
