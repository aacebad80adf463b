"""Bytes that survive: the data folder, the log record, the commit log, the manifest, the segments.

``files`` is the only door to the disk, beside LMDB's own; ``folder`` is the data folder. ``record`` turns one group
commit into bytes and back; ``envelope`` chains records, so that a hole, a repeat or a fork is noticed; ``log`` is the
commit log's contract, and ``lmdb_log`` (on ``lmdb_store``) and ``memory_log`` keep it. ``manifest`` says which segments
there are and holds the state of the last checkpoint. ``storage`` opens all of them as one. docs/storage.md has the
formats byte by byte.
"""
