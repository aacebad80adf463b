"""The SQL shell behind ``weft sql``: reads statements, runs them through the public interface, prints results.

statements.py cuts text into statements; output.py lays results out; shell.py runs statements and keeps the
transaction; meta.py holds the backslash commands; prompt.py is the interactive door with history and editing.
"""

from .output import Format, Layout
from .shell import Shell

__all__ = ["Format", "Layout", "Shell"]
