"""``weft warm``: compile the kernels ahead of their first use, as the last step of an installation.

They are cached beside the source, or in the user's cache where the package cannot be written to.
"""

from __future__ import annotations

import argparse

from ...engine.kernels.warm import warm_up


def run(arguments: argparse.Namespace) -> int:
    warm_up()
    return 0
