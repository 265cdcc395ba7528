"""The runtime: one loop, one writer, one clock. It turns commands into durable events and performs what they order.

Owns the loop, the clock, recovery, the control port that tools use, and replay. Must never hold a rule of its own.
"""
