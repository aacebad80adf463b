"""The bound tree as DuckDB SQL.

DuckDB is left nothing to decide: every name is generated (``c7``, ``t3``), every type is written out, every order says
where NULLs go, and every function is the template of its overload, which gives PostgreSQL's answer. Column identifiers
are unique in a statement, so no name is ever qualified.

A text is made once per bound query. What is known only when it runs, parameters and ``now()``, are *holes*:
``Template.fill`` writes them as typed literals. Some functions need a literal at a place where the query has a
parameter (``date_trunc($1, ts)``); such a query is rendered anew for each execution.

    SELECT c5 AS c6 FROM (SELECT c1 AS c4, sum(c2) AS c5 FROM s1 AS t1(c1, c2) GROUP BY 1) AS g
    ORDER BY c6 ASC NULLS LAST

Not here: optimization. DuckDB flattens nested SELECTs and pushes filters by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from ..base.errors import Invalid
from ..engine.expression.functions import (
    FUNCTIONS,
    Modifiers,
    Resolution,
    Volatility,
    duckdb_type,
    render_cast,
    render_literal,
    resolve,
    session_literal,
)
from ..engine.expression.node import Call, Case, Cast, Column, Literal, Parameter
from . import bound
from .guarded import may_fail, only_where
from .walk import Node, columns_read, is_scalar, rewrite, walk

_HOLE: Final = re.compile("\x00([0-9]+|[a-z_]+)\x00")


@dataclass(frozen=True, slots=True)
class Template:
    """SQL text with holes: ``pieces`` alternate between text and what fills the hole after it."""

    pieces: tuple[str, ...]

    def fill(self, parameters: Mapping[int, Literal], *, now: int) -> str:
        """The text with parameters and the moment ``now`` (microseconds UTC) written in."""
        if len(self.pieces) == 1:
            return self.pieces[0]
        parts = list(self.pieces)
        for index in range(1, len(parts), 2):
            name = parts[index]
            literal = parameters[int(name)] if name.isdigit() else session_literal(name, now=now)
            parts[index] = render_literal(literal.value, literal.type)
        return "".join(parts)

    def shown(self) -> str:
        """The text for EXPLAIN, parameters as ``$n``."""
        parts = list(self.pieces)
        for index in range(1, len(parts), 2):
            parts[index] = f"${parts[index]}" if parts[index].isdigit() else f"{parts[index]}()"
        return "".join(parts)


def render(query: bound.Query) -> Template:
    """The text of a query with holes. Raises Invalid (0A000) where a function needs a constant."""
    return Template(tuple(_HOLE.split(_query(query))))


def substitute(query: bound.Query, parameters: Mapping[int, Literal]) -> bound.Query:
    """``query`` with its parameters as literals."""

    def replace(node: Node) -> Node | None:
        return parameters[node.number] if isinstance(node, Parameter) else None

    return rewrite(query, replace)


def scan_name(reference: int) -> str:
    """The name under which the executor registers a table reference."""
    return f"s{reference}"


# Queries


def _query(query: bound.Query) -> str:
    match query:
        case bound.Select():
            return _select(query)
        case bound.SetOperation():
            word = f"{query.kind.value} ALL" if query.all else query.kind.value
            body = f"({_query(query.left)}) {word} ({_query(query.right)})"
            return f"SELECT * FROM ({body}) AS u({_names(query.columns)}){_tail(query)}"
        case bound.Values():
            rows = ", ".join(f"({', '.join(map(expression, row))})" for row in query.rows)
            return f"SELECT * FROM (VALUES {rows}) AS v({_names(query.columns)}){_tail(query)}"
        case bound.With():
            recursive = "RECURSIVE " if any(cte.recursive for cte in query.ctes) else ""
            return f"WITH {recursive}{', '.join(map(_cte, query.ctes))} {_query(query.query)}"
        case _:
            assert_never(query)


def _cte(cte: bound.Cte) -> str:
    if cte.recursive:
        union = cte.query
        assert isinstance(union, bound.SetOperation), "the binder makes recursive queries of this form"
        word = "UNION ALL" if union.all else "UNION"
        text = f"({_query(union.left)}) {word} ({_query(union.right)})"
    else:
        text = _query(cte.query)
    word = {True: "MATERIALIZED ", False: "NOT MATERIALIZED ", None: ""}[cte.materialized]
    return f"q{cte.id}({_names(cte.query.columns)}) AS {word}({text})"


def _names(columns: Sequence[bound.OutputColumn]) -> str:
    return ", ".join(f"c{column.id}" for column in columns)


def _select(query: bound.Select) -> str:
    source = f" FROM {_relation(query.source)}" if query.source is not None else ""
    where = f" WHERE {_condition(query.where)}" if query.where is not None else ""
    if query.grouping is not None:
        source = f" FROM ({_grouped(query.grouping, source, where)}) AS g"
        where = f" WHERE {_condition(query.having)}" if query.having is not None else ""
    distinct = "DISTINCT " if query.distinct else ""
    if query.distinct_on:
        distinct = f"DISTINCT ON ({', '.join(map(expression, query.distinct_on))}) "
    return f"SELECT {distinct}{', '.join(map(_output, query.outputs))}{source}{where}{_tail(query)}"


def _output(output: bound.Output) -> str:
    return f"{expression(output.expression)} AS c{output.column.id}"


def _grouped(grouping: bound.Grouping, source: str, where: str) -> str:
    """The inner SELECT: keys and aggregates under their identifiers."""
    aggregates = [_output(output) for output in grouping.aggregates]
    keys = [_output(key) for key in grouping.keys]
    names = [f"c{key.column.id}" for key in grouping.keys]
    if grouping.sets is not None:
        # Keys become columns first: a grouping set then names them, and GROUPING() finds them.
        inner = f"SELECT *{''.join(f', {key}' for key in keys)}{source}{where}"
        sets = ", ".join(f"({', '.join(names[index] for index in one)})" for one in grouping.sets)
        columns = ", ".join(names + aggregates) or "count(*) AS n"
        return f"SELECT {columns} FROM ({inner}) AS k GROUP BY GROUPING SETS ({sets})"
    columns = ", ".join(keys + aggregates) or "count(*) AS n"
    by = f" GROUP BY {', '.join(str(index + 1) for index in range(len(keys)))}" if keys else ""
    return f"SELECT {columns}{source}{where}{by}"


def _tail(query: bound.Select | bound.SetOperation | bound.Values) -> str:
    keys = [key for key in query.order if not isinstance(key.expression, Literal | Parameter)]
    text = f" ORDER BY {_order(keys)}" if keys else ""
    if query.limit is not None:
        text += f" LIMIT {expression(query.limit)}"
    if query.offset is not None:
        text += f" OFFSET {expression(query.offset)}"
    return text


def _order(keys: Sequence[bound.SortKey]) -> str:
    return ", ".join(
        f"{expression(key.expression)} {'DESC' if key.descending else 'ASC'}"
        f" NULLS {'FIRST' if key.nulls_first else 'LAST'}"
        for key in keys
    )


# Relations


def _relation(relation: bound.Relation) -> str:
    match relation:
        case bound.Scan() | bound.ArrowScan():
            return f"s{relation.reference} AS t{relation.reference}({_names(relation.columns)})"
        case bound.Derived():
            lateral = "LATERAL " if relation.lateral else ""
            return f"{lateral}({_query(relation.query)}) AS t{relation.reference}({_names(relation.columns)})"
        case bound.CteReference():
            return f"q{relation.cte} AS t{relation.reference}({_names(relation.columns)})"
        case bound.FunctionScan():
            return _function_scan(relation)
        case bound.Join():
            right = _relation(relation.right)
            if isinstance(relation.right, bound.Join):
                right = f"({right})"
            on = f" ON {_condition(relation.condition)}" if relation.condition is not None else ""
            return f"{_relation(relation.left)} {relation.kind.value} {right}{on}"
        case _:
            assert_never(relation)


def _function_scan(scan: bound.FunctionScan) -> str:
    """A list, unnested: DuckDB's table functions take no columns as arguments."""
    column = scan.columns[0]
    if scan.function == "generate_series" and not scan.ordinality and column.type.is_integer:
        constant = all(isinstance(argument, Literal) and argument.value is not None for argument in scan.arguments)
        if constant and _is_step(scan.arguments[2] if len(scan.arguments) == 3 else None):
            values = f"generate_series({', '.join(map(expression, scan.arguments))}) AS x(v)"
            inner = f"SELECT CAST(v AS {duckdb_type(column.type)}) FROM {values}"
            return f"({inner}) AS t{scan.reference}(c{column.id})"
    several = scan.function == "unnest"
    lists = (
        [_items(scan.function, [item]) for item in scan.arguments]
        if several
        else [_items(scan.function, scan.arguments)]
    )
    values = [
        f"CAST(unnest({items}) AS {duckdb_type(column.type)})"
        for items, column in zip(lists, scan.columns, strict=False)
    ]
    if scan.ordinality:
        longest = f"greatest({', '.join(f'len({items})' for items in lists)})"
        values.append(f"unnest(generate_series(1, {longest}))")
    # unnest gives the rows in any order once joins are around it; the series keeps its own.
    return f"LATERAL (SELECT {', '.join(values)}) AS t{scan.reference}({_names(scan.columns)})"


