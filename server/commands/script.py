"""Read a file of SQL that a command was given."""

from __future__ import annotations

import sys
from pathlib import Path

from ...base.errors import Invalid


def read_script(name: str) -> str:
    """The text of a file; "-" is standard input. Raises Invalid."""
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise Invalid(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from None
