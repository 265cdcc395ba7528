"""Warm workers: Python processes that live on, import a module once, and call its functions for one attempt each.

Owns the workers' pools, their journals and the truth about calls. Must never start a process by itself: a worker is an
attempt of an executor of processes, which ends its tree, limits it, and knows how it ended.

A worker's journal decides what ran. The worker appends a line when a call begins and one when it has ended; whoever
wants something not to begin any more (a stop, a newer runtime, a move to another worker) appends a line that says so.
Appends are atomic, so the order of the lines is the order of the facts, and nobody takes a lock: a worker sees by the
position of its own line whether another one came in between, and then reads that before it goes on.
"""
