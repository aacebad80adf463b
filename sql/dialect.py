"""PostgreSQL's grammar as WeftDB reads it: sqlglot's, without the translations.

sqlglot is made to translate between dialects, so its parser turns ``to_char``, ``now()``, ``->`` and hundreds of
other calls into nodes of its own meaning. A database has to know what was written: here every ordinary call parses as
``exp.Anonymous`` with its name, and the function table alone decides what the name means. Only syntax that is not a
plain call keeps a node of its own (CAST, EXTRACT, POSITION, SUBSTRING, TRIM, OVERLAY, CASE, CURRENT_DATE and friends).

This module and ``parse`` are where the parser's types end; the rest of ``sql`` reads the tree through ``bind``.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import TokenType

_SPECIAL_CALLS: Final = ("CAST", "EXTRACT", "OVERLAY", "POSITION", "SUBSTRING", "TRIM")
_AFTER_LIST: Final = frozenset(
    (
        TokenType.COMMA,
        TokenType.R_PAREN,
        TokenType.FROM,
        TokenType.WHERE,
        TokenType.GROUP_BY,
        TokenType.HAVING,
        TokenType.ORDER_BY,
        TokenType.LIMIT,
        TokenType.OFFSET,
        TokenType.UNION,
        TokenType.SENTINEL,
    )
)
_PAST_WORDS: Final = ("VERSION", "TIMESTAMP")
_PAST_VALUES: Final = (TokenType.NUMBER, TokenType.STRING, TokenType.PARAMETER)
_NUMBER: Final = re.compile(r"\s*([+-]?[0-9]+)(?:\.[0-9]*)?\s*")
_PREFIXES: Final = {"@": exp.Abs, "|/": exp.Sqrt, "||/": exp.Cbrt}
_INTERVAL_FIELDS: Final = ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND")


_FOREIGN_WORDS: Final = frozenset(
    [
        "ANTI",
        "BLOB",
        "BPCHAR",
        "DATETIME",
        "DIV",
        "DOUBLE",
        "FINAL",
        "GLOB",
        "HUGEINT",
        "INT1",
        "INT128",
        "INT256",
        "LONG",
        "LONGBLOB",
        "LONGTEXT",
        "MAP",
        "MEDIUMBLOB",
        "MEDIUMINT",
        "MEDIUMTEXT",
        "NCHAR",
        "NVARCHAR",
        "NVARCHAR2",
        "PIVOT",
        "POSITIONAL",
        "PREWHERE",
        "QUALIFY",
        "RLIKE",
        "SEMI",
        "STRING",
        "STRUCT",
        "TINYBLOB",
        "TINYINT",
        "TINYTEXT",
        "UBIGINT",
        "UHUGEINT",
        "UINT",
        "UINTEGER",
        "UNPIVOT",
        "USMALLINT",
        "UTINYINT",
        "VARCHAR2",
        "XOR",
        "YEAR",
        "TIMESTAMP_S",
        "TIMESTAMP_MS",
        "TIMESTAMP_NS",
        "TIMESTAMPNTZ",
        "TIMESTAMPLTZ",
        "TIMESTAMP_LTZ",
        "TIMESTAMP_NTZ",
        "DECIMAL32",
        "DECIMAL64",
        "DECIMAL128",
        "BIGDECIMAL",
        "BIGNUMERIC",
        "FIXED",
        "VARBINARY",
        "SUPER",
        "OBJECT",
        "VARIANT",
        "GEOGRAPHY",
        "GEOMETRY",
    ]
)


class WeftParser(PostgresParser):
    """sqlglot's parser with its canonical functions taken out."""

    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        name: parser for name, parser in PostgresParser.FUNCTION_PARSERS.items() if name in _SPECIAL_CALLS
    }
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        name: parser for name, parser in PostgresParser.NO_PAREN_FUNCTION_PARSERS.items() if name in ("CASE", "ANY")
    }
    LAMBDAS: ClassVar[dict[Any, Any]] = {  # f(a -> 'b') takes a part of JSON, as everywhere
        token: parser for token, parser in PostgresParser.LAMBDAS.items() if token != TokenType.ARROW
    }
    TYPE_LITERAL_PARSERS: ClassVar[dict[Any, Any]] = {}
    PROPERTY_PARSERS: ClassVar[dict[str, Any]] = {  # SET is an action of ALTER TABLE, wherever it stands in the list
        word: parser for word, parser in PostgresParser.PROPERTY_PARSERS.items() if word != "SET"
    }
    JSON_OPERATORS: ClassVar[dict[Any, Any]] = {
        TokenType.ARROW: lambda self, this, path: self.expression(exp.JSONExtract(this=this, expression=path)),
        TokenType.DARROW: lambda self, this, path: self.expression(exp.JSONExtractScalar(this=this, expression=path)),
        TokenType.HASH_ARROW: lambda self, this, path: self.expression(exp.JSONBExtract(this=this, expression=path)),
        TokenType.DHASH_ARROW: lambda self, this, path: self.expression(
            exp.JSONBExtractScalar(this=this, expression=path)
        ),
        TokenType.PLACEHOLDER: lambda self, this, key: self.expression(exp.JSONBContains(this=this, expression=key)),
    }

    def _parse_type(self, parse_interval: bool = True, fallback_to_identifier: bool = False) -> Any:
        """``DATE '2024-01-01'::text`` is the date as text; sqlglot casts the string first."""
        if self._curr.token_type in self.TYPE_TOKENS and self._curr.token_type != TokenType.INTERVAL:
            index = self._index
            type = self._parse_types(check_func=True, allow_identifiers=False)
            if isinstance(type, exp.DataType) and self._match(TokenType.STRING):
                literal = self.expression(exp.Literal.string(self._prev.text), self._prev)
                return self._parse_column_ops(self.expression(exp.Cast(this=literal, to=type)))
            self._retreat(index)
        return super()._parse_type(parse_interval=parse_interval, fallback_to_identifier=fallback_to_identifier)

    def _parse_types(
        self,
        check_func: bool = False,
        schema: bool = False,
        allow_identifiers: bool = True,
        with_collation: bool = False,
    ) -> Any:
        """``CAST(a AS int[3])`` names a type, as in a definition; its size means nothing."""
        schema = schema or with_collation
        return super()._parse_types(check_func, schema, allow_identifiers, with_collation)

    def _parse_dcolon(self) -> Any:
        """``a::int[3]``, likewise; an item is ``(a::int[])[3]``."""
        return self._parse_types(schema=True)

    def _parse_interval(self, require_interval: bool = True, parse_function_unit: bool = True) -> Any:
        """``INTERVAL '1 day'`` and ``INTERVAL '1' DAY`` as a cast of the text; the text is read by the type.

        A field after the text cuts off what is smaller: ``INTERVAL '1.5' DAY`` is one day.
        """
        del require_interval, parse_function_unit
        index = self._index
        if not self._match(TokenType.INTERVAL) or not self._match(TokenType.STRING):
            self._retreat(index)
            return None
        token = self._prev
        text = token.text
        if self._match_texts(_INTERVAL_FIELDS):
            unit = self._prev.text
            if self._match_text_seq("TO"):
                self.raise_error("INTERVAL ... TO ... is not supported")
            number = _NUMBER.fullmatch(text)
            if number is None:
                self.raise_error(f"INTERVAL of anything but a number before {unit.upper()} is not supported")
            else:
                text = f"{text if unit.upper() == 'SECOND' else number[1]} {unit}"
        literal = self.expression(exp.Literal.string(text), token)
        return self.expression(exp.Cast(this=literal, to=exp.DataType(this=exp.DType.INTERVAL)))

    def _parse_unary(self) -> Any:
        """``@ x``, ``|/ x``, ``||/ x``: as every operator of PostgreSQL's without a rank they take a sum."""
        sign = None if self._curr.token_type == TokenType.STRING else _PREFIXES.get(self._curr.text)
        if sign is None:
            return super()._parse_unary()
        self._advance()
        return self.expression(sign(this=self._parse_term()))

    def _parse_select(self, *arguments: Any, **options: Any) -> Any:
        """A query does not begin with FROM."""
        return None if self._curr.token_type == TokenType.FROM else super()._parse_select(*arguments, **options)

    def _parse_csv(self, parse_method: Any, sep: Any = TokenType.COMMA) -> list[Any]:
        """A list with something between the commas: sqlglot lets ``SELECT a,, b`` and ``SELECT a, FROM t`` pass."""
        if self._prev.token_type == TokenType.ARRAY:
            return []  # INTEGER ARRAY is a type without a list behind it
        first = parse_method()
        items = [] if first is None else [first]
        while self._match(sep):
            item = parse_method()
            if item is not None:
                items.append(item)
            elif self._curr.token_type in _AFTER_LIST:
                self.raise_error("Expected something after the comma")
        return items

    def _parse_join(self, *arguments: Any, **options: Any) -> Any:
        """Every JOIN but CROSS and NATURAL has ON or USING: sqlglot lets it out and means a cross join."""
        comma = self._curr.token_type == TokenType.COMMA
        join = super()._parse_join(*arguments, **options)
        if (
            isinstance(join, exp.Join)
            and not comma
            and not (join.args.get("on") or join.args.get("using"))
            and join.kind != "CROSS"
            and join.method != "NATURAL"
        ):
            self.raise_error("Expected ON or USING after JOIN")
        return join

    def _parse_version(self) -> Any:
        """``t AS OF VERSION 12`` and its like (sql/as_of.py), before the alias; ``t AS of`` remains an alias."""
        index = self._index
        if self._match_text_seq("AS", "OF"):
            if self._match_text_seq("SNAPSHOT"):
                return self.expression(exp.Version(this="SNAPSHOT", expression=self._past_name(), kind="AS OF"))
            if self._match_texts(_PAST_WORDS):
                word = self._prev.text.upper()
                return self.expression(exp.Version(this=word, expression=self._past_value(), kind="AS OF"))
            if self._curr.token_type in _PAST_VALUES:
                value = self._parse_unary()
                return self.expression(exp.Version(this="", expression=value, kind="AS OF"))
        elif self._match_text_seq("FOR", "VERSION", "AS", "OF"):
            return self.expression(exp.Version(this="VERSION", expression=self._past_value(), kind="AS OF"))
        elif self._match_text_seq("FOR", "SYSTEM_TIME", "AS", "OF"):
            return self.expression(exp.Version(this="TIMESTAMP", expression=self._past_value(), kind="AS OF"))
        self._retreat(index)
        return None

    def _past_name(self) -> Any:
        name = self._parse_id_var()
        if name is None:
            self.raise_error("Expected a name after AS OF SNAPSHOT")
        return name

    def _past_value(self) -> Any:
        value = self._parse_bitwise()
        if value is None:
            self.raise_error("Expected a value after AS OF")
        return value

    def _warn_unsupported(self) -> None:
        """``parse`` refuses what falls back to a command; nothing is printed."""


class WeftTokenizer(Postgres.Tokenizer):
    """PostgreSQL's keywords only, and ASOF: what sqlglot adds for other dialects are names here."""

    KEYWORDS: ClassVar[dict[str, Any]] = {
        word: kind for word, kind in Postgres.Tokenizer.KEYWORDS.items() if word not in _FOREIGN_WORDS
    }


class Weft(Postgres):
    """The dialect of WeftDB's SQL texts. Subscripts stay as they were written."""

    INDEX_OFFSET = 0
    Tokenizer = WeftTokenizer
    Parser = WeftParser


DIALECT: Final = Weft()
