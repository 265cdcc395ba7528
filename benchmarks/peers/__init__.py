"""Peers: other systems doing the same trivial work, each a script that runs in an environment of its own.

Owns `.venv-bench`, which is made on demand and ignored by git, and the scripts. Must never install anything into the
project's own environment. A script prints one JSON object; a peer that can't be installed is a row that says so.
"""
