"""What asks: each dialog returns what the person decided, or None when it was closed.

Must never send anything itself.
"""
