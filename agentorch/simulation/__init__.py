"""The simulator: recorded cluster traces, and the virtual clock that drives the core with them.

Owns traces, the reference policies that the core is compared with, and the driver of virtual time. Must never hold a
second version of the core's rules: the policy `default` is the core itself. Must never sleep, nor read the wall clock
to decide anything.
"""
