"""Meaning: what rows, versions and transactions are. Knows nothing of SQL text, sessions or the network.

Read in this order: ``schema`` (values), ``cells`` (where rows live), ``apply`` (from log to state), ``sequencer`` (what
commits), ``snapshot`` and ``transaction`` (reading and writing), ``database`` (the engine that holds them together).
"""
