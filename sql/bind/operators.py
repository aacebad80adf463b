"""Operators and special syntax: each node of the parser to a function of the table, by PostgreSQL's meaning."""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp

from ...base.errors import Invalid
from ...base.types import BOOLEAN, DATE, INTEGER, JSONB, TEXT, TIME, TIMESTAMPTZ, UNKNOWN, Kind, Type, array_of
from ...base.values import literal_value
from ...engine.expression.functions import common_type
from ...engine.expression.node import Case, Literal
from .. import bound
from . import system
from .binder import ExpressionBinder, Handler
from .context import number_literal, types_of
from .errors import fail, only, unsupported
from .names import fold
from .rows import all_of, refuse_row, row_of
from .types import imprecise, is_bare_numeric, precision_of, type_of

BINARY: Final[dict[type[exp.Expr], str]] = {
    exp.Add: "add",
    exp.Sub: "subtract",
    exp.Mul: "multiply",
    exp.Div: "divide",
    exp.Mod: "modulo",
    exp.Pow: "power",
    exp.BitwiseAnd: "bit_and_op",
    exp.BitwiseOr: "bit_or_op",
    exp.BitwiseXor: "bit_xor_op",
    exp.BitwiseLeftShift: "shift_left",
    exp.BitwiseRightShift: "shift_right",
    exp.DPipe: "concat_op",
    exp.Like: "like",
    exp.ILike: "ilike",
    exp.RegexpLike: "regex_match",
    exp.RegexpILike: "regex_imatch",
    exp.SimilarTo: "similar_to",
    exp.JSONExtract: "json_get",
    exp.JSONExtractScalar: "json_get_text",
    exp.JSONBExtract: "json_path",
    exp.JSONBExtractScalar: "json_path_text",
    exp.ArrayContainsAll: "array_contains",
    exp.ArrayContainedBy: "array_contained",
    exp.ArrayOverlaps: "array_overlaps",
    exp.StartsWith: "starts_with",
    exp.JSONBContains: "jsonb_exists",
    exp.JSONBContainsAnyTopKeys: "jsonb_exists_any",
    exp.JSONBContainsAllTopKeys: "jsonb_exists_all",
    exp.JSONBDeleteAtPath: "jsonb_delete_path",
    exp.JSONBPathExists: "jsonb_path_exists_opr",
}

_OF_JSONB: Final = {
    "array_contains": "jsonb_contains",
    "array_contained": "jsonb_contained",
    "jsonb_exists": "jsonb_exists",
    "jsonb_exists_any": "jsonb_exists_any",
    "jsonb_exists_all": "jsonb_exists_all",
    "jsonb_delete_path": "jsonb_delete_path",
}
"""What an operator of arrays is for JSONB; and those that are JSONB's alone."""

_WITH_PATH: Final = ("jsonb_delete_path", "jsonb_exists_any", "jsonb_exists_all")

COMPARISONS: Final[dict[type[exp.Expr], str]] = {
    exp.EQ: "equal",
    exp.NEQ: "not_equal",
    exp.LT: "less",
    exp.LTE: "less_equal",
    exp.GT: "greater",
    exp.GTE: "greater_equal",
    exp.NullSafeEQ: "is_not_distinct",
    exp.NullSafeNEQ: "is_distinct",
}

_ESCAPED: Final = {"like": "like_escape", "ilike": "ilike_escape"}


def literal(binder: ExpressionBinder, tree: exp.Literal) -> bound.Bound:
    if tree.is_string:
        return Literal(value=tree.name, type=UNKNOWN)
    return number_literal(tree.name)


def boolean(binder: ExpressionBinder, tree: exp.Boolean) -> bound.Bound:
    return Literal(value=bool(tree.this), type=BOOLEAN)


def null(binder: ExpressionBinder, tree: exp.Null) -> bound.Bound:
    return Literal(value=None, type=UNKNOWN)


