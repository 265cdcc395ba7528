"""The same executor on many machines: an agent on each node, and one executor here that speaks to all of them.

Owns leases, the epoch's fence, what is known of nodes, and the truth about attempts on nodes that do not answer. Knows
no engine: membership and calls come from a `Transport`.

On the node: `agent` (the local executor under a lease), `node` (its process), `agent_main` (as a command). Here:
`executor` (the contract), `link` (one node), `courier` (orders to it), `tenure` (its lease), `archive` (logs that
outlive it). Between them: `wire` (questions and answers), `transport` (the seam), `frames`, `line` and `pipe` (a
transport of this machine).
"""
