"""Chance, one stream per subsystem: what one draws never changes what another does."""

from __future__ import annotations

import random


class Chance:
    """Streams of one seed, by name. Equal seeds and names give equal streams, on every machine."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, name: str) -> random.Random:
        """A new stream from its beginning. Text seeds are hashed with SHA-512 by `random`, never with `hash`."""
        return random.Random(f"{self.seed}/{name}")