def parameter(binder: ExpressionBinder, tree: exp.Parameter) -> bound.Bound:
    if not isinstance(tree.this, exp.Literal) or not tree.name.isdigit():
        raise unsupported(f"the operator or parameter @{tree.name}", tree)
    return binder.context.parameter(int(tree.name), tree)


def placeholder(binder: ExpressionBinder, tree: exp.Placeholder) -> bound.Bound:
    raise fail("parameters are written $1, $2, ...", tree, sqlstate="42601")


def column(binder: ExpressionBinder, tree: exp.Column) -> bound.Bound:
    if isinstance(tree.this, exp.Star):
        if tree.args.get("table") is not None:
            raise refuse_row(tree)
        raise unsupported("* in an expression", tree, hint="Name the columns, or use count(*).")
    position = tree.this.meta.get("start")
    name = fold(tree.this)
    table = tree.args.get("table")
    if table is None:
        try:
            value = binder.scope.column(name, position=position)
        except Invalid:
            value = _no_column(binder, name, tree)
            if value is None:
                raise
    else:
        value = binder.scope.qualified(fold(table), name, position=table.meta.get("start"))
    # A new object for every place, so that a later error (not grouped) can point to it.
    if isinstance(value, bound.Column):
        value = bound.Column(id=value.id, type=value.type, name=value.name)
    return binder.context.remember(value, tree)


def _no_column(binder: ExpressionBinder, name: str, tree: exp.Column) -> bound.Bound | None:
    """What a name means that no column has: the value of a function in FROM, or of the session."""
    range = binder.scope.whole(name)
    if range is not None and range.scalar is None:
        raise refuse_row(tree) from None
    if range is not None:
        return range.scalar
    if name in system.BARE and not tree.this.args.get("quoted"):
        return system.call(binder, name, (), tree)
    return None


def paren(binder: ExpressionBinder, tree: exp.Paren) -> bound.Bound:
    return binder.bind(tree.this)


def binary(binder: ExpressionBinder, tree: exp.Binary) -> bound.Bound:
    only(tree, "this", "expression", "safe", "typed", "negate")
    function = BINARY[tree.__class__]
    if function in _OF_JSONB:
        left, right = binder.bind(tree.this), binder.bind(tree.expression)
        if JSONB in (left.type, right.type) or function == "jsonb_delete_path":
            function = _OF_JSONB[function]
        if function in _WITH_PATH and right.type == UNKNOWN:
            right = binder.context.coerce(right, array_of(TEXT), tree)
        return binder.call(function, left, right, tree=tree)
    left, right = binder.bind(tree.this), binder.bind(tree.expression)
    if function == "concat_op":  # what has no type is an array like the other side: tags || '{a,b}', tags || NULL
        if left.type.element is not None and right.type == UNKNOWN:
            right = _like_array(binder, right, left.type, tree)
        elif right.type.element is not None and left.type == UNKNOWN:
            left = _like_array(binder, left, right.type, tree)
    node = binder.call(function, left, right, tree=tree)
    return negated(node) if tree.args.get("negate") else node


def _like_array(binder: ExpressionBinder, node: bound.Bound, type: Type, tree: exp.Expr) -> bound.Bound:
    try:
        return binder.context.coerce(node, type, tree)
    except Invalid as error:
        if error.hint is None:
            error.hint = f"To add one element, cast it: 'x'::{type.element}."
        raise


def path_match(binder: ExpressionBinder, tree: exp.MatchAgainst) -> bound.Bound:
    """``document @@ path``; the parser has it the other way round."""
    document = binder.bind(tree.expressions[0])
    if document.type not in (JSONB, UNKNOWN):
        raise unsupported(f"{document.type} @@", tree, hint="@@ is for JSON paths: there is no text search; use ~*.")
    return binder.call("jsonb_path_match_opr", document, binder.bind(tree.this), tree=tree)


