"""SQL: from text to an answer, and the one door behind every protocol.

``session`` is the door. A statement is parsed (``parse``), bound against the catalog of its snapshot (``bind``), given
its scans (``rules``), rendered (``render``) and run by the relational executor (``relational``); DDL and row changes go
to the engine's transaction (``ddl``, ``mutate``). ``embedded`` is ``weftdb.open``.
"""
