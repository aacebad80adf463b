"""Arguments of the public interface, looked at before anything is done with them.

Python lets a caller give anything; embedded and remote database refuse the same with the same words, and the mistakes
that would do something else go by no name: parameters as one text, which is a list of characters, or columns as one.

Everything raises Invalid (22023 unless told). Values of rows and keys are not looked at here: see base/rows.py and
base/values.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from .errors import Invalid


def check_statement(sql: object, parameters: object, timeout: object) -> None:
    """The arguments of ``execute``."""
    check_text(sql, "the statement")
    _check_utf8(cast(str, sql))
    if not isinstance(parameters, list | tuple) and not _is_sequence(parameters):
        raise Invalid(
            f"parameters are a list of values, not {_shown(parameters)}",
            hint="$1 is the first of them: execute('SELECT $1', [value]).",
            sqlstate="22023",
        )
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise Invalid(f"timeout is a number of seconds, not {_shown(timeout)}", sqlstate="22023")


def check_scan(columns: object, where: object, time: object) -> None:
    """The arguments of ``scan`` that have a form of their own."""
    if columns is not None and not (
        _is_sequence(columns) and all(isinstance(name, str) for name in cast(Sequence[object], columns))
    ):
        hint = "Write columns=['a', 'b'], or leave it out for all."
        raise Invalid(f"columns is a list of names, not {_shown(columns)}", hint=hint, sqlstate="22023")
    if where is not None:
        check_text(where, "where")
    if time is not None and not (isinstance(time, list | tuple) and len(cast(list[object], time)) == 2):
        hint = "None stands for no bound: (lower, None)."
        raise Invalid(f"time is a pair (lower, upper), not {_shown(time)}", hint=hint, sqlstate="22023")


def check_text(given: object, what: str) -> None:
    """A text."""
    if not isinstance(given, str):
        raise Invalid(f"{what} is a text, not {_shown(given)}", sqlstate="22023")


def _check_utf8(sql: str) -> None:
    """Raise Invalid (22021) for what no text on the wire or in a file can be."""
    if not sql.isascii():
        try:
            sql.encode()
        except UnicodeEncodeError as error:
            message = f"the statement is not valid UTF-8: a lone surrogate at character {error.start + 1}"
            raise Invalid(message, hint="Is the text in another encoding?", sqlstate="22021") from None


def settings_of(given: object) -> dict[str, str]:
    """Settings as text: numbers as they are, True and False as on and off.

    Whether there are such settings and values is the session's to say.
    """
    if not isinstance(given, Mapping):
        hint = "Give a dict, for example {'timezone': 'Europe/Berlin'}."
        raise Invalid(f"settings are names and values, not {_shown(given)}", hint=hint, sqlstate="22023")
    texts: dict[str, str] = {}
    for name, value in cast(Mapping[object, object], given).items():
        if not isinstance(name, str) or not isinstance(value, str | int | float):
            what = f"the setting {name!r} is {_shown(value)}"
            raise Invalid(what, hint="Names are text; values are text, numbers or booleans.", sqlstate="22023")
        texts[name] = str(value) if not isinstance(value, bool) else "on" if value else "off"
    return texts


def _is_sequence(given: object) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str | bytes | bytearray | memoryview)


def _shown(given: object) -> str:
    text = repr(given)
    return f"{text if len(text) <= 100 else text[:100] + '…'} ({type(given).__name__})"
