"""One statement, in one session: what each sort does.

``run`` is the only place that matches all sorts of statement. What a statement raises is pointed into its text, and
leaves a transaction that a text began failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never

import pyarrow as pa
from sqlglot import exp

from ..base.errors import Invalid, LimitExceeded, nearest
from ..base.limits import PREPARED_MAX
from ..base.result import Result
from ..base.types import TEXT, Type, arrow_field
from ..engine.changes import Change
from ..engine.clock import monotonic
from ..engine.reader import Reader
from ..engine.schema import View
from ..engine.transaction import Transaction
from . import statements as st
from .as_of import looking_back, run_looking_back
from .bind import type_of
from .block import Running
from .comments import comment_on
from .copy.run import run_copy
from .ddl import DDL_WORDS, parse_ddl, run_ddl
from .definition import refuse, relation_name
from .describe import show_columns, show_create, show_tables
from .execution import EMPTY_SCHEMA, Execution
from .explain import explain
from .locking import locks, select_for_update
from .mutate import CHANGES, cut_overriding, run_change, simple_insert
from .normalize import constants
from .parse import parse, parse_expression
from .point_change import PointInsert, PointUpdate, point_of
from .resources import Kept, Parsed, Script, past_of
from .snapshots import create_snapshot, drop_feed, drop_snapshot
from .source import Source, first_words, pointing, split
from .statements import read
from .verify_view import verify_view
from .views import query_text, without_data_clause
from .with_changes import writes_in_with

if TYPE_CHECKING:
    from .session import Session

_KEPT: Final = ("SET", "RESET", "DISCARD")
_SETTING: Final = (*_KEPT, "PREPARE", "DEALLOCATE")
_TAGS: Final[dict[type[exp.Expr], str]] = {exp.Insert: "INSERT 0", exp.Update: "UPDATE", exp.Delete: "DELETE"}
_CONTROL: Final = (
    *_SETTING, "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "EXECUTE"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """``types`` are the declared ones of $1, $2, …; parameters beyond them are inferred at each EXECUTE."""

    script: Script
    types: tuple[Type, ...]

    @property
    def source(self) -> Source:
        return self.script.sources[0]


def check_single_call(sources: Sequence[Source], *, keeps_settings: bool) -> None:
    """Raise Invalid (0A000) for a text of nothing but what ends with its session, in one that ends with the text.

    ``keeps_settings``: whoever has the session takes its settings to the next one.
    """
    words = [(first_words(source, 1) or ("",))[0] for source in sources]
    if not words or not all(word in _SETTING for word in words):
        return
    settings = all(word in _KEPT for word in words)
    if settings and keeps_settings:
        return
    raise Invalid(
        f"{words[-1]} alone has no effect: each execute is a session of its own, and it ends with the text",
        hint='Give settings with the call, execute(…, settings={"timezone": "UTC"}), or SET them in db.transaction().'
        if settings
        else "Put the statement that needs it into the same text, separated by a semicolon.",
        sqlstate="0A000",
    )


def may_repeat(sources: Sequence[Source]) -> bool:
    """Whether a text of several statements can be run again after a Conflict: no statement changes the session."""
    return all((first_words(source, 1) or ("",))[0] not in _CONTROL for source in sources)


def run(
    session: Session, source: Source, parameters: Sequence[object], *, running: Running, types: Mapping[int, Type]
) -> Result:
    """Run one statement. Raises WeftError with the place in the text where it is known."""
    try:
        with pointing(source):
            kept = session.kept_plan(source, types)
            result = None if kept is None else _run_kept(session, kept, parameters, running, types)
            if result is not None:
                return result
            statement = read(source)
            if session.block is not None and not isinstance(statement, st.Commit | st.Rollback | st.RollbackTo):
                session.block.check_usable()
            return _run(session, statement, parameters, running, types)
    except BaseException:
        if session.block is not None and not session.block.held:
            session.block.failed = True
        raise


class _Stale(Exception):
    """A plan belongs to another catalog."""


def _run_kept(
    session: Session, kept: Kept, parameters: Sequence[object], running: Running, types: Mapping[int, Type]
) -> Result | None:
    """The result of a query whose plan is known; None where its catalog is another one."""

    def query(reader: Reader, on_close: Callable[[], None] | None) -> Result:
        if reader.catalog.version != kept.catalog_version:
            raise _Stale
        return session.execution(reader, running, parameters, types).run(kept.plan, on_close=on_close)

    try:
        return session.read_stream(query, running)
    except _Stale:
        return None


def _run(
    session: Session,
    statement: st.Statement,
    parameters: Sequence[object],
    running: Running,
    types: Mapping[int, Type],
) -> Result:
    match statement:
        case st.Other():
            return _run_other(session, statement, parameters, running, types)
        case st.Begin():
            return _begin(session, statement)
        case st.Commit():
            return _commit(session, chain=statement.chain)
        case st.Rollback():
            return _rollback(session, chain=statement.chain)
        case st.Savepoint():
            session.savepoint(statement.name)
            return _done(session, "SAVEPOINT")
        case st.RollbackTo():
            session.rollback_to(statement.name)
            return _done(session, "ROLLBACK")
        case st.Release():
            session.release(statement.name)
            return _done(session, "RELEASE")
        case st.SetTransaction():
            return _set_transaction(session, statement)
        case st.SetVariable():
            session.settings.set(statement.name, statement.value, local=statement.local)
            if statement.local and session.block is None:
                session.settings.commit()  # the statement is a transaction of its own, and was all of it
                session.notice("SET LOCAL can only be used in transaction blocks")
            return _done(session, "SET")
        case st.Reset():
            session.settings.reset(statement.name)
            if statement.discard:
                session.prepared.clear()
            return _done(session, "DISCARD ALL" if statement.discard else "RESET")
        case st.Show():
            return _show(session, statement.name)
        case st.ShowCatalog():
            return _show_catalog(session, statement, running)
        case st.Prepare():
            return _prepare(session, statement)
        case st.Execute():
            return _execute(session, statement, running)
        case st.Deallocate():
            return _deallocate(session, statement.name)
        case st.Explain():
            return _explain(session, statement, parameters, running, types)
        case st.Comment():
            return _comment(session, statement, running)
        case st.Refresh():
            return _refresh(session, statement.name)
        case st.VerifyView():
            return verify_view(session, statement.name)
        case st.CreateSnapshot():
            return create_snapshot(session, statement, running)
        case st.DropSnapshot():
            return drop_snapshot(session, statement)
        case st.DropFeed():
            return drop_feed(session, statement)
        case st.Maintain():
            return _maintain(session, statement.name)
        case st.Copy():
            return run_copy(session, statement, running, lambda query: _copied(session, query, running))
        case _:
            assert_never(statement)


def _copied(session: Session, query: Source, running: Running) -> Result:
    """The rows of what COPY TO copies."""
    inner = read(query)
    if not isinstance(inner, st.Other) or (inner.words and inner.words[0] in DDL_WORDS):
        raise refuse("COPY of this statement", "Copy SELECT, VALUES, or INSERT, UPDATE, DELETE with RETURNING.")
    return _run_other(session, inner, (), running, {})


def _maintain(session: Session, name: str) -> Result:
    """CHECKPOINT and VACUUM at once, for all tables; by themselves they happen in the background."""
    match name:
        case "CHECKPOINT":
            session.engine.flush()
        case "VACUUM":
            if session.block is not None:
                raise Invalid("VACUUM cannot run inside a transaction block", hint="End it first.", sqlstate="25001")
            session.engine.flush()
            session.engine.compact()
        case _:
            session.notice(f"{name} has nothing to do: WeftDB maintains itself")
    return _done(session, name)


def _run_other(
    session: Session, statement: st.Other, parameters: Sequence[object], running: Running, types: Mapping[int, Type]
) -> Result:
    source, words = statement.source, statement.words
    if words and words[0] in DDL_WORDS:
        return _run_ddl(session, source, words, running)
    source, overriding = cut_overriding(source)
    parsed = _parsed(session, source, parameters)
    tree = parsed.tree
    if isinstance(tree, CHANGES) or writes_in_with(tree):

        def execution(reader: Reader) -> Execution:
            return session.execution(reader, running, parameters, types, source=source)

        if not overriding:
            quick = _insert_blindly(session, parsed, execution)
            if quick is not None:
                return quick

        def at_once(transaction: Transaction) -> Result | None:
            here = execution(transaction)
            point = None if overriding else point_of(parsed, here)
            count = None if point is None else point.at_once(transaction, parameters, alone=here.alone)
            return None if count is None else here.done(f"{_TAGS[type(tree)]} {count}", rows=count)

        def work(transaction: Transaction) -> Result:
            here = execution(transaction)
            point = None if overriding else point_of(parsed, here)
            if isinstance(point, PointUpdate):
                count = point.in_columns(transaction, parameters, alone=here.alone)
                if count is not None:
                    return here.done(f"UPDATE {count}", rows=count)
            with looking_back(here, parsed.past) as beside:
                return run_change(tree, beside, overriding=overriding)

        result, version = session.transact(tree.key.upper(), work, running, at_once=at_once)
        result.version = version
        return result
    if not isinstance(tree, exp.Query | exp.Values):
        raise refuse(tree.key.upper(), "See docs/sql.md for the statements that there are.")
    if locks(tree):
        session.check_writable("SELECT FOR UPDATE")

    def query(reader: Reader, on_close: Callable[[], None] | None) -> Result:
        def run(execution: Execution, on_close: Callable[[], None] | None) -> Result:
            if locks(tree):
                return select_for_update(tree, execution, on_close)
            plan = execution.kept("query", lambda: execution.plan(tree))
            session.note_plan(source, plan, execution)
            return execution.run(plan, on_close=on_close)

        execution = session.execution(reader, running, parameters, types, source=source)
        return run_looking_back(execution, parsed.past, run, on_close)

    return session.read_stream(query, running)


def _parsed(session: Session, source: Source, parameters: Sequence[object]) -> Parsed:
    """The statement's tree, not to be changed. Raises Invalid (08P01) for too few or too many parameters."""
    parsed = session.resources.parse(source)
    if len(parameters) != parsed.parameters_count:
        raise Invalid(
            f"the statement has {parsed.parameters_count} parameters, {len(parameters)} were given",
            hint="Give one value for each of $1, $2, … in order.",
            sqlstate="08P01",
        )
    return parsed