def escape(binder: ExpressionBinder, tree: exp.Escape) -> bound.Bound:
    like = tree.this
    if not isinstance(like, exp.Like | exp.ILike):
        raise unsupported("ESCAPE here", tree)
    arguments = (binder.bind(like.this), binder.bind(like.expression), binder.bind(tree.expression))
    node = binder.call(_ESCAPED[BINARY[like.__class__]], *arguments, tree=tree)
    return negated(node) if like.args.get("negate") else node


def negated(node: bound.Bound) -> bound.Bound:
    return bound.call("not", node, type=BOOLEAN)


def connector(binder: ExpressionBinder, tree: exp.Connector) -> bound.Bound:
    """AND and OR, flattened: a chain of a thousand is one call, not a thousand levels."""
    name = "and" if isinstance(tree, exp.And) else "or"
    arguments: list[bound.Bound] = []
    for part in tree.flatten(unnest=False):
        node = binder.condition(part, what=name.upper())
        if isinstance(node, bound.Call) and node.function == name:
            arguments.extend(node.arguments)
        else:
            arguments.append(node)
    return bound.call(name, *arguments, type=BOOLEAN)


def negation(binder: ExpressionBinder, tree: exp.Not) -> bound.Bound:
    return negated(binder.condition(tree.this, what="NOT"))


def minus(binder: ExpressionBinder, tree: exp.Neg) -> bound.Bound:
    if isinstance(tree.this, exp.Literal) and not tree.this.is_string:
        positive = number_literal(tree.this.name)
        if tree.this.name == "9223372036854775808":
            return Literal(value=-(2**63), type=Type(kind=Kind.BIGINT))
        if tree.this.name == "2147483648":
            return Literal(value=-(2**31), type=Type(kind=Kind.INTEGER))
        value: Any = positive.value
        if positive.type.kind is Kind.NUMERIC and not value:
            return positive  # there is no negative zero among NUMERICs
        return Literal(value=value.copy_negate() if hasattr(value, "copy_negate") else -value, type=positive.type)
    return binder.call("negate", binder.bind(tree.this), tree=tree)


def bit_not(binder: ExpressionBinder, tree: exp.BitwiseNot) -> bound.Bound:
    return binder.call("bit_not_op", binder.bind(tree.this), tree=tree)


def is_test(binder: ExpressionBinder, tree: exp.Is) -> bound.Bound:
    only(tree, "this", "expression", "negate")
    right = tree.expression
    negate = bool(tree.args.get("negate"))
    if isinstance(right, exp.Not):
        negate, right = not negate, right.this
    if isinstance(right, exp.Null):
        name = "is_not_null" if negate else "is_null"
        whole = row_of(binder, tree.this)
        if whole is not None:
            return all_of(name, whole.values)
        return bound.call(name, binder.known(tree.this), type=BOOLEAN)
    if isinstance(right, exp.Boolean):
        name = f"is_{'not_' if negate else ''}{'true' if right.this else 'false'}"
        return bound.call(name, binder.condition(tree.this, what=f"IS {right.sql()}"), type=BOOLEAN)
    raise unsupported(f"IS {right.sql('postgres')}", tree)


def between(binder: ExpressionBinder, tree: exp.Between) -> bound.Bound:
    only(tree, "this", "low", "high", "symmetric", "negate")
    value, low, high = (binder.bind(tree.args[name]) for name in ("this", "low", "high"))
    node = _between(binder, value, low, high, tree)
    if tree.args.get("symmetric"):
        node = bound.call("or", node, _between(binder, value, high, low, tree), type=BOOLEAN)
    return negated(node) if tree.args.get("negate") else node


def _between(
    binder: ExpressionBinder, value: bound.Bound, low: bound.Bound, high: bound.Bound, tree: exp.Expr
) -> bound.Bound:
    above = binder.call("greater_equal", value, low, tree=tree)
    below = binder.call("less_equal", value, high, tree=tree)
    return bound.call("and", above, below, type=BOOLEAN)


