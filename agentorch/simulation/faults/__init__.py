"""Faults on a virtual clock: what the real runtime is put on, so that a year of bad luck fits into an afternoon.

Owns the loop in which time jumps, the clock that people and NTP meddle with, the disk that tears and forgets, the
machine behind a bad network. Each keeps the contract of the part that it stands for, and without faults behaves as that
part does. Must never decide anything that the runtime decides, nor draw from chance but from the stream it was given.
"""