def _insert_blindly(session: Session, parsed: Parsed, execution: Callable[[Reader], Execution]) -> Result | None:
    """INSERT of literals outside a transaction: no snapshot, no binder, no conflict. None if it is not that."""
    tree = parsed.tree
    if not isinstance(tree, exp.Insert) or session.block is not None or session.is_read_only:
        return None
    named = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(named, exp.Table) or tree.args.get("conflict") or tree.args.get("returning"):
        return None
    here = session.read_now(execution)
    table = here.catalog.table(relation_name(named))
    point = point_of(parsed, here)
    row = point.row(here.parameters) if isinstance(point, PointInsert) else None
    if row is not None and (written := session.write_row(table, Change.INSERT, row)) is not None:
        return _done(session, "INSERT 0 1", version=written.version, rows=1)
    batch = simple_insert(tree, table, parameters=here.parameters, zone=here.binder.timezone)
    if batch is None:
        return None
    commit = session.write(table.name, Change.INSERT, batch)
    return _done(session, f"INSERT 0 {commit.rows}", version=commit.version, rows=commit.rows)


def _run_ddl(session: Session, source: Source, words: tuple[str, ...], running: Running) -> Result:
    source = without_data_clause(source) if "MATERIALIZED" in first_words(source, 4) else source
    tree, options = parse_ddl(source, words)
    is_view = isinstance(tree, exp.Create) and tree.kind == "VIEW"
    text = query_text(source) if is_view else ""
    past = () if is_view else past_of(tree, source)

    def work(transaction: Transaction) -> Result:
        if session.block is not None:
            session.block.altered = True
        with looking_back(session.execution(transaction, running), past) as execution:
            return run_ddl(tree, options, execution, query_text=text)

    result, version = session.transact(" ".join(words), work, running)
    result.version = version
    return result


