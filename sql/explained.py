"""What EXPLAIN found out, and its two forms: lines for people, a document for programs.

    Rule push_filters: e: k = 7                                     what the rules did
    Choice: Key and Time Read, since the condition gives the key    the physical choice, and why; then why nothing less
      not Primary Key Get: no condition at = constant
    Key and Time Read on e  (7 of 28 cells, about 99, at most 99 rows)        each table reference
      Columns: k, at
      Filter: k = 7
    Relational Executor (DuckDB):                                   the executor's operators
      Hash Join  (about 4 rows)

The document has PostgreSQL's names where PostgreSQL has one for it (Node Type, Relation Name, Plan Rows, Actual Rows,
Plans), so that programs that draw its plans draw these. Times are milliseconds. The text changes without notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..engine.expression.node import Expression
from ..engine.scan_statistics import ScanStatistics
from .matching.explained import lines_of
from .operators import Operator
from .parts import METADATA, VIEWS, Grouped
from .plan import NAMES, Plan, Relational
from .shown import expression_text
from .verify import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What reading a table reference took: of the engine, not of who consumed the rows."""

    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the engine reads one table reference. ``version`` only where it is the past. ``groups``: of which rows, where
    it is a view that is kept.
    """

    choice: str
    table: str
    alias: str
    version: int | None
    columns: tuple[str, ...]
    filter: str | None
    rows_expected: int
    rows_max: int
    statistics: ScanStatistics
    measured: Measured | None = None
    groups: str | None = None

    def lines(self) -> list[str]:
        of = self.statistics
        kept = [f"{of.cells_total - of.cells_pruned:,} of {of.cells_total:,} cells"]
        if of.segments_total:
            kept.append(f"{of.segments_total - of.segments_pruned:,} of {of.segments_total:,} segments")
            kept.append(f"{of.blocks_total - of.blocks_pruned:,} of {of.blocks_total:,} blocks")
        name = self.table if self.version is None else f"{self.table} AS OF VERSION {self.version}"
        name = name if self.alias == self.table else f"{name} AS {self.alias}"
        kept += [f"about {self.rows_expected:,}", f"at most {self.rows_max:,} rows"]
        lines = [
            f"{self.choice} on {name}  ({', '.join(kept)})",
            *([] if self.groups is None else [f"  {self.groups}"]),
            f"  Columns: {', '.join(self.columns) or 'none'}",
        ]
        if self.filter is not None:
            lines.append(f"  Filter: {self.filter}")
        return lines if self.measured is None else [*lines, *_read(self.table, of, self.measured)]

    def document(self) -> dict[str, Any]:
        of = self.statistics
        found: dict[str, Any] = {
            "Node Type": self.choice,
            "Relation Name": self.table,
            "Alias": self.alias,
            "Output": list(self.columns),
            "Plan Rows": self.rows_expected,
            "Maximum Rows": self.rows_max,
        }
        if self.version is not None:
            found["Version"] = self.version
        if self.groups is not None:
            found["Groups"] = self.groups
        if self.filter is not None:
            found["Filter"] = self.filter
        for what, total, pruned in _pruned(of):
            found[f"{what} Total"], found[f"{what} Left Out"] = total, pruned
        if self.measured is not None:
            found["Actual Rows"] = of.rows_returned
            found["Rows Read"] = of.rows_read
            found["Bytes"] = self.measured.bytes
            found["Passes"] = of.passes
            found["Actual Total Time"] = _milliseconds(self.measured.seconds)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A statement that changes rows: what of which table, and what was decided about how (``notes``)."""

    operation: str
    table: str
    notes: tuple[str, ...] = ()


