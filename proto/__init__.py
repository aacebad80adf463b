"""The wire contract: ``weftdb/v1/*.proto``, the stubs generated from it, and how values, batches and errors fill it.

``generate.py`` makes the stubs. ``values``, ``frames`` and ``failures`` are what server and client share; they know the
messages and ``base``, but neither gRPC nor the engine.
"""
