"""The same executor on many machines: an agent on each node, and one executor here that speaks to all of them.

Owns leases, the epoch's fence, what is known of nodes, and the truth about attempts on nodes that do not answer. Knows
no engine: membership and calls come from a `Transport`.
"""