def _items(function: str, nodes: Sequence[bound.Bound]) -> str:
    """The list whose elements a set-returning function gives."""
    arguments = [expression(argument) for argument in nodes]
    if function == "unnest":
        return arguments[0]
    if nodes[0].type.is_integer and len(nodes) == 3:
        zero = "error('step size cannot equal zero')"
        arguments[2] = f"(CASE WHEN {arguments[2]} = 0 THEN {zero} ELSE {arguments[2]} END)"
    return f"generate_series({', '.join(arguments)})"


def _is_step(step: bound.Bound | None) -> bool:
    return step is None or (isinstance(step, Literal) and step.value != 0)


# Expressions


def expression(node: bound.Bound) -> str:
    """The SQL of an expression, atomic or in parentheses."""
    match node:
        case Literal():
            return render_literal(node.value, node.type)
        case Column():
            return f"c{node.id}"
        case Parameter():
            return f"\x00{node.number}\x00"
        case Call():
            return _call(node)
        case Cast():
            return f"({render_cast(expression(node.argument), node.argument.type, node.type)})"
        case Case():
            branches = " ".join(
                f"WHEN {_condition(condition)} THEN {expression(result)}" for condition, result in node.branches
            )
            return f"(CASE {branches} ELSE {expression(node.default)} END)"
        case bound.Aggregate():
            return _aggregate(node)
        case bound.GroupingCall():
            return f"CAST(GROUPING({', '.join(map(expression, node.keys))}) AS INTEGER)"
        case bound.Window():
            return _window(node)
        case bound.ScalarSubquery():
            return f"({_query(node.query)})"
        case bound.Exists():
            return f"(EXISTS ({_query(node.query)}))"
        case bound.Quantified():
            return _quantified(node)
        case bound.QuantifiedArray():
            return _quantified_array(node)
        case bound.ArrayList():
            if node.query is not None:
                return f"CAST(ARRAY({_query(node.query)}) AS {duckdb_type(node.type)})"
            return f"CAST([{', '.join(map(expression, node.elements))}] AS {duckdb_type(node.type)})"
        case bound.Subscript():
            index = expression(node.index)
            return f"(CASE WHEN {index} >= 1 THEN list_extract({expression(node.array)}, {index}) END)"
        case bound.SetReturning():
            return f"CAST(unnest({_items(node.function, node.arguments)}) AS {duckdb_type(node.type)})"
        case bound.GapBucket() | bound.Filled():
            raise AssertionError("the binder makes rows and windows of time_bucket_gapfill, locf and interpolate")
        case _:
            assert_never(node)


