"""The words of the function table: Function, Overload, Resolution, and the little language of signatures.

A signature is written as PostgreSQL's documentation writes it: ``"text, integer -> text"``. Its words:

    integer, numeric, text, ...   that kind of type; NUMERIC keeps the argument's precision, VARCHAR counts as text
    any                           whatever comes, unchanged (an untyped literal becomes text)
    same                          all arguments so marked become their one common type (PostgreSQL's anycompatible)
    array, element                an array, and its element's type
    textual                       anything; it is cast to text on the way in
    any...                        the last word repeated, once or more

The result is a kind, ``same``, ``element``, ``array`` (of the common type), or a function of the argument types.

An overload says how three machines compute it:

    duckdb     a template: ``"strpos({0}, {1})"``, ``{t}`` being the result's DuckDB type; or a function of Rendering;
               or ``in_python``: DuckDB asks the vectorized evaluator, some 2 us a row
    arrow      vectorized, over arrays and scalars of the argument types; None: naive is mapped over the rows
    naive      plain Python on the values of one row; None: the engine cannot evaluate it, only the relational executor

NULL: a ``strict`` overload gives NULL for any NULL argument and its ``naive`` never sees one. Overflow, division by
zero and the like raise ``Invalid`` in naive, Arrow errors in arrow, ``error('…')`` or DuckDB's own in the template;
integer ranges, NUMERIC scale and float overflow of results are checked by the evaluators, not by each function.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....base.errors import Invalid
from ....base.types import Kind, Type
from .duck import duckdb_type, python_call


class FunctionKind(enum.Enum):
    SCALAR = "scalar"
    AGGREGATE = "aggregate"
    WINDOW = "window"


class Volatility(enum.Enum):
    """IMMUTABLE: of its arguments alone. STABLE: one value per statement (``now()``). VOLATILE: one per row."""

    IMMUTABLE = "immutable"
    STABLE = "stable"
    VOLATILE = "volatile"


class Poly(enum.Enum):
    """The patterns that are not one kind of type."""

    ANY = "any"
    SAME = "same"
    ARRAY = "array"
    ELEMENT = "element"
    TEXTUAL = "textual"


Pattern = Kind | Poly
ResultRule = Type | Poly | Callable[[Sequence[Type]], Type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Modifiers:
    """What stands around an aggregate's or window function's arguments, as DuckDB SQL without its keyword.

    ``descending``, ``nulls_first``: of the first key of ``order_by``.
    """

    distinct: bool = False
    order_by: str = ""
    descending: bool = False
    nulls_first: bool = False
    filter: str = ""
    over: str | None = None

    def call(self, function: str, arguments: str) -> str:
        """One native call that carries all of it."""
        distinct = "DISTINCT " if self.distinct else ""
        order = f" ORDER BY {self.order_by}" if self.order_by else ""
        filter = f" FILTER (WHERE {self.filter})" if self.filter else ""
        over = f" OVER ({self.over})" if self.over is not None else ""
        return f"{function}({distinct}{arguments}{order}){filter}{over}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What a template may use: argument SQL (already cast), types, constants, and for aggregates the modifiers."""

    arguments: Sequence[str]
    types: Sequence[Type]
    result: Type
    literals: Mapping[int, object] = field(default_factory=dict)
    modifiers: Modifiers = field(default_factory=Modifiers)
    function: str = ""

    def __getitem__(self, index: int) -> str:
        return self.arguments[index]

    @property
    def t(self) -> str:
        """The result's DuckDB type."""
        return duckdb_type(self.result)

    def constant(self, index: int) -> Any:
        """The value of a literal argument. Raises Invalid (0A000) if it is anything else."""
        if index not in self.literals:
            raise Invalid(
                f"{self.function}: argument {index + 1} must be a constant here",
                hint="Write the text itself, not a column or an expression.",
                sqlstate="0A000",
            )
        return self.literals[index]

    def is_parameter(self, index: int) -> bool:
        """Whether an argument is a parameter, whose value is not known yet: ``constant`` then asks for it."""
        return re.fullmatch("\x00[0-9]+\x00", self.arguments[index]) is not None

    def call(self, function: str, *arguments: str) -> str:
        """A native aggregate or window call with DISTINCT, ORDER BY, FILTER and OVER as the query has them."""
        return self.modifiers.call(function, ", ".join(arguments))


Template = str | Callable[[Rendering], str]