def case(binder: ExpressionBinder, tree: exp.Case) -> bound.Bound:
    """Both forms become the searched one."""
    operand = tree.this
    conditions: list[bound.Bound] = []
    for branch in tree.args["ifs"]:
        if operand is None:
            conditions.append(binder.condition(branch.this, what="CASE/WHEN"))
        else:
            conditions.append(binder.call("equal", binder.bind(operand), binder.bind(branch.this), tree=branch.this))
    default = tree.args.get("default")
    trees = [branch.args["true"] for branch in tree.args["ifs"]]
    results = [binder.bind(result) for result in trees]
    last = binder.bind(default) if default is not None else Literal(value=None, type=UNKNOWN)
    type = common_type(types_of([*results, last]), context="CASE")
    context = binder.context
    branches = tuple(
        (bound.expression(condition), bound.expression(context.coerce(result, type, result_tree)))
        for condition, result, result_tree in zip(conditions, results, trees, strict=True)
    )
    return Case(branches=branches, default=bound.expression(context.coerce(last, type, default)), type=type)


def cast(binder: ExpressionBinder, tree: exp.Cast) -> bound.Bound:
    only(tree, "this", "to")
    if isinstance(tree.to, exp.ObjectIdentifier):
        return system.object_number(binder, tree)
    number = _float_literal(tree)
    if number is not None:
        return number
    inner = tree.this.unnest()
    if isinstance(inner, exp.Array) and not inner.expressions and type_of(tree.to).kind is Kind.ARRAY:
        return bound.ArrayList(elements=(), type=type_of(tree.to))
    node = binder.bind(tree.this)
    digits = precision_of(tree.to)
    if digits is not None:
        plain = binder.context.cast(node, type_of(imprecise(tree.to)), tree)
        return binder.call("round_time", plain, Literal(value=digits, type=INTEGER), tree=tree)
    type = binder.context.bare_numeric(node) if is_bare_numeric(tree.to) else type_of(tree.to)
    return binder.context.cast(node, type, tree)


def _float_literal(tree: exp.Cast) -> Literal | None:
    """``1e300::float8``: a number that no NUMERIC holds."""
    inner = tree.this.this if isinstance(tree.this, exp.Neg | exp.Paren) else tree.this
    if not isinstance(inner, exp.Literal) or inner.is_string or "e" not in inner.name.lower():
        return None
    type = type_of(tree.to)
    if type.kind is not Kind.DOUBLE:
        return None
    value = literal_value(inner.name, type)
    assert isinstance(value, float), "a DOUBLE is a float"
    return Literal(value=-value if isinstance(tree.this, exp.Neg) else value, type=type)


def adjacent(binder: ExpressionBinder, tree: exp.Concat) -> bound.Bound:
    raise fail("syntax error: two string constants side by side", tree, sqlstate="42601", hint="Join them with ||.")


def collate(binder: ExpressionBinder, tree: exp.Collate) -> bound.Bound:
    name = tree.expression.name
    if name not in ("C", "POSIX", "default", "ucs_basic"):
        raise unsupported(f'the collation "{name}"', tree, hint='Text compares by bytes, which is COLLATE "C".')
    return binder.known(tree.this)


def at_time_zone(binder: ExpressionBinder, tree: exp.AtTimeZone) -> bound.Bound:
    value = binder.bind(tree.this)
    if value.type == UNKNOWN:
        value = binder.context.coerce(value, TIMESTAMPTZ, tree.this)
    return binder.call("timezone", binder.bind(tree.args["zone"]), value, tree=tree)


def extract(binder: ExpressionBinder, tree: exp.Extract) -> bound.Bound:
    part = Literal(value=tree.this.name.lower(), type=TEXT)
    return binder.call("extract", part, binder.bind(tree.expression), tree=tree)