def _resolution(function: str, arguments: Sequence[bound.Bound]) -> tuple[Resolution, dict[int, object]]:
    """The overload again: the arguments have exactly its types."""
    literals: dict[int, object] = {
        index: argument.value for index, argument in enumerate(arguments) if isinstance(argument, Literal)
    }
    return resolve(function, [argument.type for argument in arguments], literals=literals), literals


def _condition(node: bound.Bound) -> str:
    """A condition that keeps rows: of its AND and OR DuckDB asks each part of the rows that those before it left."""
    if isinstance(node, Call) and node.function in _WORDS:
        return f"({_WORDS[node.function].join(map(_condition, node.arguments))})"
    return expression(node)


_WORDS: Final = {"and": " AND ", "or": " OR "}


def _in_turn(function: str, parts: Sequence[bound.Bound]) -> str:
    """AND and OR as values, of which DuckDB computes all parts of all rows: what may fail is computed only of rows that
    the parts before it have not decided.
    """
    first, *others = parts
    text = expression(first)
    if not others:
        return text
    rest = _in_turn(function, others)
    if all(map(is_scalar, parts)) and any(may_fail(bound.expression(part)) for part in others):
        rest = f"(CASE WHEN {text} IS NOT {'FALSE' if function == 'and' else 'TRUE'} THEN {rest} END)"
    return f"({text}{_WORDS[function]}{rest})"


