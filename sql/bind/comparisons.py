"""Comparisons, rows and subqueries: ``=``, IN, ANY, ALL, EXISTS, ``(SELECT ...)``.

Rows (``rows``) exist only where they can be taken apart: ``(a, b) < (c, d)`` becomes ``a < c OR (a = c AND b < d)``, as
PostgreSQL defines it; ``(a, b) IN ((1, 2), (3, 4))`` becomes ORs of ANDs. A row as a value is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from ...base.types import BOOLEAN, TEXT, UNKNOWN, Kind, array_of
from ...engine.expression.functions import common_type
from ...engine.expression.node import Parameter
from .. import bound
from .binder import ExpressionBinder, Handler
from .context import types_of
from .errors import fail, unsupported
from .operators import BINARY, COMPARISONS, array_query, binary, negated
from .retype import with_types
from .rows import refuse_row, row_parts

_STRICT: Final = {"less": "less", "less_equal": "less", "greater": "greater", "greater_equal": "greater"}


def comparison(binder: ExpressionBinder, tree: exp.Binary) -> bound.Bound:
    function = COMPARISONS[tree.__class__]
    left, right = tree.this, tree.expression
    quantifier = _quantifier(right)
    if quantifier is not None:
        all, inner = quantifier
        return quantified(binder, tree, left, function, inner, all=all)
    lefts, rights = row_parts(left), row_parts(right)
    if lefts is None and rights is None:
        return binder.call(function, binder.bind(left), binder.bind(right), tree=tree)
    if lefts is not None and isinstance(right, exp.Subquery):
        return quantified(binder, tree, left, function, right, all=False)
    if lefts is None or rights is None or len(lefts) != len(rights):
        raise fail("unequal number of entries in row expressions", tree, sqlstate="42601")
    return compare_rows(
        binder, function, [binder.bind(part) for part in lefts], [binder.bind(part) for part in rights], tree
    )


def compare_rows(
    binder: ExpressionBinder,
    function: str,
    lefts: Sequence[bound.Bound],
    rights: Sequence[bound.Bound],
    tree: exp.Expr,
) -> bound.Bound:
    """The comparison of two rows as one of their parts."""

    def each(name: str, index: int) -> bound.Bound:
        return binder.call(name, lefts[index], rights[index], tree=tree)

    match function:
        case "equal" | "is_not_distinct":
            return _joined("and", [each(function, index) for index in range(len(lefts))])
        case "not_equal" | "is_distinct":
            return _joined("or", [each(function, index) for index in range(len(lefts))])
        case _:
            node = each(function, len(lefts) - 1)
            for index in reversed(range(len(lefts) - 1)):
                rest = _joined("and", [each("equal", index), node])
                node = _joined("or", [each(_STRICT[function], index), rest])
            return node


def _joined(name: str, parts: Sequence[bound.Bound]) -> bound.Bound:
    return parts[0] if len(parts) == 1 else bound.call(name, *parts, type=BOOLEAN)


def _quantifier(tree: exp.Expr) -> tuple[bool, exp.Expr] | None:
    """(is it ALL, what is inside) of ``ANY (...)``, ``SOME (...)``, ``ALL (...)``."""
    if isinstance(tree, exp.Any | exp.All):
        inner = tree.this
        return isinstance(tree, exp.All), inner.this if isinstance(inner, exp.Paren) else inner
    if isinstance(tree, exp.Anonymous) and tree.name.lower() in ("any", "some", "all") and len(tree.expressions) == 1:
        return tree.name.lower() == "all", tree.expressions[0]
    return None


def quantified(
    binder: ExpressionBinder,
    tree: exp.Expr,
    left: exp.Expr,
    function: str,
    inner: exp.Expr,
    *,
    all: bool,
) -> bound.Bound:
    """``left op ANY (inner)``; inner is a subquery or an array."""
    if not isinstance(inner, exp.Query):
        return _quantified_array(binder, tree, left, function, inner, all=all)
    parts = row_parts(left) or [left]
    query = binder.context.bind_query(binder.context, inner, binder.around())
    if len(query.columns) != len(parts):
        few = "few" if len(query.columns) < len(parts) else "many"
        raise fail(f"subquery has too {few} columns", inner, sqlstate="42601")
    if len(parts) > 1 and function not in ("equal", "not_equal"):
        raise unsupported("comparing rows with a subquery by anything but = and <>", tree)
    operands: list[bound.Bound] = []
    types = []
    for part, column in zip(parts, query.columns, strict=True):
        _, (operand, element) = binder.resolve(function, [binder.bind(part), column.reference()], tree)
        operands.append(operand)
        types.append(element.type)
    return bound.Quantified(
        operands=tuple(operands),
        operator=function,
        query=with_types(binder.context, query, types),
        all=all,
        type=BOOLEAN,
    )


def _quantified_array(
    binder: ExpressionBinder,
    tree: exp.Expr,
    left: exp.Expr,
    function: str,
    inner: exp.Expr,
    *,
    all: bool,
) -> bound.Bound:
    operand, array = binder.bind(left), binder.bind(inner)
    if array.type == UNKNOWN:
        # ``x = ANY ($1)``: an array of what x is.
        operand = binder.context.known(operand, left)
        array = binder.context.coerce(array, array_of(operand.type), inner)
    if array.type.kind is not Kind.ARRAY or array.type.element is None:
        raise fail("op ANY/ALL (array) requires array on right side", tree, sqlstate="42809")
    element = Parameter(number=0, type=array.type.element)  # stands for any element while types are chosen
    resolution, (operand, _) = binder.resolve(function, [operand, element], tree)
    wanted = array_of(resolution.argument_types[1])
    array = binder.context.coerce(array, wanted, inner)
    return bound.QuantifiedArray(operand=operand, operator=function, array=array, all=all, type=BOOLEAN)


def membership(binder: ExpressionBinder, tree: exp.In) -> bound.Bound:
    """``x IN (...)``; NOT IN is the parser's NOT around it."""
    query = tree.args.get("query")
    if query is not None:
        node = quantified(binder, tree, tree.this, "equal", query, all=False)
    elif tree.args.get("unnest") or tree.args.get("field"):
        raise fail("IN needs a list in parentheses or a subquery", tree, sqlstate="42601")
    else:
        node = _in_list(binder, tree)
    return negated(node) if tree.args.get("negate") else node


