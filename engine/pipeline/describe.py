"""The pipeline of a description: expressions as nodes of a shape, their columns, tables and constants numbered.

What no kernel does raises NotCovered, whose text says what that is. A part of an expression that reads no column is a
constant, computed when a statement runs; so shapes do not depend on values.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, Final

from ...base.errors import WeftError
from ...base.types import BIGINT, Kind, Type
from ..expression.evaluate import check_supported
from ..expression.functions import FUNCTIONS, Volatility
from ..expression.node import Call, Case, Cast, Column, Expression, Literal, Parameter
from ..expression.tree import walk
from ..schema import Table
from .bounds import can_be_null
from .instead import instead
from .shape import (
    SQUARES_UNIT,
    Aggregation,
    Answer,
    Constant,
    DictionaryTable,
    Key,
    Node,
    NotCovered,
    Pipeline,
    Probe,
    Shape,
    Side,
    Slot,
)

WHOLE: Final = frozenset((Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT))
MOMENTS: Final = frozenset((Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ))
INTEGERS: Final = WHOLE | MOMENTS | {Kind.NUMERIC}
FLOATS: Final = frozenset((Kind.REAL, Kind.DOUBLE))
TEXTS: Final = frozenset((Kind.TEXT, Kind.VARCHAR, Kind.BYTEA, Kind.JSONB))
"""Values are equal where their bytes are."""

_PLAIN_TEXTS: Final = frozenset((Kind.TEXT, Kind.VARCHAR))
_BITS: Final = {Kind.SMALLINT: 16, Kind.INTEGER: 32}
_DAY: Final = 86_400_000_000
_WIDTHS: Final = {
    "microseconds": 1,
    "milliseconds": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": _DAY,
    "week": 7 * _DAY,
}
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
_MONDAY: Final = 4 * _DAY  # 1970-01-05

_ARITHMETIC: Final = {"add": "add", "subtract": "sub", "multiply": "mul"}
_COMPARISONS: Final = {
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
_OF_TRUTHS: Final = {"bool_and": "min", "every": "min", "bool_or": "max"}
_SPREADS: Final = {
    "var_pop": "var_pop",
    "var_samp": "var_samp",
    "variance": "var_samp",
    "stddev_pop": "stddev_pop",
    "stddev_samp": "stddev_samp",
    "stddev": "stddev_samp",
}


def describe(
    table: Table,
    filter: Sequence[Expression],
    keys: Sequence[Expression],
    aggregates: Sequence[Aggregation],
    sides: Sequence[Side] = (),
    *,
    outputs: Sequence[Expression] | None = None,
) -> Pipeline:
    """The pipeline of a filtered and grouped table, perhaps joined with small sides. Raises NotCovered.

    ``outputs``: nothing is grouped, and these are computed for each row.
    """
    builder = _Builder(table, sides)
    if outputs is not None:
        builder.accumulators.clear()
    probe_keys = [tuple(builder.side_key(key) for key in side.keys) for side in sides]
    filters = [builder.truth(part) for part in filter]
    key_nodes = [builder.key(key) for key in keys]
    answers = [builder.answer(aggregate) for aggregate in aggregates]
    answers += [builder.output(expression) for expression in outputs or ()]
    slots = tuple(
        Slot(id=id, type=builder.type_of(id), coded=id in builder.coded, values=id in builder.wanted)
        for id in builder.slots
    )
    probes: list[Probe] = []
    argument, slot = len(builder.integers), 0
    for side, nodes in zip(sides, probe_keys, strict=True):
        places = tuple(range(slot, slot + len(side.columns)))
        keeps = "inner" if side.kind == "semi" else side.kind
        probes.append(Probe(keeps=keeps, hashed=False, keys=nodes, slots=places, argument=argument))
        argument += 3 + 3 * len(nodes) + 2 * len(places)
        slot += len(places)
    shape = Shape(
        slots=tuple(builder.nullable),
        tables=len(builder.tables),
        filters=tuple(filters),
        keys=tuple(node for node, _ in key_nodes),
        sink="rows" if outputs is not None else "dense" if keys else "one",
        accumulators=tuple(builder.accumulators),
        key_arguments=argument,
        probes=tuple(probes),
    )
    return Pipeline(
        table=table,
        shape=shape,
        slots=slots,
        tables=tuple(builder.tables),
        integers=tuple(builder.integers),
        reals=tuple(builder.reals),
        keys=tuple(key for _, key in key_nodes),
        answers=tuple(answers),
        checked=tuple(builder.checked),
        conditions=tuple(filter),
        sides=tuple(sides),
    )


class _Builder:
    def __init__(self, table: Table, sides: Sequence[Side]) -> None:
        self._table = table
        self._joined = {id: type for side in sides for id, type in side.columns}
        self.slots: list[int] = list(self._joined)
        self.coded: set[int] = set()
        self.wanted: set[int] = set()
        self.tables: list[DictionaryTable] = []
        self.integers: list[Constant] = []
        self.reals: list[Constant] = []
        self.checked: list[Node] = []
        self.accumulators: list[tuple[str, Node | None, Node | None]] = [("count", None, None)]

    # Sinks.

    def key(self, expression: Expression) -> tuple[Node, Key]:
        type = expression.type
        if isinstance(expression, Column) and expression.id in self._joined and type.kind in TEXTS:
            slot = self._slot(expression)
            return ("column", slot), Key(type=type, bucket=None, table=None, joined=slot)
        if isinstance(expression, Column) and type.kind in TEXTS:
            slot = self._slot(expression, coded=True)
            table = self._dictionary_table(DictionaryTable(slot=slot, test=None))
            return ("code", slot, table), Key(type=type, bucket=None, table=table)
        if self._is_of_text(expression) and type.kind in INTEGERS | _PLAIN_TEXTS:
            slot = self._of_text(expression)
            table = self._dictionary_table(DictionaryTable(slot=slot, test=None, key=expression))
            return ("code", slot, table), Key(type=type, bucket=None, table=table)
        if isinstance(expression, Case) and type.kind in _PLAIN_TEXTS:
            return self._case_of_texts(expression)
        if (
            isinstance(expression, Call)
            and expression.function in ("date_trunc", "time_bucket")
            and expression.type.kind is Kind.TIMESTAMP
        ):
            months = _MONTHS.get(_text_of(expression.arguments[0])) if expression.function == "date_trunc" else None
            if months is not None and len(expression.arguments) == 2:
                node = ("floor", ("months", self._days(expression.arguments[1])), months)
                return node, Key(type=type, bucket=None, table=None, months=months)
            width, origin = self._bucket(expression)
            node = ("bucket", self.integer(expression.arguments[1]), width, origin)
            return node, Key(type=type, bucket=(width, origin), table=None)
        if type.kind is Kind.BOOLEAN:
            return ("truth_key", self.truth(expression)), Key(type=type, bucket=None, table=None)
        if _is_constant(expression):
            raise NotCovered("it groups by a constant")
        if type.kind in FLOATS:
            return ("real_key", self.real(expression)), Key(type=type, bucket=None, table=None)
        if type.kind not in INTEGERS:
            raise NotCovered(f"it groups by {type}")
        return self.integer(expression), Key(type=type, bucket=None, table=None)

    def _is_of_text(self, expression: Expression) -> bool:
        """Whether it is computed of one column alone, a text."""
        columns = {part.id for part in walk(expression) if isinstance(part, Column)}
        return len(columns) == 1 and self._is_text(*columns)

    def _of_text(self, expression: Expression) -> int:
        """The slot of the text that it is computed of."""
        try:
            check_supported(expression)
        except WeftError:
            raise NotCovered("the engine does not evaluate what is computed of text") from None
        return self._slot(next(part for part in walk(expression) if isinstance(part, Column)), coded=True)

    def _case_of_texts(self, expression: Case) -> tuple[Node, Key]:
        """CASE … THEN 'one' ELSE 'other' END, by the numbers of its constants."""
        texts: list[Expression] = []

        def number(then: Expression) -> Node | None:
            if isinstance(then, Literal) and then.value is None:
                return None
            if not _is_constant(then):
                raise NotCovered("it groups by text")
            if then not in texts:
                texts.append(then)
            return ("int", self._number(texts.index(then)))

        branches = tuple((self.truth(test), number(then)) for test, then in expression.branches)
        node = ("case", branches, number(expression.default))
        return node, Key(type=expression.type, bucket=None, table=None, texts=tuple(texts))

    def side_key(self, expression: Expression) -> Node:
        """What the key of a joined side equals."""
        if _is_constant(expression):
            raise NotCovered("a joined key is a constant")
        return self.integer(expression)

    def answer(self, aggregate: Aggregation) -> Answer:
        function, argument, type = aggregate.function, aggregate.argument, aggregate.type
        condition = None if aggregate.filter is None else self.truth(aggregate.filter)
        if argument is None:
            place = self._accumulator("count", None, condition)
            return Answer(function="count", value=place, count=place, type=type)
        if aggregate.distinct:
            node, key = self.key(argument)
            computed = key.table is not None and self.tables[key.table].key is not None
            if function != "count" or node[0] == "real_key" or computed or key.texts:  # one value may have two numbers
                raise NotCovered(f"{function}(DISTINCT {argument.type})")
            place = self._accumulator("distinct", node, condition)
            return Answer(function="count", value=place, count=place, type=type)
        if function == "count":
            node = self._presence(argument)
            place = self._accumulator("count", node, condition)
            return Answer(function="count", value=place, count=place, type=type)
        kind = argument.type.kind
        if function in _SPREADS:
            return self._spread(aggregate, condition)
        if function in _OF_TRUTHS:
            function, node, prefix = _OF_TRUTHS[function], ("truth_key", self.truth(argument)), ""
        elif kind in FLOATS:
            node, prefix = self.real(argument), "f"
            if kind is Kind.REAL and function != "min" and function != "max":
                raise NotCovered(f"{function} of real")
        elif kind in INTEGERS:
            node, prefix = self.integer(argument), ""
            if kind in MOMENTS and function in ("sum", "avg"):
                raise NotCovered(f"{function} of {argument.type}")
        else:
            raise NotCovered(f"{function} of {argument.type}")
        if function not in ("sum", "avg", "min", "max"):
            raise NotCovered(f"the aggregate {function}")
        count = self._accumulator("count", self._presence(argument, unseen=False), condition)
        value = self._accumulator(prefix + ("sum" if function == "avg" else function), node, condition)
        return Answer(function=function, value=value, count=count, type=type, scale=argument.type.scale or 0)

    def _spread(self, aggregate: Aggregation, condition: Node | None) -> Answer:
        """A variance or standard deviation: of exact values, from the sums of them and of their squares."""
        argument = aggregate.argument
        assert argument is not None, "a spread is of something"
        argument = argument.argument if isinstance(argument, Cast) else argument
        if argument.type.kind not in WHOLE | {Kind.NUMERIC}:
            raise NotCovered(f"{aggregate.function} of {argument.type}")
        node = self.integer(argument)
        square = ("mul", node, node, 64)
        count = self._accumulator("count", self._presence(argument, unseen=False), condition)
        value = self._accumulator("sum", node, condition)
        halves = [("floor", square, SQUARES_UNIT), ("modulo", square, SQUARES_UNIT)]  # so that many can be added up
        high, low = (self._accumulator("sum", half, condition) for half in halves)
        return Answer(
            function=_SPREADS[aggregate.function],
            value=value,
            count=count,
            type=aggregate.type,
            scale=argument.type.scale or 0,
            squares=(high, low),
        )

    def output(self, expression: Expression) -> Answer:
        """A column of a row."""
        kind = expression.type.kind
        if kind in FLOATS:
            node, prefix = self.real(expression), "f"
        elif kind is Kind.BOOLEAN:
            node, prefix = ("truth_key", self.truth(expression)), ""
        else:
            node, prefix = self.integer(expression), ""
        value = self._accumulator(prefix + "value", node, None)
        there = self._accumulator("valid", node, None)
        return Answer(function="value", value=value, count=there, type=expression.type)

    def _presence(self, argument: Expression, *, unseen: bool = True) -> Node | None:
        """What is counted: None where it is never NULL. ``unseen``: nothing else is computed of it."""
        if isinstance(argument, Column):
            if not self._is_nullable(argument.id):
                return None
            return ("present", self._slot(argument, values=False))
        if argument.type.kind is Kind.BOOLEAN:
            node = self.truth(argument)
        else:
            node = self.real(argument) if argument.type.kind in FLOATS else self.integer(argument)
        if unseen:
            self._check_unseen(node)
        return node if can_be_null(node, self.nullable) else None

    def _check_unseen(self, node: Node) -> None:
        """Of a value that is asked only whether it is NULL: it may fail all the same."""
        self.checked.append(node)
        if any(part in repr(node) for part in ("'fadd'", "'fsub'", "'fmul'")):
            raise NotCovered("a float is computed only to be counted")

    def _accumulator(self, kind: str, node: Node | None, condition: Node | None) -> int:
        found = (kind, node, condition)
        if found not in self.accumulators:
            self.accumulators.append(found)
        return self.accumulators.index(found)

    # Values.

    def integer(self, expression: Expression) -> Node:
        """An expression of an integer kind."""
        type = expression.type
        if type.kind not in INTEGERS:
            raise NotCovered(f"it computes with {type}")
        if _is_constant(expression):
            return self._constant(expression, type.scale or 0)
        match expression:
            case Column():
                return ("column", self._slot(expression))
            case Cast(argument=argument):
                return self._cast(argument, type)
            case Call(function=function, arguments=(first, second)) if function in _ARITHMETIC:
                kinds = {first.type.kind, second.type.kind, type.kind}
                if len(kinds) > 1 or not kinds <= WHOLE | {Kind.NUMERIC}:
                    raise NotCovered(f"it computes {function} of {first.type} and {second.type}")
                left, right = self.integer(first), self.integer(second)
                if type.kind is Kind.NUMERIC:
                    if function == "multiply":
                        if (first.type.scale or 0) + (second.type.scale or 0) != type.scale:
                            raise NotCovered("a product is rounded")
                    else:
                        left = self._scaled(left, first.type, type.scale or 0)
                        right = self._scaled(right, second.type, type.scale or 0)
                return (_ARITHMETIC[function], left, right, _BITS.get(type.kind, 64))
            case Call(function="negate", arguments=(argument,)) if argument.type == type and type.kind not in MOMENTS:
                return ("neg", self.integer(argument), _BITS.get(type.kind, 64))
            case Call(function="abs", arguments=(argument,)) if argument.type == type:
                return ("abs", self.integer(argument), _BITS.get(type.kind, 64))
            case Call(function="modulo" | "mod" | "divide" as function, arguments=(first, second)) if (
                {first.type, second.type} == {type} and type.kind in WHOLE and _is_constant(second)
            ):
                name = "quotient" if function == "divide" else "remainder"
                return (name, self.integer(first), self._constant(second, 0)[1])
            case Call(function="date_trunc" | "time_bucket") if type.kind is Kind.TIMESTAMP:
                width, origin = self._bucket(expression)
                bucket = ("bucket", self.integer(expression.arguments[1]), width, origin)
                return ("add", ("mul", bucket, ("int", width), 64), ("int", origin), 64)
            case Call(function="extract", arguments=(field, moment)):
                return self._field(_text_of(field), moment)
            case Call(function="coalesce", arguments=arguments) if all(item.type == type for item in arguments):
                return ("coalesce", tuple(self.integer(item) for item in arguments))
            case Case(branches=branches, default=default):
                found = tuple((self.truth(test), self._branch(then)) for test, then in branches)
                return ("case", found, self._branch(default))
            case Call() if (other := instead(expression)) is not None:
                return self.integer(other)
            case _:
                raise NotCovered(f"it computes {_name(expression)}")

    def _days(self, moment: Expression) -> Node:
        """Days since 1970 of a date or timestamp."""
        if moment.type.kind is Kind.DATE:
            return self.integer(moment)
        if moment.type.kind is not Kind.TIMESTAMP:
            raise NotCovered(f"it asks {moment.type} for a part")
        return ("floor", self.integer(moment), _DAY)

    def _field(self, field: str, moment: Expression) -> Node:
        """What ``extract`` gives."""
        if field in ("hour", "minute") and moment.type.kind is Kind.TIMESTAMP:
            unit, of = (_WIDTHS["hour"], 24) if field == "hour" else (_WIDTHS["minute"], 60)
            return ("modulo", ("floor", self.integer(moment), unit), of)
        days = self._days(moment)
        months = ("months", days)
        match field:
            case "year":
                return ("plus", ("floor", months, 12), 1970)
            case "quarter":
                return ("plus", ("floor", ("modulo", months, 12), 3), 1)
            case "month":
                return ("plus", ("modulo", months, 12), 1)
            case "day":
                return ("month_day", days)
            case "dow":
                return ("modulo", ("plus", days, 4), 7)
            case "isodow":
                return ("plus", ("modulo", ("plus", days, 3), 7), 1)
            case _:
                raise NotCovered(f"it extracts {field}")

    def _branch(self, expression: Expression) -> Node | None:
        """A result of CASE; None is NULL."""
        if isinstance(expression, Literal) and expression.value is None:
            return None
        return self.real(expression) if expression.type.kind in FLOATS else self.integer(expression)

    def real(self, expression: Expression) -> Node:
        """An expression of a float kind."""
        type = expression.type
        if type.kind not in FLOATS:
            raise NotCovered(f"it computes with {type}")
        if _is_constant(expression):
            return self._constant(expression, None)
        match expression:
            case Column():
                return ("double" if type.kind is Kind.DOUBLE else "single", self._slot(expression))
            case Cast(argument=argument) if type.kind is Kind.DOUBLE:
                if argument.type.kind in WHOLE or argument.type.kind is Kind.NUMERIC:
                    return ("to_real", self.integer(argument), 10 ** (argument.type.scale or 0))
                if argument.type.kind is Kind.REAL:
                    return self.real(argument)
            case Call(function=function, arguments=(first, second)) if (
                function in _ARITHMETIC and {first.type.kind, second.type.kind} <= FLOATS and type.kind is Kind.DOUBLE
            ):
                return ("f" + _ARITHMETIC[function], self.real(first), self.real(second))
            case Call(function="negate", arguments=(argument,)) if argument.type == type:
                return ("fneg", self.real(argument))
            case Call(function="coalesce", arguments=arguments) if all(item.type == type for item in arguments):
                return ("fcoalesce", tuple(self.real(item) for item in arguments))
            case Case(branches=branches, default=default):
                found = tuple((self.truth(test), self._branch(then)) for test, then in branches)
                return ("fcase", found, self._branch(default))
            case Call() if (other := instead(expression)) is not None:
                return self.real(other)
            case _:
                pass
        raise NotCovered(f"it computes {_name(expression)}")

    def _cast(self, argument: Expression, type: Type) -> Node:
        source = argument.type
        if source.kind in WHOLE and type.kind in WHOLE:
            node = self.integer(argument)
            return node if _width(source) <= _width(type) else ("fit", node, (1 << (_width(type) - 1)) - 1)
        if (source.kind in WHOLE or source.kind is Kind.NUMERIC) and type.kind is Kind.NUMERIC:
            scale, precision = type.scale or 0, type.precision or 38
            if (source.scale or 0) > scale:
                raise NotCovered("a number is rounded")
            node = self._scaled(self.integer(argument), source, scale)
            return node if precision >= 19 else ("fit", node, 10**precision - 1)
        if source.kind is Kind.DATE and type.kind is Kind.TIMESTAMP:
            return ("times", self.integer(argument), _DAY)
        if source.kind is Kind.TIMESTAMP and type.kind is Kind.DATE:
            return self._days(argument)
        raise NotCovered(f"it casts {source} to {type}")

    def _scaled(self, node: Node, source: Type, scale: int) -> Node:
        """A number with ``scale`` digits after the point."""
        more = scale - (source.scale or 0)
        if not more:
            return node
        if node[0] == "int":
            return self._constant(self.integers[node[1]].expression, scale)
        return ("times", node, 10**more)

    # Truth.

    def truth(self, expression: Expression) -> Node:
        """An expression of type BOOLEAN."""
        if expression.type.kind is not Kind.BOOLEAN:
            raise NotCovered(f"a condition is {expression.type}")
        if _is_constant(expression):
            return ("known", self._constant(expression, 0)[1])
        about_null = isinstance(expression, Call) and expression.function in ("is_null", "is_not_null")
        if self._is_of_text(expression) and not about_null:
            slot = self._of_text(expression)
            return ("text", slot, self._dictionary_table(DictionaryTable(slot=slot, test=expression)))
        match expression:
            case Column():
                return ("flag", self._slot(expression))
            case Call(function="and" | "or" as function, arguments=arguments):
                return (function, tuple(self.truth(item) for item in arguments))
            case Call(function="not", arguments=(argument,)):
                return ("not", self.truth(argument))
            case Call(function="is_null", arguments=(argument,)):
                return self._is_null(argument)
            case Call(function="is_not_null", arguments=(argument,)):
                return ("not", self._is_null(argument))
            case Call(function="is_true", arguments=(argument,)):
                return ("is_true", self.truth(argument))
            case Call(function="is_not_true", arguments=(argument,)):
                return ("not", ("is_true", self.truth(argument)))
            case Call(function="is_false", arguments=(argument,)):
                return ("is_true", ("not", self.truth(argument)))
            case Call(function="is_not_false", arguments=(argument,)):
                return ("not", ("is_true", ("not", self.truth(argument))))
            case Call() if (other := instead(expression)) is not None:
                return self.truth(other)
            case Call(function=function, arguments=(first, second)) if function in _COMPARISONS:
                return self._comparison(_COMPARISONS[function], first, second)
            case Call(function="in_list", arguments=(first, *others)) if first.type.kind in INTEGERS:
                scale = max(item.type.scale or 0 for item in (first, *others))
                if any(item.type.kind is not first.type.kind or not _is_constant(item) for item in others):
                    raise NotCovered("IN is of more than constants")
                if len(others) > IN_MAX:
                    raise NotCovered("IN has many constants")
                left = self._scaled(self.integer(first), first.type, scale)
                return ("in", left, tuple(self._constant(item, scale)[1] for item in others))
            case _:
                raise NotCovered(f"a condition is {_name(expression)}")

    def _comparison(self, operator: str, first: Expression, second: Expression) -> Node:
        kinds = {first.type.kind, second.type.kind}
        if kinds <= FLOATS:
            if Kind.REAL in kinds and len(kinds) == 1 and (_is_constant(first) or _is_constant(second)):
                raise NotCovered("it compares real with a constant")
            return ("fcompare", operator, self.real(first), self.real(second))
        if len(kinds) > 1 and not kinds <= WHOLE | {Kind.NUMERIC}:
            raise NotCovered(f"it compares {first.type} with {second.type}")
        if kinds <= INTEGERS:
            scale = max(first.type.scale or 0, second.type.scale or 0)
            left = self._scaled(self.integer(first), first.type, scale)
            right = self._scaled(self.integer(second), second.type, scale)
            return ("compare", operator, left, right)
        raise NotCovered(f"it compares {first.type}")

    def _is_null(self, argument: Expression) -> Node:
        if isinstance(argument, Column):
            return ("is_null", ("present", self._slot(argument, values=False)))
        if argument.type.kind is Kind.BOOLEAN:
            node = self.truth(argument)
        else:
            node = self.real(argument) if argument.type.kind in FLOATS else self.integer(argument)
        self._check_unseen(node)
        return ("is_null", node)

    # Numbers of things.

    @property
    def nullable(self) -> list[bool]:
        """Of each slot."""
        return [self._is_nullable(id) for id in self.slots]

    def type_of(self, id: int) -> Type:
        """Of a column of the table or of a side."""
        return self._joined[id] if id in self._joined else self._table.by_id[id].type

    def _is_nullable(self, id: int) -> bool:
        """Of sides only their rows tell (run.py)."""
        return id in self._joined or self._table.by_id[id].nullable

    def _is_text(self, id: int) -> bool:
        column = self._table.by_id.get(id)
        return column is not None and column.type.is_text

    def _slot(self, column: Column, *, coded: bool = False, values: bool = True) -> int:
        if column.id not in self._joined and column.id not in self._table.by_id:
            raise NotCovered("it reads the number of a row")
        if self.type_of(column.id) != column.type:
            raise NotCovered("a column has another type")
        if column.id not in self.slots:
            self.slots.append(column.id)
        if coded:
            self.coded.add(column.id)
        if values:
            self.wanted.add(column.id)
        return self.slots.index(column.id)

    def _dictionary_table(self, table: DictionaryTable) -> int:
        if table not in self.tables:
            self.tables.append(table)
        return self.tables.index(table)

    def _constant(self, expression: Expression, scale: int | None) -> Node:
        found = Constant(expression=expression, scale=scale)
        constants = self.reals if scale is None else self.integers
        if not any(_same(found, other) for other in constants):
            constants.append(found)
        place = next(place for place, other in enumerate(constants) if _same(found, other))
        return ("real" if scale is None else "int", place)

    def _bucket(self, call: Call) -> tuple[int, int]:
        """Width and origin of ``date_trunc(unit, x)`` and ``time_bucket(width, x)``, as constants' numbers."""
        given = call.arguments[0]
        if len(call.arguments) != 2 or not isinstance(given, Literal) or given.value is None:
            raise NotCovered(f"{call.function} with more than a constant width")
        origin = 0
        if call.function == "date_trunc":
            unit = str(given.value).lower()
            width = _WIDTHS.get(unit)
            origin = _MONDAY if unit == "week" else 0
        else:
            value: Any = given.value
            width = None
            if getattr(value, "months", 1) == 0:
                width, rest = divmod(value.days * _DAY * 1_000 + value.nanoseconds, 1_000)
                width = None if rest or width <= 0 else width
            origin = BUCKET_ORIGIN
        if width is None:
            raise NotCovered(f"{call.function} by {given.value}")
        return self._number(width), self._number(origin)

    def _number(self, value: int) -> int:
        return self._constant(Literal(value=value, type=BIGINT), 0)[1]


IN_MAX: Final = 16
"""Constants of an IN; each is a comparison for every row."""

BUCKET_ORIGIN: Final = (
    datetime.datetime(2000, 1, 3) - datetime.datetime(1970, 1, 1)
) // datetime.timedelta(microseconds=1)  # fmt: skip


def _same(one: Constant, other: Constant) -> bool:
    """Equal, and of one type all the way down: 1 and 1.0 are not the same."""
    return repr(one) == repr(other)


def _is_constant(expression: Expression) -> bool:
    for part in walk(expression):
        if isinstance(part, Column):
            return False
        if not isinstance(part, Literal | Parameter | Call | Cast):
            return False
        if isinstance(part, Call) and FUNCTIONS[part.function].volatility is Volatility.VOLATILE:
            return False
    return True


def _text_of(expression: Expression) -> str:
    """A constant text in lower case; empty where it is none."""
    return str(expression.value).lower() if isinstance(expression, Literal) else ""


def _width(type: Type) -> int:
    return _BITS.get(type.kind, 64)


def _name(expression: Expression) -> str:
    return expression.function if isinstance(expression, Call) else type(expression).__name__.lower()