def position(binder: ExpressionBinder, tree: exp.StrPosition) -> bound.Bound:
    only(tree, "this", "substr")
    return binder.call("position", binder.bind(tree.this), binder.bind(tree.args["substr"]), tree=tree)


def substring(binder: ExpressionBinder, tree: exp.Substring) -> bound.Bound:
    arguments = [tree.args[name] for name in ("this", "start", "length") if tree.args.get(name) is not None]
    return binder.call("substring", *(binder.bind(argument) for argument in arguments), tree=tree)


def trim(binder: ExpressionBinder, tree: exp.Trim) -> bound.Bound:
    only(tree, "this", "position", "expression")
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(tree.args.get("position") or "").upper(), "btrim")
    arguments = [binder.bind(tree.this)]
    if tree.args.get("expression") is not None:
        arguments.append(binder.bind(tree.expression))
    return binder.call(name, *arguments, tree=tree)


def overlay(binder: ExpressionBinder, tree: exp.Overlay) -> bound.Bound:
    names = ("this", "expression", "from_", "for_")
    arguments = [binder.bind(tree.args[name]) for name in names if tree.args.get(name) is not None]
    return binder.call("overlay", *arguments, tree=tree)


def array(binder: ExpressionBinder, tree: exp.Array) -> bound.Bound:
    if len(tree.expressions) == 1 and isinstance(tree.expressions[0], exp.Query):
        return array_query(binder, tree.expressions[0])
    if not tree.expressions:
        raise fail("cannot determine type of empty array", tree, sqlstate="42P18", hint="Cast it: ARRAY[]::integer[].")
    nodes = [binder.bind(element) for element in tree.expressions]
    element = common_type(types_of(nodes), context="ARRAY")
    if element.kind is Kind.ARRAY:
        raise several_dimensions(tree)
    elements = tuple(
        binder.context.coerce(node, element, part) for node, part in zip(nodes, tree.expressions, strict=True)
    )
    return bound.ArrayList(elements=elements, type=array_of(element))


def array_query(binder: ExpressionBinder, tree: exp.Expr) -> bound.Bound:
    query = binder.context.bind_query(binder.context, tree, binder.around())
    if len(query.columns) != 1:
        raise fail("subquery must return only one column", tree, sqlstate="42601")
    if query.columns[0].type.kind is Kind.ARRAY:
        raise several_dimensions(tree)
    return bound.ArrayList(elements=(), type=array_of(query.columns[0].type), query=query)


def several_dimensions(tree: exp.Expr) -> Invalid:
    return unsupported("an array of several dimensions", tree, hint="Use jsonb, or a row per element.")


def subscript(binder: ExpressionBinder, tree: exp.Bracket) -> bound.Bound:
    node = binder.known(tree.this)
    if len(tree.expressions) != 1:
        raise unsupported("a subscript of several dimensions", tree)
    if node.type == JSONB and not isinstance(tree.expressions[0], exp.Slice):
        return _part(binder, node, tree)
    if node.type.kind is not Kind.ARRAY or node.type.element is None:
        message = f"cannot subscript type {node.type} because it does not support subscripting"
        raise fail(message, tree, sqlstate="42804")
    if isinstance(tree.expressions[0], exp.Slice):
        return _slice(binder, node, tree.expressions[0], tree)
    index = binder.typed(tree.expressions[0], Type(kind=Kind.INTEGER), what="array subscript")
    return bound.Subscript(array=node, index=index, type=node.type.element)


def _part(binder: ExpressionBinder, document: bound.Bound, tree: exp.Bracket) -> bound.Bound:
    """``document['name']`` or ``document[0]``."""
    step = binder.bind(tree.expressions[0])
    if not step.type.is_integer:
        step = binder.context.implicit(step, TEXT, tree, what="subscript of jsonb")
    return binder.call("json_get", document, step, tree=tree)