def _done(session: Session, tag: str, *, version: int | None = None, rows: int | None = None) -> Result:
    """The result of a statement without rows. It takes no snapshot: BEGIN must not."""
    at = session.engine.version if version is None else version
    return Result(schema=EMPTY_SCHEMA, batches=(), version=at, tag=tag, rows_affected=rows)


def _begin(session: Session, statement: st.Begin) -> Result:
    if session.block is not None and session.block.explicit:
        session.notice("there is already a transaction in progress")
        return _done(session, "BEGIN")
    isolation = statement.isolation or session.settings.get("default_transaction_isolation")
    read_only = session.is_read_only if statement.read_only is None else statement.read_only
    session.begin(isolation, read_only, held=False)
    return _done(session, "BEGIN")


def _check_not_held(session: Session, what: str) -> None:
    if session.block is not None and session.block.held:
        raise Invalid(
            f"{what} cannot end this transaction: it belongs to a transaction object",
            hint="Use its commit() and rollback(), or leave its with block.",
            sqlstate="2D000",
        )


def _commit(session: Session, *, chain: bool) -> Result:
    _check_not_held(session, "COMMIT")
    if session.block is not None and session.block.failed:
        return _rollback(session, chain=chain)
    if session.block is None or not session.block.explicit:
        session.notice("there is no transaction in progress")
        if session.block is None:
            return _done(session, "COMMIT")
    isolation, read_only = session.block.isolation, session.block.read_only
    version = session.commit()
    if chain:
        session.begin(isolation, read_only, held=False)
    return _done(session, "COMMIT", version=version)


