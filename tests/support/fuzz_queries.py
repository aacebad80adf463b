"""Random queries and changes of rows, over expressions of fuzz_expressions.py.

What depends on the order of rows is asked only where the order is given by all that is seen of them; sums are of
floats that add without rounding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fuzz_expressions import Expressions, between, compared_with_constant, evaluated, in_list, like, null_test
from fuzz_history import joined_change, value
from fuzz_schema import DOUBLE, INTEGERS, TYPES, Column, Query, Table, literal

_PEER_FRAMES: Final = (
    "",
    " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE GROUP",
    " GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING EXCLUDE NO OTHERS",
)
_ROW_FRAMES: Final = (
    *_PEER_FRAMES,
    " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
    " ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING",
    " ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW",
    " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE TIES",
)


class Maker(Expressions):
    """Makes one query."""

    def query(self) -> Query:
        kind = self.rng.random()
        if kind < 0.15:
            return self._filtered()
        if kind < 0.46:
            return self._plain()
        if kind < 0.55:
            return self._point()
        if kind < 0.61:
            return self._changing()
        if kind < 0.64:
            return self._distinct_on()
        if kind < 0.67:
            return self._recursive()
        if kind < 0.72:
            body, types = self._set_operation()
        elif kind < 0.77:
            inner, types = self.select(1)
            name = self.alias()
            self.scope = [(f"{name}.x{number}", type) for number, type in enumerate(types)]
            outputs = [self.expression(type, 1) for type in types]
            columns = ", ".join(f"x{number}" for number in range(len(types)))
            word = self.rng.choice(("", "MATERIALIZED ", "NOT MATERIALIZED "))
            body = f"WITH {name} ({columns}) AS {word}({inner}) SELECT {', '.join(outputs)} FROM {name}"
        elif kind < 0.85:
            return Query(self.select(self.rng.choice((1, 2)), others=True)[0], may_fail=self.failing)
        else:
            body, types = self.select(self.rng.choice((1, 2)))
        ordered = self.chance(0.4)
        if ordered:
            body += f" ORDER BY {self._order(len(types))}{self._limit()}"
        return Query(body, ordered=ordered, may_fail=self.failing)

    def _order(self, count: int) -> str:
        places = self.rng.sample(range(1, count + 1), count)
        words = ("", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST")
        return ", ".join(f"{place}{self.rng.choice(words)}" for place in places)

    def _limit(self, *, ties: bool = False) -> str:
        match self.rng.randrange(8):
            case 0 | 1:
                return f" LIMIT {self.rng.randint(0, 9)}"
            case 2:
                return f" LIMIT {self.rng.randint(0, 9)} OFFSET {self.rng.randint(0, 5)}"
            case 3 if ties:
                return f" FETCH FIRST {self.rng.randint(1, 5)} ROWS WITH TIES"
            case _:
                return ""

    def _filtered(self) -> Query:
        source, columns = self._source(1)
        self.scope = columns
        outputs = ", ".join(self.expression(self.output_type(), 2) for _ in range(self.rng.randint(1, 3)))
        where = self.condition(2)
        return Query(f"SELECT {outputs} FROM {source}", where=where, source=source, may_fail=self.failing)

    def _plain(self) -> Query:
        """Columns and simple conditions, which the engine answers by itself."""
        table = self.rng.choice(self.tables)
        source, self.scope = self._table(table)
        chosen = self.rng.sample(self.scope, self.rng.randint(1, len(self.scope)))
        outputs = ", ".join(text for text, _ in chosen) if self.chance(0.8) else "*"
        simple = (compared_with_constant, compared_with_constant, null_test, in_list, between, like)
        alone = self.chance(0.7)
        parts = [self.rng.choice((evaluated,) if alone else simple)(self, 0) for _ in range(self.rng.randint(1, 3))]
        where = f" {self.rng.choice(('AND', 'AND', 'OR'))} ".join(parts)
        if not alone and self.chance(0.2):
            where = f"NOT ({where})"
        if outputs != "*" and all(type in TYPES for _, type in chosen) and self.chance(0.2):
            order = f" ORDER BY {self._order(len(chosen))}{self._limit(ties=True)}"
            return Query(f"SELECT {outputs} FROM {source} WHERE {where}{order}", ordered=True)
        return Query(f"SELECT {outputs} FROM {source}", where=where, source=source)

    def _point(self) -> Query:
        """By the primary key."""
        keyed = [table for table in self.tables if table.keys]
        if not keyed:
            return self._plain()
        table = self.rng.choice(keyed)
        source, self.scope = self._table(table)
        name = self.scope[0][0].split(".")[0]
        outputs = ", ".join(text for text, _ in self.rng.sample(self.scope, self.rng.randint(1, len(self.scope))))
        key = self.key(table)
        where = " AND ".join(f"{name}.{column} = {text}" for column, text in zip(table.primary_key, key, strict=True))
        if self.chance(0.3):
            where = f"{name}.k IN ({', '.join([key[0], *(self.key(table)[0] for _ in range(2))])})"
        if self.chance(0.2):
            where += f" AND {compared_with_constant(self, 0)}"
        return Query(f"SELECT {outputs} FROM {source} WHERE {where}")

    def key(self, table: Table) -> tuple[str, ...]:
        """A primary key that a row may have."""
        texts = self.values.choice(table.keys)
        typed = self.values.random() < 0.5
        types = [table.type_of(name) for name in table.primary_key]
        return tuple(literal(type, text) if typed else text for type, text in zip(types, texts, strict=True))

    def _set_operation(self) -> tuple[str, list[str]]:
        types = [self.any_type() for _ in range(self.rng.randint(1, 3))]
        words = ("UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL")
        sides = [self.select(1, types)[0] for _ in range(2)]
        text = f"{sides[0]} {self.rng.choice(words)} {sides[1]}"
        if self.chance(0.2):
            text = f"({text}) {self.rng.choice(words)} {self.select(1, types)[0]}"
        return text, types

    def _distinct_on(self) -> Query:
        source, columns = self._source(1)
        self.scope = columns
        keys = [key for key in (self.expression(self.any_type(), 1) for _ in range(2)) if _COLUMN.search(key)]
        keys = keys or [self.rng.choice([text for text, type in columns if type in TYPES])]
        types = [self.any_type() for _ in range(self.rng.randint(1, 3))]
        outputs = ", ".join(self.expression(type, 1) for type in types)
        words = ("", " DESC", " NULLS FIRST")
        order = ", ".join([*(f"{key}{self.rng.choice(words)}" for key in keys), self._order(len(types))])
        where = f" WHERE {self.condition(1)}" if self.chance(0.5) else ""
        text = f"SELECT DISTINCT ON ({', '.join(keys)}) {outputs} FROM {source}{where} ORDER BY {order}"
        return Query(text, ordered=True, may_fail=self.failing)

    def _recursive(self) -> Query:
        type = self.any_type()
        source, self.scope = self.relation(1)
        first = f"SELECT 1, CAST({self.expression(type, 1)} AS {type}) FROM {source} WHERE {self.condition(1)}"
        name = self.alias()
        self.scope = [(f"{name}.x", type)]
        more, where = name, ""
        if self.chance(0.3):
            other, columns = self.relation(1)
            pairs = [column for column, of in columns if of == type]
            if pairs:
                more, where = f"{name} JOIN {other} ON {name}.x = {self.rng.choice(pairs)}", ""
                self.scope += columns
        where += f" AND {self.condition(0)}" if self.chance(0.3) else ""
        step = f"SELECT {name}.n + 1, CAST({self.expression(type, 1)} AS {type}) FROM {more} WHERE {name}.n < 3{where}"
        union = "UNION" if more != name else self.rng.choice(("UNION", "UNION ALL"))
        text = f"WITH RECURSIVE {name} (n, x) AS ({first} {union} {step}) SELECT n, x FROM {name}"
        return Query(text, may_fail=self.failing)

    def select(self, depth: int, types: Sequence[str] | None = None, *, others: bool = False) -> tuple[str, list[str]]:
        """A SELECT with outputs of these types, or of any. ``others``: also those that nobody can sort."""
        before = self.scope
        source, columns = self._source(depth)
        self.scope = [*before, *columns]
        where = f" WHERE {self.condition(depth)}" if self.chance(0.6) else ""
        any_type = self.output_type if others else self.any_type
        wanted = list(types) if types is not None else [any_type() for _ in range(self.rng.randint(1, 4))]
        if self.chance(0.3):
            text = self._grouped(source, where, wanted, columns)
        elif self.chance(0.25) and types is None:
            text = self._windowed(source, where, wanted, columns)
        else:
            outputs = [self.expression(type, depth) for type in wanted]
            distinct = "DISTINCT " if self.chance(0.2) and not others else ""
            text = f"SELECT {distinct}{', '.join(outputs)} FROM {source}{where}"
        self.scope = before
        return text, wanted

    def _grouped(self, source: str, where: str, wanted: list[str], columns: list[tuple[str, str]]) -> str:
        """Outputs are keys, GROUPING() or aggregates."""
        inner = [text for text, _ in columns]
        keys = [(self.expression(type, 1), type) for type in (self.any_type() for _ in range(self.rng.randint(0, 2)))]
        keys = [key for key in keys if any(re.search(rf"\b{re.escape(text)}\b", key[0]) for text in inner)]
        texts = [text for text, _ in keys]
        outputs: list[str] = []
        self.scope = columns  # an aggregate of outer columns alone would be the outer query's
        sets = bool(keys) and self.chance(0.25)
        for type in wanted:
            same = [text for text, of in keys if of == type]
            if sets and type == "INTEGER" and self.chance(0.5):
                outputs.append(f"grouping({', '.join(texts)})")
            else:
                outputs.append(self.rng.choice(same) if same and self.chance(0.5) else self.aggregate(type))
        having = f" HAVING {self.aggregate('BOOLEAN')}" if self.chance(0.3) else ""
        group = ", ".join(texts)
        if sets:
            one = f"({texts[-1]})"
            group = self.rng.choice(
                (
                    f"ROLLUP ({group})",
                    f"CUBE ({group})",
                    f"GROUPING SETS (({group}), (), {one})",
                    f"{texts[0]}, ROLLUP {one}",
                )
            )
        by = f" GROUP BY {group}" if keys else ""
        return f"SELECT {', '.join(outputs)} FROM {source}{where}{by}{having}"

    def _windowed(self, source: str, where: str, wanted: list[str], columns: list[tuple[str, str]]) -> str:
        """Rows that are equal in all columns are equal in what a window ordered by all of them says, as a whole.

        Of two such windows each has its own order of equal rows.
        """
        sortable = [text for text, type in columns if type in TYPES]
        whole = len(sortable) == len(columns)
        outputs = []
        for place, type in enumerate(wanted):
            partition = f"PARTITION BY {', '.join(self.rng.sample(sortable, 1))} " if self.chance(0.6) else ""
            words = ("", " DESC", " NULLS FIRST")
            if whole and type in TYPES and self.chance(0.6):
                whole = False
                names = self.rng.sample(sortable, len(sortable))
                order = "ORDER BY " + ", ".join(f"{name}{self.rng.choice(words)}" for name in names)
                outputs.append(f"{self._over_rows(type)} OVER ({partition}{order}{self._row_frame})")
                continue
            wanted[place] = "BIGINT"
            functions = ("rank()", "dense_rank()", "count(*)", f"count({self.rng.choice(columns)[0]})")
            frame = self.rng.choice(_PEER_FRAMES)
            by = self.rng.choice([column for column in columns if column[1] in TYPES])
            if by[1] in INTEGERS and self.chance(0.4):
                frame = " RANGE BETWEEN 1 PRECEDING AND 2 FOLLOWING"
            elif by[1] in ("TIMESTAMP", "TIMESTAMPTZ") and self.chance(0.5):
                before = "1 month" if by[1] == "TIMESTAMP" else "36 hours"
                frame = f" RANGE BETWEEN '{before}' PRECEDING AND '90 minutes' FOLLOWING"
            order = f"ORDER BY {by[0]}{self.rng.choice(words)}"
            outputs.append(f"{self.rng.choice(functions)} OVER ({partition}{order}{frame})")
        return f"SELECT {', '.join(outputs)} FROM {source}{where}"

    def _over_rows(self, type: str) -> str:
        """A function that looks at rows one by one, with the frame that it may have."""
        one = self.expression(type, 1)
        self._row_frame = self.rng.choice(_ROW_FRAMES)
        functions = [f"first_value({one})", f"last_value({one})", f"nth_value({one}, {self.rng.randint(1, 3)})"]
        if type == "BIGINT":
            functions += ["row_number()", "count(*)", f"sum({self.expression('SMALLINT', 1)})"]
        elif type == "INTEGER":
            functions += [f"ntile({self.rng.randint(1, 4)})"]
        elif type == DOUBLE:
            functions += ["cume_dist()", "percent_rank()", f"sum({one})", f"avg({one})"]
        if type == "BOOLEAN":
            functions += [f"bool_and({one})", f"bool_or({one})"]
        else:
            functions += [f"min({one})", f"max({one}) FILTER (WHERE {self.condition(0)})"]
        functions += [f"lag({one})", f"lead({one}, {self.rng.randint(0, 3)}, {self.leaf(type)})"]
        return self.rng.choice(functions)

    # FROM

    def _table(self, table: Table) -> tuple[str, list[tuple[str, str]]]:
        name = self.alias()
        past = f"@{self.rng.choice(table.pasts)}" if table.pasts and self.chance(0.15) else ""
        return f"{{{table.name}{past}}} AS {name}", [(f"{name}.{c.name}", c.type) for c in table.columns]

    def relation(self, depth: int, lateral: Sequence[tuple[str, str]] = ()) -> tuple[str, list[tuple[str, str]]]:
        """A table, or now and then something else. ``lateral``: what that may speak of."""
        if not ((depth > 1 and self.chance(0.25)) or lateral):
            return self._table(self.rng.choice(self.tables))
        before, self.scope = self.scope, list(lateral)
        name = self.alias()
        word = "LATERAL " if lateral else ""
        match self.rng.randrange(5):
            case 0:
                types = [self.any_type() for _ in range(self.rng.randint(1, 2))]
                rows = ", ".join(f"({', '.join(map(self.leaf, types))})" for _ in range(self.rng.randint(1, 3)))
                inner = f"(VALUES {rows})"
            case 1:
                inner, types = self._set_of_rows()
            case _:
                text, types = self.select(1)
                if self.chance(0.4):
                    text += f" ORDER BY {self._order(len(types))} LIMIT {self.rng.randint(1, 3)}"
                inner = f"({text})"
        self.scope = before
        columns = ", ".join(f"x{number}" for number in range(len(types)))
        return f"{word}{inner} AS {name} ({columns})", [(f"{name}.x{n}", type) for n, type in enumerate(types)]

    def _set_of_rows(self) -> tuple[str, list[str]]:
        """A function in FROM."""
        match self.rng.randrange(4):
            case 0:
                type = self.rng.choice(("INTEGER", "TEXT"))
                array = self.expression(f"{type}[]", 1)
                return (
                    (f"unnest({array}) WITH ORDINALITY", [type, "BIGINT"])
                    if self.chance(0.5)
                    else (f"unnest({array})", [type])
                )
            case 1:
                lower = f"CAST(CAST({self.leaf('SMALLINT')} AS INTEGER) % 5 AS INTEGER)"
                step = self.rng.choice(("", ", 2", ", -1"))
                return f"generate_series({lower}, {self.rng.randint(-2, 4)}{step})", ["INTEGER"]
            case 2:
                start = self.leaf("TIMESTAMP")
                span, step = self.rng.choice((("2 days", "13 hours"), ("3 months", "1 month"), ("-1 day", "-6 hours")))
                return f"generate_series({start}, {start} + INTERVAL '{span}', INTERVAL '{step}')", ["TIMESTAMP"]
            case _:
                json = f"jsonb_build_array({self.leaf('TEXT')}, {self.leaf('JSONB')}, {self.leaf('INTEGER')})"
                return f"jsonb_array_elements_text({json})", ["TEXT"]

    def _source(self, depth: int) -> tuple[str, list[tuple[str, str]]]:
        text, columns = self.relation(depth)
        for _ in range(2):
            if not self.chance(0.35):
                break
            text, columns = self._joined(text, columns, depth)
        return text, columns

    def _joined(self, text: str, columns: list[tuple[str, str]], depth: int) -> tuple[str, list[tuple[str, str]]]:
        if self.chance(0.2):
            other, more = self.relation(depth, lateral=columns)
            return self.rng.choice((f"{text} CROSS JOIN {other}", f"{text} LEFT JOIN {other} ON true")), [
                *columns,
                *more,
            ]
        other, more = self.relation(depth)
        kind = self.rng.choice(("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"))
        both = [*columns, *more]
        pairs = [(a, b) for a, type in columns for b, of in more if type == of or {type, of} <= set(INTEGERS)]
        if kind == "CROSS JOIN" or not pairs:
            return f"{text} CROSS JOIN {other}", both
        on = " = ".join(self.rng.choice(pairs))
        if self.chance(0.3) and kind != "FULL JOIN":
            before, self.scope = self.scope, both
            on = f"{on} AND {self.condition(1)}"
            self.scope = before
        return f"{text} {kind} {other} ON {on}", both

    # Changes

    def _changing(self) -> Query:
        table = self.rng.choice(self.tables)
        self.scope = [(f"{table.name}.{column.name}", column.type) for column in table.columns]
        returning = f" RETURNING {', '.join(text for text, _ in self.scope)}"
        match self.rng.randrange(6):
            case 0:
                chosen = self.rng.sample(table.free, min(2, len(table.free)))
                sets = ", ".join(f"{column.name} = {self.expression(column.type, 1)}" for column in chosen)
                text = f"UPDATE {table.name} SET {sets} WHERE {self.condition(1)}"
            case 1:
                text = f"DELETE FROM {table.name} WHERE {self.condition(1)}"
            case 2:
                text = joined_change(self.rng, table, self.rng.choice(self.tables))
            case 3:
                text, returning = self._merge(table), ""
            case _:
                text = self._insert(table)
        return Query(text + returning, changed=table.name, may_fail=self.failing)

    def _insert(self, table: Table) -> str:
        count = 1
        if self.chance(0.5):
            count = self.rng.randint(1, 4)
            text = f"INSERT INTO {table.name} VALUES {', '.join(self._row(table) for _ in range(count))}"
        else:
            source, self.scope = self._table(self.rng.choice(self.tables))
            outputs = [self._proposed(table, column) for column in table.columns]
            places = ", ".join(str(place) for place, c in enumerate(table.columns, 1) if c.type in TYPES)
            text = f"INSERT INTO {table.name} SELECT {', '.join(outputs)} FROM {source} WHERE {self.condition(1)}"
            text += f" ORDER BY {places}"  # the first of two with one key is inserted
        self.scope = [(f"{table.name}.{column.name}", column.type) for column in table.columns]
        targets = [f"({', '.join(table.primary_key)})"] if table.primary_key else []
        targets += [f"({table.unique})"] if table.unique else []
        if not targets or self.chance(0.1):
            return text + self.rng.choice(("", " ON CONFLICT DO NOTHING"))
        column = self.rng.choice(table.free)
        new = self.rng.choice((f"excluded.{column.name}", self.expression(column.type, 1)))
        update = f"DO UPDATE SET {column.name} = {new}"
        if count == 1 and "VALUES" in text and self.chance(0.3):
            update += f" WHERE {self.condition(0)}"
        return f"{text} ON CONFLICT {self.rng.choice(targets)} {self.rng.choice(('DO NOTHING', update))}"

    def _proposed(self, table: Table, column: Column) -> str:
        """An output of INSERT … SELECT."""
        if column.name in table.primary_key and self.chance(0.5):
            return literal(column.type, self.rng.choice(table.keys)[table.primary_key.index(column.name)])
        if column.name == table.unique and self.chance(0.8):
            return literal(column.type, "NULL")
        return self.expression(column.type, 1) if column.type in TYPES else self.constant(column.type)

    def _row(self, table: Table) -> str:
        known = table.keys and self.chance(0.6)
        key = dict(zip(table.primary_key, self.rng.choice(table.keys), strict=True)) if known else {}
        return "(" + ", ".join(key.get(c.name) or self._inserted(table, c) for c in table.columns) + ")"

    def _inserted(self, table: Table, column: Column) -> str:
        if column.name == table.unique:
            return self.rng.choice(("NULL", str(self.rng.randint(0, table.inserted))))
        return value(self.rng, table, column)

    def _merge(self, table: Table) -> str:
        other = self.rng.choice(self.tables)
        name = self.alias()
        source = [(f"{name}.{column.name}", column.type) for column in other.columns]
        pairs = [(c.name, text) for c in table.columns for text, type in source if c.type == type and type in TYPES]
        on = " = ".join(self.rng.choice(pairs)) if pairs else "false"
        on = f"{table.name}.{on}" if pairs else on
        self.scope += source
        whens = []
        if self.chance(0.8):
            column = self.rng.choice(table.free)
            update = f"UPDATE SET {column.name} = {self.expression(column.type, 1)}"
            change = self.rng.choice(("DELETE", update, "DO NOTHING"))
            also = f" AND {self.condition(0)}" if self.chance(0.4) else ""
            whens.append(f"WHEN MATCHED{also} THEN {change}")
        if not whens or self.chance(0.5):
            self.scope = source
            values = ", ".join("NULL" if c.name == table.unique else self.expression(c.type, 0) for c in table.columns)
            whens.append(f"WHEN NOT MATCHED THEN {self.rng.choice((f'INSERT VALUES ({values})', 'DO NOTHING'))}")
        past = f"@{self.rng.choice(other.pasts)}" if other.pasts and self.chance(0.2) else ""
        return f"MERGE INTO {table.name} USING {{{other.name}{past}}} AS {name} ON {on} {' '.join(whens)}"


_COLUMN: Final = re.compile(r"\ba\d+\.\w+")