def _slice(binder: ExpressionBinder, array: bound.Bound, ends: exp.Slice, tree: exp.Expr) -> bound.Bound:
    """``array[low:high]``; an end that is left out is the array's."""

    def end(part: exp.Expr | None, default: int) -> bound.Bound:
        integer = Type(kind=Kind.INTEGER)
        if part is None:
            return Literal(value=default, type=integer)
        return binder.typed(part, integer, what="array subscript")

    low, high = end(ends.args.get("this"), 1), end(ends.args.get("expression"), 2**31 - 1)
    return binder.call("array_slice", array, low, high, tree=tree)


def unary(function: str) -> Handler:
    """A prefix operator that is a function."""
    return lambda binder, tree: binder.call(function, binder.bind(tree.this), tree=tree)


def overlaps(binder: ExpressionBinder, tree: exp.Overlaps) -> bound.Bound:
    """``(start, end) OVERLAPS (start, end)``; an end may be an interval."""
    ends: list[bound.Bound] = []
    for side in (tree.this, tree.expression):
        parts = side.expressions if isinstance(side, exp.Tuple) else []
        if len(parts) != 2:
            raise fail("wrong number of parameters of OVERLAPS expression", tree, sqlstate="42601")
        start, end = binder.bind(parts[0]), binder.bind(parts[1])
        if end.type.kind is Kind.INTERVAL:
            end = binder.call("add", start, end, tree=tree)
        ends.extend((start, end))
    return binder.call("overlaps", *ends, tree=tree)


def now(binder: ExpressionBinder, tree: exp.Expr) -> bound.Bound:
    """CURRENT_TIMESTAMP and friends: the statement's one moment, in the session's zone where there is no zone."""
    moment = bound.call("now", type=TIMESTAMPTZ)
    if tree.args.get("this") is not None:
        digits = binder.typed(tree.this, INTEGER, what="a precision")
        return binder.call("round_time", now(binder, tree.__class__()), digits, tree=tree)
    if isinstance(tree, exp.CurrentTimestamp):
        return moment
    if isinstance(tree, exp.CurrentTime):
        raise unsupported("CURRENT_TIME (time with time zone)", tree, hint="Use LOCALTIME.")
    local = binder.call("timezone", Literal(value=binder.context.settings.timezone, type=TEXT), moment, tree=tree)
    match tree:
        case exp.CurrentDate():
            return bound.cast_to(local, DATE)
        case exp.Localtime():
            return bound.cast_to(local, TIME)
        case _:
            return local


HANDLERS: Final[dict[type[exp.Expr], Handler]] = {
    **dict.fromkeys(BINARY, binary),
    exp.Literal: literal,
    exp.Boolean: boolean,
    exp.Null: null,
    exp.Parameter: parameter,
    exp.Placeholder: placeholder,
    exp.Column: column,
    exp.Paren: paren,
    exp.Escape: escape,
    exp.MatchAgainst: path_match,
    exp.And: connector,
    exp.Or: connector,
    exp.Not: negation,
    exp.Neg: minus,
    exp.BitwiseNot: bit_not,
    exp.Is: is_test,
    exp.Between: between,
    exp.Case: case,
    exp.Cast: cast,
    exp.Concat: adjacent,
    exp.Collate: collate,
    exp.AtTimeZone: at_time_zone,
    exp.Extract: extract,
    exp.StrPosition: position,
    exp.Substring: substring,
    exp.Trim: trim,
    exp.Overlay: overlay,
    exp.Array: array,
    exp.Bracket: subscript,
    exp.Sqrt: unary("sqrt"),
    exp.Cbrt: unary("cbrt"),
    exp.Abs: unary("abs"),
    exp.Overlaps: overlaps,
    exp.CurrentDate: now,
    exp.CurrentTime: now,
    exp.CurrentTimestamp: now,
    exp.Localtime: now,
    exp.Localtimestamp: now,
}
