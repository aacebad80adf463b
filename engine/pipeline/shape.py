"""From expressions to the shape of a pipeline: what a generated kernel depends on, and what it is given.

    description     table, filter, keys, aggregates as expressions over the table's columns
       │ describe   types are looked at, values are not: literals and parameters become arguments (describe.py)
       ▼
    Pipeline        a Shape, and what stands behind its numbers: columns, dictionary tables, constants
       │ run.py     bounds of values from zones (bounds.py); constants computed
       ▼
    kernel          generated once per Shape (generate.py)

Columns of joined sides (sides.py) have the first slots: kernels fill them where they find a row's partner.

A shape is a tree of tuples. Every value in a kernel is an int64 or a float64; NULL stands beside it:

    integers      ("column", slot) ("int", k) ("add" | "sub" | "mul", a, b, bits) ("neg", a, bits) ("times", a, factor)
                  ("fit", a, limit) ("bucket", a, k_width, k_origin) ("case", branches, default) ("coalesce", parts)
                  ("floor" | "modulo" | "plus", a, n) ("quotient" | "remainder", a, k) ("abs", a, bits)
                  ("months" | "month_day", days)
    floats        ("double", slot) ("single", slot) ("real", k) ("fadd" | "fsub" | "fmul", a, b) ("fneg", a)
                  ("to_real", a, divisor) ("fcase", branches, default) ("fcoalesce", parts)
    truth         ("flag", slot) ("known", k) ("and" | "or", parts) ("not", a) ("is_null", value) ("is_true", a)
                  ("compare" | "fcompare", operator, a, b) ("in", a, ks) ("text", slot, table)

Integers are whatever the engine stores as such: numbers, dates, times, NUMERIC unscaled. Nothing in a kernel can
overflow, since ``bounds`` computes from the zones of the blocks to be read what every part can become: where that does
not fit, ``NotCovered``, and the relational executor finds out whether a row is really that large. So it is with all
that a kernel does not do: a pipeline gives the answer that the relational executor gives, or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ...base.types import Type
from ..expression.node import Expression
from ..schema import Table

Node: TypeAlias = tuple[Any, ...]


class NotCovered(Exception):
    """No pipeline for this; the text says why, for EXPLAIN."""


class NoRoom(NotCovered):
    """Pipelines that run have what memory there is; at another moment there may be more."""


class FarApart(NotCovered):
    """There is no room for a bit for each value that is to be counted once: they can be groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """``argument`` None: count(*). ``function``: count, sum, avg, min, max; ``distinct``: of different values."""

    function: str
    argument: Expression | None
    filter: Expression | None
    type: Type
    distinct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A relation that the table is joined with, which is given as rows when the pipeline runs: keys first.

    ``keys``: expressions over the table, which the side's first columns equal. ``columns``: what expressions call its
    other columns, by identifiers below 0, and their types. ``kind``: "inner", "left", "semi" or "anti"; the last two
    give no columns, and may have a key more than once. ``null_matters``: that a NULL among the keys of an "anti" side
    keeps every row out, as with NOT IN.
    """

    kind: str
    keys: tuple[Expression, ...]
    columns: tuple[tuple[int, Type], ...] = ()
    null_matters: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A side in a shape. ``keeps``: rows with a partner ("inner"), those without one ("anti"; "absent": and with a key
    that is not NULL), or all of them ("left").

    ``slots``: those of its columns. ``argument``: the number of its first integer argument: addresses of its table and
    what bounds it, the place of no partner; least value, size and stride of each key; addresses of values and validity
    of each column.
    """

    keeps: str
    hashed: bool
    keys: tuple[Node, ...]
    slots: tuple[int, ...]
    argument: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``slots``: (nullable) of each column; ``tables``: how many tables of dictionaries.

    ``sink``: "one" (no groups), "dense" (a key is one word, and that is the group's place), "set" (the same where
    nothing is asked of groups but whether there are any: a bit each), "parts" (keys are looked up), "rows" (nothing is
    grouped: accumulators are "value" or "fvalue", and "valid", of each row). ``accumulators``: (kind, value,
    condition), kinds "count", "sum", "min", "max", "fsum", "fmin", "fmax", "distinct" (its values are bits, see
    bits.py); the first counts rows. ``packing``: of each key the word to which it adds a digit and the word that holds
    it whole, or -1. ``key_arguments``: the number of the first integer argument of the keys: least value, digit of NULL
    and stride of each; behind them least value, stride and base of each "distinct".
    """

    slots: tuple[bool, ...]
    tables: int
    filters: tuple[Node, ...]
    keys: tuple[Node, ...]
    sink: str
    accumulators: tuple[tuple[str, Node | None, Node | None], ...]
    key_arguments: int
    packing: tuple[tuple[int, int], ...] = ()
    probes: tuple[Probe, ...] = ()

    @property
    def key_words(self) -> int:
        """Words of a key."""
        return max((word for words in self.packing for word in words), default=-1) + 1

    @property
    def distinct(self) -> list[int]:
        """The accumulators whose values are bits."""
        return [number for number, (kind, _, _) in enumerate(self.accumulators) if kind == "distinct"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A column as kernels read it; ``coded``: text by its codes. ``id`` below 0: a joined side's, its ``type``."""

    id: int
    type: Type
    coded: bool
    values: bool
    """Whether its values are wanted, and not only whether there are some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DictionaryTable:
    """Bytes or words by code of the text column in ``slot``: the truth of ``test``, or with None the group's number.

    ``key``: of that column; texts for which it is the same are one group. None: each is one.
    """

    slot: int
    test: Expression | None
    key: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """``expression`` without columns; as integer of ``scale`` digits after the point, or a float (None)."""

    expression: Expression
    scale: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """How a group's integer becomes a value of ``type``: ``origin + width * integer``, as constants' numbers.

    ``table``: of a text, or what is computed of one, the number of its table. ``joined``: of a joined side's text its
    slot. ``months``: it counts so many months since 1970. ``texts``: it counts these constants.
    """

    type: Type
    bucket: tuple[int, int] | None
    table: int | None
    joined: int | None = None
    months: int = 0
    texts: tuple[Expression, ...] = ()


SQUARES_UNIT: Final = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an aggregate is made of accumulators: ``value``, NULL where ``count`` is 0. ``scale``: of exact values.

    ``squares``: of a variance or standard deviation, the sums of the squares' quotients by ``SQUARES_UNIT``, and rests.
    """

    function: str
    value: int
    count: int
    type: Type
    scale: int = 0
    squares: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    table: Table
    shape: Shape
    """With "dense" for any sink with keys: run.py decides by the values."""
    slots: tuple[Slot, ...]
    tables: tuple[DictionaryTable, ...]
    integers: tuple[Constant, ...]
    reals: tuple[Constant, ...]
    keys: tuple[Key, ...]
    answers: tuple[Answer, ...]
    checked: tuple[Node, ...]
    """What is computed only to see that it can be: kernels do not."""
    conditions: tuple[Expression, ...] = ()
    """What the shape's filters are made of."""
    sides: tuple[Side, ...] = ()

    @property
    def joined_count(self) -> int:
        """How many slots are columns of sides: the first ones."""
        return sum(len(side.columns) for side in self.sides)

    @property
    def own_slots(self) -> tuple[Slot, ...]:
        """The table's own columns."""
        return self.slots[self.joined_count :]
