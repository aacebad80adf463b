"""SQL's words, as the prompt completes and colours them, and the syntax of statements for ``\\h``."""

from __future__ import annotations

import re
from typing import Final

STATEMENTS: Final[dict[str, str]] = {
    "SELECT": """\
[WITH [RECURSIVE] name AS (query), ...]
SELECT [DISTINCT [ON (expressions)]] expression [AS name], ...
    FROM {table [AS OF version | time | SNAPSHOT name] | (query) | function(...)} [AS alias]
         [JOIN ... {ON condition | USING (columns)}]
    WHERE condition  GROUP BY expressions  HAVING condition  WINDOW name AS (...)
    {UNION | INTERSECT | EXCEPT} [ALL] query
    ORDER BY expression [ASC | DESC] [NULLS FIRST | LAST], ...  LIMIT n  OFFSET n  FOR {UPDATE | SHARE}""",
    "INSERT": """\
INSERT INTO table [AS alias] [(columns)] [OVERRIDING SYSTEM VALUE]
    {VALUES (...), ... | query | DEFAULT VALUES}
    [ON CONFLICT [(columns)] {DO NOTHING | DO UPDATE SET ... [WHERE ...]}] [RETURNING ...]""",
    "UPDATE": """\
UPDATE table [AS alias] SET column = expression | DEFAULT, ...
    [FROM ...] [WHERE condition] [RETURNING ...]""",
    "MERGE": """\
MERGE INTO table [AS alias] USING {table | (query)} [AS alias] ON condition
    {WHEN MATCHED [AND condition] THEN {UPDATE SET ... | DELETE | DO NOTHING}} ...
    {WHEN NOT MATCHED [AND condition] THEN {INSERT [(columns)] {VALUES (...) | DEFAULT VALUES} | DO NOTHING}} ...""",
    "DELETE": "DELETE FROM table [AS alias] [USING ...] [WHERE condition] [RETURNING ...]",
    "COPY": """\
COPY table [(columns)] FROM {'file' | STDIN} [WITH (option [value], ...)] [WHERE condition]
COPY {table [(columns)] | (query)} TO {'file' | STDOUT} [WITH (option [value], ...)]
    FORMAT {text | csv | json | parquet | arrow}, HEADER [MATCH], DELIMITER 'c', NULL 'text',
    QUOTE 'c', ESCAPE 'c', FORCE_QUOTE (columns), FORCE_NULL (columns), FORCE_NOT_NULL (columns)""",
    "CREATE TABLE": """\
CREATE TABLE [IF NOT EXISTS] name (
    column type [NOT NULL] [DEFAULT expression] [CHECK (condition)] [PRIMARY KEY] [UNIQUE]
                [GENERATED {ALWAYS | BY DEFAULT} AS IDENTITY], ...
    [, PRIMARY KEY (columns)] [, [CONSTRAINT name] {CHECK (condition) | UNIQUE (columns)}] ...
) [WITH (key = '...', time = '...', every = '...', keep = '...', keep_by = '...', late = '...', shards = n)]
CREATE TABLE [IF NOT EXISTS] name AS query""",
    "CREATE INDEX": """\
CREATE [UNIQUE] INDEX [[IF NOT EXISTS] name] ON table (column | (expression), ...) [NULLS NOT DISTINCT]
    [WHERE condition]""",
    "CREATE VIEW": "CREATE [OR REPLACE] VIEW name [(columns)] AS query",
    "CREATE MATERIALIZED VIEW": """\
CREATE [OR REPLACE] MATERIALIZED VIEW [IF NOT EXISTS] name [(columns)] AS
    SELECT columns, {count | sum | min | max | avg}(...) FROM table [WHERE ...] GROUP BY columns, time_bucket(...)""",
    "CREATE SNAPSHOT": "CREATE SNAPSHOT [IF NOT EXISTS] name [AS OF version | time]",
    "ALTER TABLE": """\
ALTER TABLE [IF EXISTS] name action, ...
    ADD [COLUMN] column type ...                    DROP [COLUMN] [IF EXISTS] column
    RENAME [COLUMN] column TO name                  RENAME TO name
    ALTER [COLUMN] column {SET DEFAULT expression | DROP DEFAULT | SET NOT NULL | DROP NOT NULL}
    ADD [CONSTRAINT name] {CHECK (condition) | UNIQUE (columns)}
    DROP CONSTRAINT [IF EXISTS] name
    SET (keep = '...', keep_by = '...', late = '...')  RESET (keep, keep_by, late)""",
    "ALTER INDEX": "ALTER INDEX name RENAME TO name\nALTER [MATERIALIZED] VIEW name RENAME TO name",
    "COMMENT": """\
COMMENT ON {TABLE | VIEW | MATERIALIZED VIEW} name IS {'text' | NULL}
COMMENT ON COLUMN name.column IS {'text' | NULL}""",
    "DROP": """\
DROP {TABLE | VIEW | MATERIALIZED VIEW | INDEX} [IF EXISTS] name, ... [CASCADE | RESTRICT]
DROP {SNAPSHOT | FEED} [IF EXISTS] name""",
    "TRUNCATE": "TRUNCATE [TABLE] name, ...",
    "BEGIN": """\
BEGIN | START TRANSACTION
    [ISOLATION LEVEL {REPEATABLE READ | READ COMMITTED | SERIALIZABLE}] [READ ONLY | READ WRITE]""",
    "COMMIT": "COMMIT [AND CHAIN]",
    "ROLLBACK": "ROLLBACK [AND CHAIN]\nROLLBACK TO [SAVEPOINT] name",
    "SAVEPOINT": "SAVEPOINT name\nRELEASE [SAVEPOINT] name",
    "EXPLAIN": "EXPLAIN [ANALYZE | VERIFY | (ANALYZE, VERIFY, FORMAT {TEXT | JSON})] statement",
    "PREPARE": "PREPARE name [(types)] AS statement\nEXECUTE name (values)\nDEALLOCATE name | ALL",
    "SET": """\
SET [SESSION | LOCAL] name {= | TO} {value | DEFAULT}
SET TIME ZONE 'zone'
SET TRANSACTION ISOLATION LEVEL ...
RESET name | ALL
DISCARD ALL""",
    "SHOW": "SHOW name | ALL\nSHOW TABLES\nSHOW COLUMNS FROM name\nSHOW CREATE name",
    "VALUES": "VALUES (expression, ...), ... [ORDER BY ...] [LIMIT n]",
    "TABLE": "TABLE name",
    "CHECKPOINT": "CHECKPOINT",
    "VACUUM": "VACUUM\nANALYZE",
    "REFRESH": "REFRESH MATERIALIZED VIEW name",
    "VERIFY": "VERIFY MATERIALIZED VIEW name",
}

