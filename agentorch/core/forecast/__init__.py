"""Forecasts from the own ledger: how long work runs, how much of it comes, when what waits will start.

Owns what is remembered for that (in the facts, written by evolve alone) and how it is read. Must never change who
starts where, and never say more than is known: without history the answer is None, and says why.
"""
