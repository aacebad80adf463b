"""``weft bench``: hands its arguments to the benchmarks.

They stand above the server in the order of imports, so they are found by name when they are asked for.
"""

from __future__ import annotations

import argparse
import importlib


def run(arguments: argparse.Namespace) -> int:
    return importlib.import_module("weftdb.bench.main").main(arguments.arguments)
