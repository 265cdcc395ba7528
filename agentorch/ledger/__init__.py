"""The ledger: the append-only, hash-chained record of events. What is not in it did not happen.

Owns storage, encoding, the chain, snapshots and their verification. Must never know what a job is worth, or fold one.
"""
