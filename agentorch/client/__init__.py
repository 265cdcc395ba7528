"""The typed async client of the HTTP API. Raises `ServerUnreachable` when there is no answer and `ServerRefused` when
the answer is no. The server must never need it.
"""

from agentorch.client.client import Client

__all__ = ["Client"]