def _in_list(binder: ExpressionBinder, tree: exp.In) -> bound.Bound:
    parts = row_parts(tree.this)
    if parts is not None:
        alternatives: list[bound.Bound] = []
        for item in tree.expressions:
            rights = row_parts(item)
            if rights is None or len(rights) != len(parts):
                raise fail("unequal number of entries in row expressions", item, sqlstate="42601")
            lefts = [binder.bind(part) for part in parts]
            alternatives.append(compare_rows(binder, "equal", lefts, [binder.bind(part) for part in rights], item))
        return _joined("or", alternatives)
    if len(tree.expressions) == 1 and isinstance(tree.expressions[0], exp.Subquery):
        return quantified(binder, tree, tree.this, "equal", tree.expressions[0], all=False)
    nodes = [binder.bind(item) for item in [tree.this, *tree.expressions]]
    if len(nodes) == 2:
        return binder.call("equal", *nodes, tree=tree)
    common_type(types_of(nodes), context="IN")
    return binder.call("in_list", *nodes, tree=tree)


def scalar_subquery(binder: ExpressionBinder, tree: exp.Subquery) -> bound.Bound:
    if not isinstance(tree.this, exp.Query | exp.Values):
        raise unsupported("this in parentheses", tree)
    query = binder.context.bind_query(binder.context, tree, binder.around())
    if len(query.columns) != 1:
        raise fail("subquery must return only one column", tree, sqlstate="42601")
    return bound.ScalarSubquery(query=query, type=query.columns[0].type)


def exists(binder: ExpressionBinder, tree: exp.Exists) -> bound.Bound:
    inner = tree.this
    if not isinstance(inner, exp.Query):
        raise unsupported("EXISTS of anything but a subquery", tree)
    if isinstance(inner, exp.Select) and not inner.expressions:  # EXISTS (SELECT FROM t)
        inner = inner.copy()
        inner.set("expressions", [exp.Literal.number(1)])
    return bound.Exists(query=binder.context.bind_query(binder.context, inner, binder.around()), type=BOOLEAN)


def row(binder: ExpressionBinder, tree: exp.Tuple) -> bound.Bound:
    raise refuse_row(tree)


def quantifier_alone(binder: ExpressionBinder, tree: exp.Expr) -> bound.Bound:
    raise fail(f"{tree.key.upper()} stands after a comparison: x = {tree.key.upper()} (...)", tree, sqlstate="42601")


def matching(binder: ExpressionBinder, tree: exp.Binary) -> bound.Bound:
    """LIKE, ``~`` and the like, also with ANY or ALL of an array or subquery."""
    quantifier = _quantifier(tree.expression)
    if quantifier is None:
        return binary(binder, tree)
    all, inner = quantifier
    if isinstance(tree, exp.RegexpLike | exp.RegexpILike) and isinstance(tree.parent, exp.Not):
        raise unsupported("NOT before ~ ANY or ALL", tree, hint="Put the comparison into parentheses.")  # !~ looks so
    negate = bool(tree.args.get("negate"))
    all = all is not negate  # x NOT LIKE ALL: like none of them
    if isinstance(inner, exp.Query):
        patterns = array_query(binder, inner)
    else:
        patterns = binder.context.implicit(binder.bind(inner), array_of(TEXT), inner, what="op ANY/ALL (array)")
    operand = binder.typed(tree.this, TEXT, what="the left side")
    function = BINARY[tree.__class__]
    node: bound.Bound
    if isinstance(patterns, bound.ArrayList) and patterns.query is None and patterns.elements:
        calls = [binder.call(function, operand, pattern, tree=tree) for pattern in patterns.elements]
        node = _joined("and" if all else "or", calls)
    else:
        node = bound.QuantifiedArray(operand=operand, operator=function, array=patterns, all=all, type=BOOLEAN)
    return negated(node) if negate else node


HANDLERS: Final[dict[type[exp.Expr], Handler]] = {
    **dict.fromkeys(COMPARISONS, comparison),
    **dict.fromkeys((exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpILike), matching),
    exp.In: membership,
    exp.Subquery: scalar_subquery,
    exp.Exists: exists,
    exp.Tuple: row,
    exp.Any: quantifier_alone,
    exp.All: quantifier_alone,
}
