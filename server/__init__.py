"""Doors to the engine for other processes, and the command line.

``service`` runs the gRPC server; ``gate`` is what every call passes; ``kv``, ``sql``, ``transactions`` and ``writers``
are thin encoders over ``sql.session``; ``sessions`` holds those that span calls; ``convert`` is the only place where
messages become values of the domain. ``main``, ``commands`` and ``shell`` are the command line, a user of the public
interface.
"""
