"""SQL: from text to an answer, and the one door behind every protocol.

``session`` is the door. A query takes five steps: it is parsed (``parse``), bound against the catalog of its snapshot
(``bind``), made better by rules (``rules``), given a plan by physical choice (``plan``), and run (``run``): straight by
the engine (``direct``), or by the relational executor (``relational``, ``render``, ``duck``). DDL and row changes go to
the engine's transaction (``ddl``, ``mutate``). ``embedded`` is ``weftdb.open``.
"""
