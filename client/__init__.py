"""The remote client: the same interface as an embedded database, over gRPC.

``connection`` is the database, ``reads`` what databases, transactions and snapshots share, ``table`` the rows of one
table, ``writer`` and ``pipe`` the pipelined writer, ``wire`` calls and retries, ``failures`` statuses as errors.
"""
