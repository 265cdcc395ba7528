"""The rules. `decide` (command -> events or refusal), `evolve` (event -> state), schedule, fit, guardrails, policy,
explain, invariants: one deterministic core, driven by the runtime, by replay, by the simulator and by the twin.

Time and ids are arguments. Must never read a clock, roll dice, do I/O or await. Every field that `decide` reads is
written only by `evolve`; indexes are rebuildable and carry no information.
"""
