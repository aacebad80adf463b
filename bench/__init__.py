"""Benchmarks: WeftDB beside the best systems of its field, measured in one run on one machine.

``python -m weftdb.bench NAME`` runs one workload at the size that the goals are stated for, and
``python -m weftdb.bench all`` every one at a size that ends within some minutes. ``main`` is the door, ``report`` is
what comes out; ``systems`` says what a system is asked for, and ``weft``, ``duck``, ``clickhouse``, ``sqlite`` and
``postgres`` are the systems. ``data`` and ``history`` make the rows, ``loader`` is a process that loads them.

What holds for each workload:

- It has ``setup``, ``run`` and ``check``; a figure is printed only after ``check`` compared the answers behind it.
- Systems take turns, round by round and in rotating order, so that a busy moment of the machine hits all alike; the
  figure is the median over the rounds.
- Conversions into a system's own input happen outside the clock, for every system.
- A peer that is not installed is named with the reason, and skipped.
"""
