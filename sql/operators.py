"""The relational executor's own plan, as values: EXPLAIN prints them, as text and as JSON.

DuckDB tells its plan as JSON in two shapes, with and without measurements; ``operators_of`` reads both. Columns have
generated names there (``c5``); ``with_names`` puts those of the query in their place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

_UNNAMED: Final = ("RESULT_COLLECTOR", "EXPLAIN_ANALYZE", "QUERY")
_NOT_SHOWN: Final = ("Estimated Cardinality", "Function")
_COLUMN: Final = re.compile(r"\bc(\d+)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """``details`` are labels with texts; ``rows`` and ``seconds`` (of all threads) are None where nothing ran."""

    name: str
    details: tuple[tuple[str, str], ...] = ()
    rows_estimate: int | None = None
    rows: int | None = None
    seconds: float | None = None
    inputs: tuple[Operator, ...] = ()


def operators_of(text: str) -> Operator:
    """The plan in what DuckDB answers to EXPLAIN ([ANALYZE,] FORMAT JSON)."""
    found = json.loads(text)
    return _operator(found[0] if isinstance(found, list) else found["operator"][0])


def is_measured(text: str) -> bool:
    """Whether EXPLAIN ANALYZE measured anything: DuckDB does not run what is constants alone."""
    return json.loads(text) != {"result": "error"}


def with_names(operator: Operator, names: Mapping[int, str]) -> Operator:
    """The same with ``c<id>`` as ``names[id]``."""

    def named(text: str) -> str:
        return _COLUMN.sub(lambda match: names.get(int(match[1]), match[0]), text)

    return replace(
        operator,
        details=tuple((label, named(text)) for label, text in operator.details),
        inputs=tuple(with_names(item, names) for item in operator.inputs),
    )


def _operator(node: Mapping[str, Any]) -> Operator:
    kind: str = node.get("type") or node["name"]
    if kind in _UNNAMED and len(node["children"]) == 1:
        return _operator(node["children"][0])
    extra: Mapping[str, Any] = node.get("extra_info", {})
    estimate = str(extra.get("Estimated Cardinality", ""))
    return Operator(
        name="Table Scan" if kind == "PYTHON_ARROW_SCAN" else kind.strip().replace("_", " ").title(),
        details=tuple((label, _joined(text)) for label, text in extra.items() if label not in _NOT_SHOWN),
        rows_estimate=int(estimate) if estimate.isdigit() else None,
        rows=node.get("intermediate_rows"),
        seconds=node.get("timing"),
        inputs=tuple(map(_operator, node.get("children", ()))),
    )


def _joined(text: object) -> str:
    return ", ".join(map(str, text)) if isinstance(text, list) else str(text)