def _call(node: Call) -> str:
    if node.function in _WORDS:
        return _in_turn(node.function, node.arguments)
    function = FUNCTIONS[node.function]
    if function.volatility is Volatility.STABLE and not node.arguments:
        return f"\x00{node.function}\x00"
    resolution, literals = _resolution(node.function, node.arguments)
    return f"({resolution.render([expression(argument) for argument in node.arguments], literals=literals)})"


def _aggregate(node: bound.Aggregate) -> str:
    resolution, literals = _resolution(node.function, node.arguments)
    modifiers = Modifiers(
        distinct=node.distinct,
        order_by=_order(node.order),
        descending=bool(node.order) and node.order[0].descending,
        nulls_first=bool(node.order) and node.order[0].nulls_first,
        filter=_condition(node.filter) if node.filter is not None else "",
    )
    return f"({resolution.render(_filtered(node), literals=literals, modifiers=modifiers)})"


def _filtered(node: bound.Aggregate | bound.Window) -> list[str]:
    """The arguments, computed only where FILTER is true if they may fail: DuckDB computes them of all rows."""
    parts = node.arguments if node.filter is None else (*node.arguments, node.filter)
    filter = node.filter if all(map(is_scalar, parts)) else None
    if filter is None:
        return [expression(argument) for argument in node.arguments]
    where = bound.expression(filter)
    return [expression(only_where(where, bound.expression(argument))) for argument in node.arguments]


def _window(node: bound.Window) -> str:
    resolution, literals = _resolution(node.function, node.arguments)
    parts: list[str] = []
    if node.partition:
        parts.append(f"PARTITION BY {', '.join(map(expression, node.partition))}")
    keys = [key for key in node.order if not isinstance(key.expression, Literal | Parameter)]
    if keys:
        parts.append(f"ORDER BY {_order(keys)}")
    if node.frame is not None:
        parts.append(_frame(node.frame))
    modifiers = Modifiers(filter=_condition(node.filter) if node.filter is not None else "", over=" ".join(parts))
    return f"({resolution.render(_filtered(node), literals=literals, modifiers=modifiers)})"


def _frame(frame: bound.Frame) -> str:
    exclude = f" EXCLUDE {frame.exclude}" if frame.exclude is not None else ""
    return f"{frame.unit} BETWEEN {_frame_end(frame.start)} AND {_frame_end(frame.end)}{exclude}"


def _frame_end(end: bound.FrameEnd) -> str:
    return end.side if end.offset is None else f"{expression(end.offset)} {end.side}"


