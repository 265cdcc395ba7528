"""Executors start, watch, stop and re-find attempts. Nine methods, one conformance suite.

Owns processes, attempt directories and logs. Must never decide where anything runs, know a tenant or a price, or
forget a verdict that it has told nobody yet.
"""
