"""Measurements: one file per question, each beside a peer or a physical limit that is measured in the same run.

Owns the questions, the load, the peers' own environment and the tables of `benchmarks/README.md`. Must never be
imported by anything that ships, reach past loopback, assert a time, or leave anything behind.
"""
