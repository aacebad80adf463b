"""COMMENT ON: what a table, view or column is for, kept in its definition.

It is a definition like any other: transactional, of the version that a snapshot reads, in backups. SHOW CREATE repeats
it, and ``weft_comments`` lists all. A comment goes with what it is on; one on a column stays with it through RENAME.
"""

from __future__ import annotations

from dataclasses import replace

from ..base.errors import Invalid
from ..base.limits import COMMENT_BYTES_MAX
from ..base.result import Result
from ..engine.schema import Relation, Table
from .execution import Execution
from .statements import Comment


def comment_on(statement: Comment, execution: Execution) -> Result:
    """Raises Invalid: 42P01, 42703, 42809 for a name of another kind, 54000 for a text that is too long."""
    relation = execution.catalog.relation(statement.name)
    kind = _kind(relation)
    if statement.kind != "COLUMN" and statement.kind != kind:
        raise Invalid(f'"{relation.name}" is not a {statement.kind.lower()}', sqlstate="42809")
    if statement.text is not None and len(statement.text.encode()) > COMMENT_BYTES_MAX:
        raise Invalid(f"the comment is longer than {COMMENT_BYTES_MAX} bytes", sqlstate="54000")
    place = 0 if statement.column is None else _place(relation, statement.column)
    comments = {**dict(relation.comments), place: statement.text or ""}
    kept = tuple(sorted((place, text) for place, text in comments.items() if text))
    if kept != relation.comments:
        execution.transaction.replace(replace(relation, comments=kept))
    return execution.done("COMMENT")


def _kind(relation: Relation) -> str:
    if isinstance(relation, Table):
        return "TABLE"
    return "MATERIALIZED VIEW" if relation.materialized else "VIEW"


def _place(relation: Relation, column: str) -> int:
    if isinstance(relation, Table):
        return relation.column(column).id
    places = {name: place for place, (name, _) in enumerate(relation.columns, start=1)}
    if column not in places:
        raise Invalid(f'column "{column}" of relation "{relation.name}" does not exist', sqlstate="42703")
    return places[column]