_NO_VIEWS: Final = "none is looked at, since"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """``steps`` are names with seconds; ``rows`` and ``seconds`` are None where the statement did not run.

    ``plan`` is None for a change without a query. ``locked`` are the tables of which rows are locked; None: no clause.
    ``views_off``: why views that there are, are not looked at.
    """

    plan: Plan | None
    accesses: tuple[Access, ...] = ()
    operators: Operator | None = None
    grouped: tuple[Grouped, ...] = ()
    change: Change | None = None
    locked: tuple[str, ...] | None = None
    steps: tuple[tuple[str, float], ...] = ()
    rows: int | None = None
    seconds: float | None = None
    verified: Verified | None = None
    views_off: str | None = None

    def lines(self) -> list[str]:
        lines = [] if self.plan is None else self.plan.explain()
        lines = lines if self.views_off is None else [f"View: {_NO_VIEWS} {self.views_off}", *lines]
        for grouped in self.grouped:
            lines += [_grouped_line(grouped), *_order_line(grouped)]
        for access in self.accesses:
            lines += access.lines()
        if self.operators is not None:
            lines += [f"{NAMES[Relational]} (DuckDB):", *_indented(_operator_lines(self.operators))]
        if self.locked is not None:
            lines = [f"Lock rows of {', '.join(self.locked) or 'nothing'}", *_indented(lines)]
        if self.change is not None:
            lines = [*self.change.notes, *lines]
            lines = [f"{self.change.operation} on {self.change.table}", *_indented(lines)]
        if self.rows is not None and self.seconds is not None:
            times = ", ".join(f"{name} {_shown(seconds)}" for name, seconds in self.steps)
            lines.append(f"Planning time: {_shown(sum(seconds for _, seconds in self.steps))} ({times})")
            lines.append(f"Execution time: {_shown(self.seconds)}, rows: {self.rows:,}")
        return lines if self.verified is None else [*lines, *self.verified.lines()]

    def document(self) -> list[dict[str, Any]]:
        """As EXPLAIN (FORMAT JSON) gives it."""
        found: dict[str, Any] = {"Plan": self._root()}
        if self.plan is not None:
            found["Rules"] = [{"Rule": fired.rule.name, "Effects": list(fired.effects())} for fired in self.plan.fired]
            found["Choice"] = NAMES[type(self.plan.choice)]
            found["Reason"] = str(self.plan.choice.reason)
            if self.plan.matching is not None:
                found["Views"] = [
                    line.strip() for line in lines_of(self.plan.matching, used=self.plan.without is not None)
                ]
            if self.views_off is not None:
                found["Views"] = [f"{_NO_VIEWS} {self.views_off}"]
            found["Declined"] = [{"Choice": item.name, "Reason": str(item.reason)} for item in self.plan.declined]
        if self.operators is not None:
            found["Tables"] = [access.document() for access in self.accesses]
        if self.grouped:
            found["Pipelines"] = [_grouped_document(grouped) for grouped in self.grouped]
        found["Planning Steps"] = {name: _milliseconds(seconds) for name, seconds in self.steps}
        found["Planning Time"] = _milliseconds(sum(seconds for _, seconds in self.steps))
        if self.seconds is not None:
            found["Execution Time"] = _milliseconds(self.seconds)
        if self.verified is not None:
            found["Verify"] = self.verified.document()
        return [found]

    def _root(self) -> dict[str, Any]:
        root: dict[str, Any]
        if self.operators is not None:
            root = _operator_document(self.operators)
        elif len(self.accesses) == 1:
            root = self.accesses[0].document()
        else:
            root = {"Node Type": "Result", "Plans": [access.document() for access in self.accesses]}
        if self.locked is not None:
            root = {"Node Type": "LockRows", "Tables": list(self.locked), "Plans": [root]}
        if self.change is not None:
            root = {
                "Node Type": "ModifyTable",
                "Operation": self.change.operation,
                "Relation Name": self.change.table,
                "Notes": list(self.change.notes),
                "Plans": [] if self.plan is None else [root],
            }
        if self.rows is not None:
            root["Actual Rows"] = self.rows
        return root


_ROWS: Final = {
    "top": "the first rows",
    "newest": "the first row of each group",
    "passing": "the rows that pass",
}


def _grouped_line(grouped: Grouped) -> str:
    if grouped.sink == VIEWS:
        return _views_line(grouped)
    if grouped.why_not is not None:
        return f"  Pipeline of {grouped.alias}: not used, since {grouped.why_not}; the executor groups"
    if grouped.sink in _ROWS:
        state = _ROWS[grouped.sink]
        if grouped.groups is not None and grouped.rows is not None and grouped.seconds is not None:
            state += f": {grouped.groups:,} of {grouped.rows:,} looked at, in {_shown(grouped.seconds)}"
        return f"  Pipeline of {grouped.alias}: {state} ({grouped.sink})"
    if grouped.groups is None or grouped.rows is None or grouped.seconds is None:
        if grouped.sink == METADATA:
            return f"  Pipeline of {grouped.alias}: told by counts and zones"
        state = f"its kernel is ready ({grouped.sink})" if grouped.sink else "if the rows that it is joined with fit"
        return f"  Pipeline of {grouped.alias}: {state}"
    if grouped.kernel is None:
        rows = f"{grouped.rows:,} rows read"
        return f"  Pipeline of {grouped.alias}: told by counts and zones, {rows}, in {_shown(grouped.seconds)}"
    rows = f"{grouped.groups:,} groups of {grouped.rows:,} rows"
    return f"  Pipeline of {grouped.alias}: {rows}, in {_shown(grouped.seconds)} by {grouped.kernel} ({grouped.sink})"


