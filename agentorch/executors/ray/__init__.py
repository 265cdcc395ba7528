"""Ray as membership, calls and scaling; never as the owner of work.

Only three programs import ray, each in a process of its own: `bridge` (speaks to a cluster for the runtime), `actor`
(the agent on each node) and `host` (a node's own `ray start`). The runtime's process must never import it: when the
cluster's head is away for a minute, Ray ends the process that holds a connection to it.
"""
