"""The SQL shell behind ``weft sql``: reads statements, runs them through the public interface, prints results.

statements.py cuts text into statements; output.py lays results out, chart.py draws them; shell.py runs statements and
keeps the transaction; copying.py does COPY with the client's input and files; meta.py holds the backslash commands;
prompt.py is the interactive door with history and editing, completion.py, colours.py and words.py what it offers.
"""

from .output import Format, Layout
from .shell import Shell

__all__ = ["Format", "Layout", "Shell"]