def _views_line(grouped: Grouped) -> str:
    if grouped.groups is None or grouped.rows is None or grouped.seconds is None:
        return f"  Views of {grouped.alias}: not used, since {grouped.why_not}"
    read = f"{grouped.groups:,} groups of {grouped.rows:,} groups and rows"
    return f"  View {grouped.kernel} for {grouped.alias}: {read}, in {_shown(grouped.seconds)}"


def _order_line(grouped: Grouped) -> list[str]:
    """In what order conditions are asked, and what each keeps of the rows that come to it."""
    if not grouped.order or grouped.why_not is not None:
        return []
    about = "" if grouped.seconds is not None else "about "
    shown = [f"{_conditions(conditions)} ({about}{share:.2%})" for conditions, share in grouped.order]
    return [f"    Asked in order: {', then '.join(shown)}"]


def _conditions(conditions: Sequence[Expression]) -> str:
    return " AND ".join(map(expression_text, conditions))


def _grouped_document(grouped: Grouped) -> dict[str, Any]:
    found: dict[str, Any] = {"Alias": grouped.alias, "Kernel": grouped.kernel, "Sink": grouped.sink}
    if grouped.why_not is not None:
        return {**found, "Not Used": grouped.why_not}
    if grouped.order:
        found["Asked In Order"] = [
            {"Condition": _conditions(conditions), "Kept": round(share, 6)} for conditions, share in grouped.order
        ]
    if grouped.seconds is None:
        return found
    return {**found, "Groups": grouped.groups, "Rows": grouped.rows, "Time": _milliseconds(grouped.seconds)}


def _read(name: str, of: ScanStatistics, measured: Measured) -> list[str]:
    """What was read and pruned of one table reference. Counts of what was read are those of all passes."""
    left_out = max(of.rows_total - of.rows_read // max(of.passes, 1), 0)
    lines = [
        f"  Read {name}: gave {of.rows_returned:,} of {of.rows_read:,} rows looked at, {left_out:,} pruned, "
        f"passes {of.passes}, {measured.bytes:,} bytes, {_shown(measured.seconds)}",
        f"    Cells: {of.cells_read:,} read, {of.cells_pruned:,} of {of.cells_total:,} pruned",
    ]
    for what, read, pruned, total in (
        ("Segments", of.segments_read, of.segments_pruned, of.segments_total),
        ("Blocks", of.blocks_read, of.blocks_pruned, of.blocks_total),
        ("Chunks in memory", of.chunks_read, of.chunks_pruned, of.chunks_total),
    ):
        if total:
            lines.append(f"    {what}: {read:,} read, {pruned:,} of {total:,} pruned")
    return lines


def _pruned(of: ScanStatistics) -> Sequence[tuple[str, int, int]]:
    return (
        ("Cells", of.cells_total, of.cells_pruned),
        ("Segments", of.segments_total, of.segments_pruned),
        ("Blocks", of.blocks_total, of.blocks_pruned),
        ("Chunks", of.chunks_total, of.chunks_pruned),
    )


def _operator_lines(operator: Operator) -> list[str]:
    known: list[str] = []
    if operator.rows_estimate is not None:
        known.append(f"about {operator.rows_estimate:,} rows")
    if operator.rows is not None:
        known.append(f"gave {operator.rows:,} rows")
    if operator.seconds is not None:
        known.append(_shown(operator.seconds))
    lines = [f"{operator.name}  ({', '.join(known)})" if known else operator.name]
    lines += [f"  {label}: {text}" for label, text in operator.details if text]
    for item in operator.inputs:
        lines += _indented(_operator_lines(item))
    return lines


def _operator_document(operator: Operator) -> dict[str, Any]:
    found: dict[str, Any] = {"Node Type": operator.name, **dict(operator.details)}
    if operator.rows_estimate is not None:
        found["Plan Rows"] = operator.rows_estimate
    if operator.rows is not None:
        found["Actual Rows"] = operator.rows
    if operator.seconds is not None:
        found["Actual Total Time"] = _milliseconds(operator.seconds)
    if operator.inputs:
        found["Plans"] = [_operator_document(item) for item in operator.inputs]
    return found


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 4)


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.3f} ms"