def _rollback(session: Session, *, chain: bool) -> Result:
    _check_not_held(session, "ROLLBACK")
    if session.block is None or not session.block.explicit:
        session.notice("there is no transaction in progress")
    block = session.block
    session.rollback()
    if chain and block is None:
        session.begin(held=False)
    elif chain and block is not None:
        session.begin(block.isolation, block.read_only, held=False)
    return _done(session, "ROLLBACK")


def _set_transaction(session: Session, statement: st.SetTransaction) -> Result:
    if statement.session:
        if statement.isolation is not None:
            session.settings.set("default_transaction_isolation", statement.isolation)
        if statement.read_only is not None:
            session.settings.set("default_transaction_read_only", "on" if statement.read_only else "off")
    elif session.block is None:
        session.notice("SET TRANSACTION can only be used in transaction blocks")
    elif session.block.opened is not None and (statement.isolation is not None or statement.read_only is False):
        raise Invalid("SET TRANSACTION must be called before any query", hint="Say it in BEGIN.", sqlstate="25001")
    else:
        if statement.isolation is not None:
            session.block.isolation = statement.isolation
        if statement.read_only is not None:
            session.block.read_only = statement.read_only or session.pinned
    return _done(session, "SET")


def _show(session: Session, name: str | None) -> Result:
    if name is None:
        rows = [{"name": n, "setting": value, "description": doc} for n, value, doc in session.settings.all()]
        schema = pa.schema([arrow_field(column, TEXT) for column in ("name", "setting", "description")])
        return _rows(session, pa.RecordBatch.from_pylist(rows, schema=schema))
    value = session.settings.get(name)
    if name == "transaction_isolation":
        default = session.settings.get("default_transaction_isolation")
        value = default if session.block is None else session.block.isolation
    if name == "transaction_read_only" and session.block is not None:
        value = "on" if session.block.read_only else "off"
    schema = pa.schema([arrow_field(_SHOWN.get(name, name), TEXT)])
    return _rows(session, pa.RecordBatch.from_arrays([pa.array([value])], schema=schema))


_SHOWN: Final = {"timezone": "TimeZone", "datestyle": "DateStyle", "intervalstyle": "IntervalStyle"}
"""Settings whose column PostgreSQL spells with capitals."""


def _rows(session: Session, batch: pa.RecordBatch, *, tag: str = "SHOW") -> Result:
    return Result(schema=batch.schema, batches=[batch], version=session.engine.version, tag=tag)


def _show_catalog(session: Session, statement: st.ShowCatalog, running: Running) -> Result:
    del running

    def work(reader: Reader) -> Result:
        match statement.what:
            case "tables":
                batch = show_tables(reader.catalog)
            case "columns":
                batch = show_columns(reader.catalog.relation(statement.name or ""))
            case "create":
                batch = show_create(reader.catalog.relation(statement.name or ""))
        return Result(schema=batch.schema, batches=[batch], version=reader.version, tag="SHOW")

    return session.read_now(work)


def _prepare(session: Session, statement: st.Prepare) -> Result:
    if statement.name in session.prepared:
        raise Invalid(
            f'prepared statement "{statement.name}" already exists', hint="DEALLOCATE it first.", sqlstate="42P05"
        )
    if len(session.prepared) >= PREPARED_MAX:
        raise LimitExceeded(f"a session has at most {PREPARED_MAX} prepared statements", hint="DEALLOCATE some.")
    inner = read(statement.source)
    if not isinstance(inner, st.Other) or (inner.words and inner.words[0] in DDL_WORDS):
        raise refuse("PREPARE of this statement", "Prepare SELECT, VALUES, INSERT, UPDATE or DELETE.")
    session.resources.parse(cut_overriding(statement.source)[0])
    types = tuple(type_of(parse_expression(f"CAST(NULL AS {name})").args["to"]) for name in statement.types)
    session.prepared[statement.name] = Prepared(script=Script((statement.source,)), types=types)
    return _done(session, "PREPARE")