_KEYWORDS: Final = """\
ADD, ALL, ALTER COLUMN, ALTER TABLE, AND, ANY, ARRAY, AS, AS OF, ASC, ASOF JOIN, BETWEEN, BY, CASE, CAST, CHECK,
COLUMN, COMMENT ON, COMMIT, CONSTRAINT, CREATE INDEX, CREATE MATERIALIZED VIEW, CREATE SNAPSHOT, CREATE TABLE,
CREATE UNIQUE INDEX, CREATE VIEW, CROSS JOIN, CUBE, CURRENT_DATE, CURRENT_TIMESTAMP, DEFAULT, DELETE FROM, DESC,
DISTINCT, DISTINCT ON, DO NOTHING, DO UPDATE SET, DROP INDEX, DROP SNAPSHOT, DROP TABLE, DROP VIEW, ELSE, END,
EXCEPT, EXISTS, EXPLAIN ANALYZE, FALSE, FILTER, FROM, FULL JOIN, GROUP BY, GROUPING SETS, HAVING, IF EXISTS,
IF NOT EXISTS, ILIKE, IN, INNER JOIN, INSERT INTO, INTERSECT, INTERVAL, IS DISTINCT FROM, IS NOT NULL, IS NULL, JOIN,
LATERAL, LEFT JOIN, LIKE, LIMIT, MATCHED, MERGE INTO, NOT, NULL, NULLS FIRST, NULLS LAST, OFFSET, ON, ON CONFLICT,
OR, ORDER BY, OVER, PARTITION BY, PRIMARY KEY, RETURNING, RIGHT JOIN, ROLLUP, ROWS BETWEEN, SELECT, SET, SHOW,
TABLESAMPLE, THEN, TO, TRUE, TRUNCATE, UNION, UNION ALL, UNIQUE, UPDATE, USING, VALUES, VIEW, WHEN, WHERE, WITH,
WITH RECURSIVE, WITHIN GROUP"""
KEYWORDS: Final = tuple(re.split(r",\s+", _KEYWORDS))

_STARTS: Final = """\
SELECT, INSERT INTO, UPDATE, DELETE FROM, WITH, COPY, EXPLAIN, EXPLAIN ANALYZE, CREATE TABLE, CREATE VIEW,
CREATE MATERIALIZED VIEW, CREATE SNAPSHOT, ALTER TABLE, DROP TABLE, DROP VIEW, DROP SNAPSHOT, TRUNCATE, BEGIN,
COMMIT, ROLLBACK, SAVEPOINT, RELEASE, SET, RESET, SHOW, SHOW TABLES, VALUES, PREPARE, EXECUTE, DEALLOCATE,
CHECKPOINT, VACUUM, MERGE INTO, CREATE INDEX, CREATE UNIQUE INDEX, ALTER INDEX, DROP INDEX, COMMENT ON, DISCARD ALL,
REFRESH MATERIALIZED VIEW, VERIFY MATERIALIZED VIEW, ALTER MATERIALIZED VIEW, DROP MATERIALIZED VIEW,
START TRANSACTION, TABLE, ANALYZE"""
STARTS: Final = tuple(re.split(r",\s+", _STARTS))

_TYPES: Final = """\
BIGINT, BOOLEAN, BYTEA, DATE, DOUBLE PRECISION, INTEGER, INTERVAL, JSON, JSONB, NUMERIC, REAL, SMALLINT, TEXT, TIME,
TIMESTAMP, TIMESTAMPTZ, UUID, VARCHAR"""
TYPES: Final = tuple(re.split(r",\s+", _TYPES))

_MORE: Final = "IF KEY PRECISION WITHIN GROUPING SETS ROLLUP CUBE WINDOW RANGE FETCH FIRST NEXT ONLY"
COLOURED: Final = frozenset(word for phrase in (*KEYWORDS, *STARTS, *TYPES, _MORE) for word in phrase.split())
