"""Views: what CREATE VIEW stores, the shape of materialized ones, and who depends on whom.

A view is stored as the text of its query, bound anew wherever it is read, together with its columns' names and types.
Where the text has a star or the view has column names of its own, the text is wrapped, so that the columns stay what
they were when a table gains another:

    SELECT "a", "b" FROM (<query>) AS weft_view("a", "b")

What always holds: a view binds in the catalog that it is in, with the columns that it says. A change of a definition is
refused while a view would notice it (``check_dependents``, called after the change, inside the same transaction).

A materialized view is kept by the engine, group by group, inside of the commits that change its table (maintained.py
says of which shapes it is), and so exact at every snapshot; REFRESH has nothing to do. Other shapes are refused, with
the reason and the nearest one that can be kept. (Views of databases from before that are computed when they are read.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlglot import exp

from ..base.errors import Invalid
from ..base.result import Result
from ..base.types import TEXT, Kind, Type
from ..engine.catalog import Catalog
from ..engine.expression.functions import FUNCTIONS, Volatility
from ..engine.expression.node import Call
from ..engine.schema import Relation, Table, View
from . import rules
from .bind import Settings, bind_query
from .bound import BoundQuery, Query
from .definition import name_of, new_relation_name, only_parts, refuse, refuse_node
from .describe import quoted
from .execution import Execution
from .flatten import NotFlat, flattened
from .lexer import Tokens
from .maintained import NotMaintained, changing, maintained_of
from .matching.would import nearest_kept
from .parse import parse
from .plan import plan
from .source import Source
from .virtual import VIRTUAL_SCHEMAS
from .walk import walk


def query_text(source: Source) -> str:
    """The text after AS of a CREATE VIEW: what the view stores."""
    tokens = Tokens(source.rewritten)
    depth = 0
    while (token := tokens.peek()) is not None:
        tokens.next()
        if token.sort == "sign":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        elif depth == 0 and token.upper == "AS":
            return tokens.rest().strip()
    return ""


def as_alter_view(source: Source) -> str:
    """ALTER MATERIALIZED VIEW as the parser reads it: as ALTER VIEW."""
    return _MATERIALIZED.sub(lambda match: " " * len(match[0]), source.rewritten, count=1)


_MATERIALIZED: Final = re.compile(r"\bMATERIALIZED\b", re.IGNORECASE)


def without_data_clause(source: Source) -> Source:
    """CREATE MATERIALIZED VIEW without the WITH DATA at its end, which says what is so anyway.

    Raises Invalid (0A000) for WITH NO DATA.
    """
    match = _WITH_DATA.search(source.rewritten)
    if match is None:
        return source
    if match[1]:
        raise Invalid(
            "CREATE MATERIALIZED VIEW … WITH NO DATA is not supported",
            hint="A materialized view is exact at every snapshot, from the first on. Leave it out.",
            sqlstate="0A000",
            position=match.start(),
        )
    return replace(source, rewritten=source.rewritten[: match.start()] + " " * len(match[0]))


_WITH_DATA: Final = re.compile(r"\bWITH\s+(NO\s+)?DATA\s*$", re.IGNORECASE)


def create_view(statement: exp.Create, options: Mapping[str, str], execution: Execution, *, query_text: str) -> Result:
    """CREATE [OR REPLACE] VIEW, CREATE MATERIALIZED VIEW. ``query_text`` is the text after AS."""
    only_parts(statement, "this", "kind", "exists", "replace", "expression", "properties")
    properties = statement.args.get("properties")
    materialized = False
    for item in properties.expressions if properties else ():
        if not isinstance(item, exp.MaterializedProperty):
            raise refuse_node(item)
        materialized = True
    schema = statement.this
    named = isinstance(schema, exp.Schema)
    name = new_relation_name(schema.this if named else schema)
    if statement.args.get("exists") and statement.args.get("replace"):
        raise Invalid("OR REPLACE and IF NOT EXISTS contradict each other", hint="Use one of them.", sqlstate="42601")
    tag = "CREATE MATERIALIZED VIEW" if materialized else "CREATE VIEW"
    if statement.args.get("exists") and name in execution.catalog.relations:
        execution.notice(f'relation "{name}" already exists, skipping')
        return execution.done(tag)
    columns = [name_of(node) for node in schema.expressions] if named else None
    query = statement.args.get("expression")
    view, bound = view_of(name, query, query_text, execution, columns=columns, materialized=materialized)
    before = execution.catalog.relations.get(name) if statement.args.get("replace") else None
    if before is not None:
        _check_replaced(before, view, execution)
        view = replace(view, id=before.id, comments=_comments_kept(before, view))
    if materialized:
        _maintain(view, query, bound, execution, before=before, retains=_retains(options))
    else:
        _store(view, execution, before=before)
    if before is not None:
        check_dependents(before.id, execution, what=f'replace {tag.removeprefix("CREATE ").lower()} "{name}"')
    return execution.done(tag)


def view_of(
    name: str,
    query: exp.Expr | None,
    text: str,
    execution: Execution,
    *,
    columns: list[str] | None = None,
    materialized: bool = False,
) -> tuple[View, BoundQuery]:
    """The view of a query, and the query, bound to see its columns.

    Raises Invalid for parameters and for names that repeat.
    """
    if query is None:
        raise Invalid(f'view "{name}" has no query', hint="Write CREATE VIEW name AS SELECT ….", sqlstate="42601")
    if not isinstance(query, exp.Query | exp.Values):
        raise refuse(f"a view of {query.key.upper()}", "Write CREATE VIEW name AS SELECT ….")
    bound = execution.bind(query)
    if bound.parameters:
        raise Invalid("a view's query cannot have parameters", hint="Write the value itself.", sqlstate="42P02")
    names = [column for column, _ in bound.columns]
    if columns is not None:
        if len(columns) > len(names):
            raise Invalid(
                f"CREATE VIEW specifies {len(columns)} column names, its query has {len(names)} columns",
                sqlstate="42601",
            )
        names[: len(columns)] = columns
    for number, column in enumerate(names):
        if column in names[:number]:
            raise Invalid(
                f'column "{column}" specified more than once', hint="Name each column with AS.", sqlstate="42701"
            )
    if columns is not None or any(not isinstance(star.parent, exp.Anonymous) for star in query.find_all(exp.Star)):
        listed = ", ".join(f'"{column.replace(chr(34), chr(34) * 2)}"' for column in names)
        text = f"SELECT {listed} FROM ({text}) AS weft_view({listed})"
    view = View(
        id=execution.new_id(),
        name=name,
        query=text,
        columns=tuple(zip(names, map(_stored_type, bound.columns), strict=True)),
        materialized=materialized,
        depends_on=bound.depends_on,
    )
    return view, bound


def _maintain(
    view: View, query: Any, bound: BoundQuery, execution: Execution, *, before: Relation | None, retains: bool
) -> None:
    """Store a materialized view in the place of ``before``, if any. Raises Invalid (0A000) where it cannot be kept."""
    try:
        _check_constant(bound, query, execution)
        if any(isinstance(execution.catalog.by_id[id], View) for id in view.depends_on):
            maintained, base = maintained_of(_query_of_rows(view, query, execution), new_id=execution.new_id)
        else:
            maintained, base = maintained_of(rules.rewrite(bound)[0].query, new_id=execution.new_id)
    except NotMaintained as why:
        raise _not_maintained(view, bound, why, execution) from None
    maintained = maintained.retaining(execution.new_id) if retains else maintained
    execution.transaction.create_view(replace(view, maintained=maintained), base)


def _check_constant(bound: BoundQuery, query: Any, execution: Execution) -> None:
    """Raises NotMaintained for what says something else of the same rows at another time, or in another place."""
    for part in walk(bound.query):
        if isinstance(part, Call) and FUNCTIONS[part.function].volatility is not Volatility.IMMUTABLE:
            raise changing(part)
    if bound.query != _query_in(_other_zone(execution), query, execution):
        raise NotMaintained(
            "what it computes depends on the session's time zone (date_trunc of a DATE does, of d::timestamp not)",
            instead="Say the zone: at AT TIME ZONE 'UTC', d::timestamp, TIMESTAMPTZ '2026-01-01 00:00+00'.",
        )


def _not_maintained(view: View, bound: BoundQuery, why: NotMaintained, execution: Execution) -> Invalid:
    """The refusal: the reason, and the nearest view that can be kept."""
    hints = [why.instead] if why.instead else []
    hints.append("CREATE VIEW has no limits, and computes its rows when it is read.")
    query = nearest_kept(bound)
    if query is not None and _is_kept(query, execution):
        hints.append(f"This one can be kept: CREATE MATERIALIZED VIEW {quoted(view.name)} AS {query}")
    return Invalid(
        f'materialized view "{view.name}" cannot be kept: {why}', hint=" ".join(hints), sqlstate="0A000"
    )  # fmt: skip


def _is_kept(query: str, execution: Execution) -> bool:
    """Whether a view of a query that was made up can be kept."""
    try:
        tree = parse(query)
        bound = bind_query(tree, execution.catalog, settings=Settings(timezone=execution.binder.timezone))
        _check_constant(bound, tree, execution)
        maintained_of(rules.rewrite(bound)[0].query, new_id=lambda: 0)
    except (Invalid, NotMaintained):
        return False
    return True


def _other_zone(execution: Execution) -> str:
    return _OTHER_ZONE if execution.binder.timezone == "UTC" else "UTC"


def _query_in(zone: str, query: Any, execution: Execution, *, computed: frozenset[int] = frozenset()) -> Query:
    settings = Settings(timezone=zone, computed=computed)
    return bind_query(query, execution.catalog, relations=VIRTUAL_SCHEMAS, settings=settings).query


def _query_of_rows(view: View, query: Any, execution: Execution) -> Query:
    """The query of a view over views, over the table below. Raises NotMaintained. Who has a view that is kept above it
    cannot be replaced.
    """
    for id in view.depends_on:
        below = execution.catalog.by_id[id]
        if isinstance(below, View) and below.maintained is not None and below.maintained.forgotten:
            raise NotMaintained(
                "it reads a view that retains what its table forgets", instead="Write it over the table."
            )
    kept = (view for views in execution.catalog.maintained.values() for view in views)
    computed = frozenset(maintained.id for maintained in kept)
    try:
        return flattened(_query_in(execution.binder.timezone, query, execution, computed=computed))
    except NotFlat as why:
        raise NotMaintained(str(why), instead="Write it over the table, of which all can be grouped.") from None


def _retains(options: Mapping[str, str]) -> bool:
    """Whether ``retain`` says that the view keeps what its table forgets."""
    value = options.get("retain", "base")
    if value not in ("base", "all"):
        raise Invalid(
            f"view option retain = '{value}' cannot be",
            hint="Use 'base' (what the table forgets, the view forgets) or 'all' (the view keeps it).",
            sqlstate="22023",
        )
    return value == "all"


def _store(view: View, execution: Execution, *, before: Relation | None) -> None:
    if before is None:
        execution.transaction.create(view)
    else:
        execution.transaction.replace(view)


def _stored_type(column: tuple[str, Type]) -> Type:
    return TEXT if column[1].kind is Kind.UNKNOWN else column[1]


def _check_replaced(before: Relation, view: View, execution: Execution) -> None:
    """Raise Invalid where CREATE OR REPLACE may not put ``view`` in the place of ``before``."""
    kind = "materialized view" if view.materialized else "view"
    if not isinstance(before, View) or before.materialized != view.materialized:
        hint = "Use another name." + (" Or drop the view first." if isinstance(before, View) else "")
        raise Invalid(f'"{view.name}" is not a {kind}', hint=hint, sqlstate="42809")
    if not view.materialized and view.columns[: len(before.columns)] != before.columns:
        raise Invalid(
            f'cannot change the columns of view "{view.name}"',
            hint="CREATE OR REPLACE VIEW may add columns at the end; for anything else drop the view first.",
            sqlstate="42P16",
        )
    if before.id in _all_dependencies(view, execution.catalog):
        raise Invalid(f'view "{view.name}" would read itself', sqlstate="42P17")
    for part in () if before.maintained is None else before.maintained.forgotten_parts:
        if any(rows.num_rows for rows in execution.reader.scan(part.table, columns=[1]).batches()):
            raise Invalid(
                f'cannot replace materialized view "{view.name}": it retains what its table has forgotten, '
                "which cannot be made anew",
                hint="Make one of another name, or drop it, if that may go.",
                sqlstate="55000",
            )
    for above in dependents(execution.catalog, before.id):
        if above.maintained is not None:
            raise _depends(f'replace {kind} "{view.name}"', above)


def _comments_kept(before: Relation, after: View) -> tuple[tuple[int, str], ...]:
    """The comments of a view that is replaced: its own, and those of columns whose names are still there."""
    assert isinstance(before, View), "only views are replaced"
    places = {name: place for place, (name, _) in enumerate(after.columns, 1)}
    names = [None, *(name for name, _ in before.columns)]
    moved = ((0 if place == 0 else places.get(names[place] or ""), text) for place, text in before.comments)
    return tuple(sorted((place, text) for place, text in moved if place is not None))


def _all_dependencies(view: View, catalog: Catalog) -> set[int]:
    """Identifiers of what a view reads, and what that reads, and so on."""
    found = set(view.depends_on)
    for relation in catalog.relations.values():
        if isinstance(relation, View) and relation.id in found:
            found |= _all_dependencies(relation, catalog)
    return found


def dependents(catalog: Catalog, id: int) -> list[View]:
    """The views that read relation ``id`` directly, by name."""
    views = [relation for relation in catalog.relations.values() if isinstance(relation, View)]
    return sorted((view for view in views if id in view.depends_on), key=lambda view: view.name)


def check_dependents(id: int, execution: Execution, *, what: str) -> None:
    """Raise Invalid (2BP01) if a view that reads relation ``id`` no longer binds to the columns that it has."""
    for view in dependents(execution.catalog, id):
        try:
            columns = tuple((name, _stored_type((name, type))) for name, type in _bound(view, execution).columns)
        except Invalid as error:
            raise _depends(what, view) from error
        if columns != view.columns:
            raise _depends(what, view)


def check_column_unused(table: Table, column: str, execution: Execution, *, what: str) -> None:
    """Raise Invalid (2BP01) if a view reads this column. Called before a column is renamed or dropped, since another
    column of the old name might take its place in the view's text."""
    for view in dependents(execution.catalog, table.id):
        for use in plan(_bound(view, execution)).bound.uses:
            if use.table.id == table.id and table.column(column).id in use.columns:
                raise _depends(what, view)


def _bound(view: View, execution: Execution) -> BoundQuery:
    return bind_query(parse(view.query), execution.catalog, relations=VIRTUAL_SCHEMAS)


_OTHER_ZONE: Final = "Asia/Kolkata"
"""What says the same there and in UTC is taken to say it everywhere."""


def _depends(what: str, view: View) -> Invalid:
    return Invalid(
        f'cannot {what}: view "{view.name}" depends on it',
        hint=f'Drop the view first, and create it again afterwards; SHOW CREATE "{view.name}" prints it.',
        sqlstate="2BP01",
    )