def _quantified(node: bound.Quantified) -> str:
    left, *more = node.operands
    if more:
        return _quantified_row(node)
    symbol = _symbol(node.operator)
    operand, query = expression(left), _query(node.query)
    if symbol == "=" and not node.all:
        return f"({operand} IN ({query}))"
    if symbol == "<>" and node.all:
        return f"({operand} NOT IN ({query}))"
    return f"({operand} {symbol} {'ALL' if node.all else 'ANY'} ({query}))"


def _quantified_row(node: bound.Quantified) -> str:
    """``(a, b) IN (SELECT ...)`` with SQL's NULLs: true if a row is equal, else NULL if one might be, else false."""
    if (node.operator, node.all) not in (("equal", False), ("not_equal", True)):
        raise Invalid("rows compare with subqueries by IN and NOT IN only", sqlstate="0A000")
    pairs = [f"{expression(a)} = c{column.id}" for a, column in zip(node.operands, node.query.columns, strict=True)]
    equal, query = " AND ".join(pairs), _query(node.query)
    text = (
        f"(CASE WHEN EXISTS (SELECT 1 FROM ({query}) AS r WHERE {equal}) THEN true "
        f"WHEN EXISTS (SELECT 1 FROM ({query}) AS r WHERE ({equal}) IS NULL) THEN NULL ELSE false END)"
    )
    return f"(NOT {text})" if node.all else text


def _quantified_array(node: bound.QuantifiedArray) -> str:
    array, operand = expression(node.array), expression(node.operand)
    if node.operator not in bound.SYMBOLS:
        return _matched_array(node, operand, array)
    symbol = bound.SYMBOLS[node.operator]
    if symbol == "=" and not node.all and _is_of_rows(node):
        return _contained(operand, array)
    if symbol == "<>" and node.all and _is_of_rows(node):
        return f"(NOT {_contained(operand, array)})"
    items = f"SELECT unnest({array})"
    if symbol == "=" and not node.all:
        text = f"{operand} IN ({items})"
    elif symbol == "<>" and node.all:
        text = f"{operand} NOT IN ({items})"
    else:
        text = f"{operand} {symbol} {'ALL' if node.all else 'ANY'} ({items})"
    return f"(CASE WHEN {array} IS NULL THEN NULL ELSE {text} END)"


def _is_of_rows(node: bound.QuantifiedArray) -> bool:
    """Whether each row has an array of its own, made of columns alone."""
    sides = (node.operand, node.array)
    volatile = any(isinstance(part, Call) and FUNCTIONS[part.function].volatile for part in walk(sides))
    return bool(columns_read(node.array)) and all(map(is_scalar, sides)) and not volatile


def _contained(operand: str, array: str) -> str:
    """``operand = ANY (array)`` by one look at the row, where a subquery would be a join."""
    return (
        f"(CASE WHEN {operand} IS NOT NULL AND list_contains({array}, {operand}) THEN true WHEN {array} IS NULL "
        f"OR (len({array}) > 0 AND ({operand} IS NULL OR list_count({array}) < len({array}))) THEN NULL ELSE false END)"
    )


def _matched_array(node: bound.QuantifiedArray, operand: str, array: str) -> str:
    """LIKE and ``~``, which take no ANY: the outcome for each element, then whether one (or none) is decisive."""
    types = [node.operand.type, node.array.type.element or node.operand.type]
    outcome = resolve(node.operator, types).render([operand, "pattern"])
    outcomes = f"list_transform({array}, lambda pattern: {outcome})"
    return (
        f"(CASE WHEN {array} IS NULL THEN NULL WHEN list_contains({outcomes}, {'false' if node.all else 'true'}) "
        f"THEN {'false' if node.all else 'true'} WHEN list_count({outcomes}) < len({outcomes}) THEN NULL "
        f"ELSE {'true' if node.all else 'false'} END)"
    )


def _symbol(operator: str) -> str:
    symbol = bound.SYMBOLS.get(operator)
    if symbol is None:
        raise Invalid(f"{operator} with ANY or ALL is not supported", sqlstate="0A000")
    return symbol