def in_python(r: Rendering) -> str:
    """A call that DuckDB hands to the evaluator (``expression.callback``): for what it has no function of its own."""
    return python_call(r.function, tuple(r.types), r.result, r.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """One signature of a function, and its computations. ``constants``: arguments that must be literals."""

    arguments: tuple[Pattern, ...]
    result: ResultRule
    duckdb: Template
    arrow: Callable[..., Any] | None = None
    naive: Callable[..., Any] | None = None
    variadic: bool = False
    strict: bool = True
    can_fail: bool = False
    constants: tuple[int, ...] = ()
    check: Callable[[Sequence[Type]], None] | None = None
    literal_result: Callable[[Sequence[Type], Mapping[int, object]], Type] | None = None

    def patterns(self, count: int) -> tuple[Pattern, ...] | None:
        """The pattern of each of ``count`` arguments, or None if the count does not fit."""
        if not self.variadic:
            return self.arguments if len(self.arguments) == count else None
        if count < len(self.arguments):
            return None
        return self.arguments + (self.arguments[-1],) * (count - len(self.arguments))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Function:
    """One name of the table with its overloads, tried by PostgreSQL's rules. There is one of each: it equals itself."""

    name: str
    overloads: tuple[Overload, ...]
    kind: FunctionKind = FunctionKind.SCALAR
    volatility: Volatility = Volatility.IMMUTABLE
    operator: str | None = None
    doc: str = ""

    @property
    def can_fail(self) -> bool:
        return any(overload.can_fail for overload in self.overloads)

    @property
    def volatile(self) -> bool:
        return self.volatility is Volatility.VOLATILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A function call with its overload chosen: ``argument_types`` are exactly what to cast each argument to."""

    function: Function
    overload: Overload
    argument_types: tuple[Type, ...]
    result: Type

    def render(
        self,
        arguments: Sequence[str],
        *,
        literals: Mapping[int, object] | None = None,
        modifiers: Modifiers | None = None,
    ) -> str:
        """DuckDB SQL of the call. ``arguments`` are SQL texts of the argument types, parenthesised where needed."""
        rendering = Rendering(
            arguments=arguments,
            types=self.argument_types,
            result=self.result,
            literals=literals or {},
            modifiers=modifiers or Modifiers(),
            function=self.function.name,
        )
        template = self.overload.duckdb
        if callable(template):
            return template(rendering)
        return template.format(*arguments, t=rendering.t, args=", ".join(arguments))


_WORDS: dict[str, Kind] = {
    "boolean": Kind.BOOLEAN,
    "smallint": Kind.SMALLINT,
    "integer": Kind.INTEGER,
    "bigint": Kind.BIGINT,
    "real": Kind.REAL,
    "double": Kind.DOUBLE,
    "numeric": Kind.NUMERIC,
    "text": Kind.TEXT,
    "bytea": Kind.BYTEA,
    "date": Kind.DATE,
    "time": Kind.TIME,
    "timestamp": Kind.TIMESTAMP,
    "timestamptz": Kind.TIMESTAMPTZ,
    "interval": Kind.INTERVAL,
    "uuid": Kind.UUID,
    "json": Kind.JSON,
    "jsonb": Kind.JSONB,
}


def _pattern(word: str) -> Pattern:
    return _WORDS[word] if word in _WORDS else Poly(word)


def overload(
    signature: str,
    duckdb: Template,
    *,
    result: Callable[[Sequence[Type]], Type] | None = None,
    naive: Callable[..., Any] | None = None,
    arrow: Callable[..., Any] | None = None,
    strict: bool = True,
    can_fail: bool = False,
    constants: tuple[int, ...] = (),
    check: Callable[[Sequence[Type]], None] | None = None,
    literal_result: Callable[[Sequence[Type], Mapping[int, object]], Type] | None = None,
) -> Overload:
    """An overload from its signature; ``result`` where the result's type depends on the arguments'."""
    left, _, right = signature.partition("->")
    words = [word.strip() for word in left.split(",") if word.strip()]
    variadic = bool(words) and words[-1].endswith("...")
    rule: ResultRule
    if result is not None:
        rule = result
    else:
        pattern = _pattern(right.strip())
        rule = Type(kind=pattern) if isinstance(pattern, Kind) else pattern
    return Overload(
        arguments=tuple(_pattern(word.removesuffix("...")) for word in words),
        result=rule,
        duckdb=duckdb,
        arrow=arrow,
        naive=naive,
        variadic=variadic,
        strict=strict,
        can_fail=can_fail,
        constants=constants,
        check=check,
        literal_result=literal_result,
    )


def function(
    name: str,
    *overloads: Overload,
    kind: FunctionKind = FunctionKind.SCALAR,
    volatility: Volatility = Volatility.IMMUTABLE,
    operator: str | None = None,
    doc: str = "",
) -> Function:
    return Function(name=name, overloads=overloads, kind=kind, volatility=volatility, operator=operator, doc=doc)