def _execute(session: Session, statement: st.Execute, running: Running) -> Result:
    prepared = _prepared(session, statement.name)
    parameters = _arguments(session, statement.arguments, prepared, running)
    if len(parameters) < len(prepared.types):
        raise Invalid(
            f'wrong number of parameters for prepared statement "{statement.name}": '
            f"{len(parameters)} given, {len(prepared.types)} expected",
            sqlstate="42601",
        )
    types = dict(enumerate(prepared.types, 1))
    with session.instead(prepared.script), pointing(prepared.source):
        kept = session.kept_plan(prepared.source, types)
        if kept is not None and len(parameters) != max(kept.plan.bound.parameters, default=0):
            kept = None  # the ordinary way says so
        result = None if kept is None else _run_kept(session, kept, parameters, running, types)
        if result is not None:
            return result
        inner = st.Other(words=first_words(prepared.source), source=prepared.source)
        return _run_other(session, inner, parameters, running, types)


def _prepared(session: Session, name: str) -> Prepared:
    found = session.prepared.get(name)
    if found is None:
        raise Invalid(
            f'prepared statement "{name}" does not exist', hint=nearest(name, session.prepared), sqlstate="26000"
        )
    return found


def _arguments(session: Session, text: str, prepared: Prepared, running: Running) -> list[object]:
    """The values between EXECUTE's parentheses: expressions without columns."""
    if not text:
        return []
    known = constants(text)
    if known is not None and all(map(_is_plain_for, known, prepared.types)):
        return known
    tree = parse(split(f"SELECT {text}")[0])

    def work(reader: Reader) -> list[object]:
        execution = session.execution(reader, running)
        targets = prepared.types if len(prepared.types) == len(tree.expressions) else None
        return list(execution.query(tree, targets=targets).rows()[0])

    return session.read_now(work)


def _is_plain_for(value: object, type: Type) -> bool:
    """Whether a constant is a parameter of a declared type as it is: strings and NULL are read as that type then."""
    return type.is_integer or not isinstance(value, int)


def _deallocate(session: Session, name: str | None) -> Result:
    if name is None:
        session.prepared.clear()
        return _done(session, "DEALLOCATE ALL")
    _prepared(session, name)
    del session.prepared[name]
    return _done(session, "DEALLOCATE")


def _explain(
    session: Session, statement: st.Explain, parameters: Sequence[object], running: Running, types: Mapping[int, Type]
) -> Result:
    inner = read(statement.source)
    if not isinstance(inner, st.Other) or (inner.words and inner.words[0] in DDL_WORDS):
        raise refuse("EXPLAIN of this statement", "Explain SELECT, VALUES, INSERT, UPDATE, DELETE or MERGE.")
    source, overriding = cut_overriding(inner.source)
    began = monotonic()
    parsed = session.resources.parse(source) if not parameters else _parsed(session, source, parameters)
    tree, parse_seconds = parsed.tree, monotonic() - began

    def work(reader: Reader) -> Result:
        with looking_back(session.execution(reader, running, parameters, types), parsed.past) as execution:
            return explain(tree, execution, statement, overriding=overriding, parse_seconds=parse_seconds)

    if statement.analyze and isinstance(tree, CHANGES):
        result, version = session.transact("EXPLAIN ANALYZE", work, running)
        result.version = version
        return result
    return session.read_now(work)


def _comment(session: Session, statement: st.Comment, running: Running) -> Result:
    def work(transaction: Transaction) -> Result:
        if session.block is not None:
            session.block.altered = True
        return comment_on(statement, session.execution(transaction, running))

    result, version = session.transact("COMMENT", work, running)
    result.version = version
    return result


def _refresh(session: Session, name: str) -> Result:
    relation = session.read_now(lambda reader: reader.catalog.relation(name))
    if not isinstance(relation, View) or not relation.materialized:
        raise Invalid(f'"{name}" is not a materialized view', sqlstate="42809")
    session.notice("a materialized view is exact at every snapshot: there is nothing to refresh")
    return _done(session, "REFRESH MATERIALIZED VIEW")
