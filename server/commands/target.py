"""Open what a command was pointed at: a server's URL or a database's folder.

The commands are users of the public interface: what they can do, any program can.
"""

from __future__ import annotations

from pathlib import Path

from ...base.errors import Invalid
from ...base.interface import Database


def open_target(target: str) -> Database:
    """Connect to ``weft://host:port``, or open the folder. Raises Invalid for a folder that is not there."""
    # Each name loads what it needs: a client no engine, a folder no network.
    if "://" in target:
        from ... import connect

        return connect(target)
    path = Path(target).expanduser()
    if not path.is_dir():
        raise Invalid(
            f"{target} is neither a URL nor a folder",
            hint="A server is weft://host:7401. An empty folder becomes a new database: mkdir first.",
        )
    from ... import open as open_folder

    return open_folder(str(path))
