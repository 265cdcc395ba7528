"""The supervisor's two LangGraph graphs, their driver, and start-up reconciliation.

Owns the cycle (observe, decide, guard, dispatch), one approval thread per open proposal (approve, act), the choice
between a brain and its fallback, and the loop around them. Must never hold state that must survive: the ledger
decides, and every thread can be rebuilt from it. Acts through `agentorch.tools` alone.

Importing this package is free; its modules import langgraph, which takes half a second: import them where they run.
"""
