"""Equal nodes with GPUs, and the placement of the references: up to a node's GPUs on the node with the fewest free
ones that suffice, more on whole free nodes and the rest likewise. Of several such nodes, the one that changed last."""

from __future__ import annotations

#: (node, GPUs there).
Placement = list[tuple[int, int]]


class Nodes:
    """`levels[f]` has the nodes with f free GPUs, the one that changed last at the end."""

    __slots__ = ("free", "levels", "per_node")

    def __init__(self, count: int, per_node: int) -> None:
        self.per_node = per_node
        self.free = [per_node] * count
        self.levels: list[dict[int, None]] = [{} for _ in range(per_node)]
        self.levels.append(dict.fromkeys(range(count)))

    def copy(self) -> Nodes:
        twin = Nodes.__new__(Nodes)
        twin.per_node, twin.free = self.per_node, self.free.copy()
        twin.levels = [level.copy() for level in self.levels]
        return twin

    def fits(self, gpus: int) -> bool:
        """Whether so many fit now. What fits makes anything smaller fit too."""
        whole, rest = divmod(gpus, self.per_node)
        if not whole:
            return any(self.levels[rest:])
        spare = len(self.levels[-1]) - whole
        return spare >= 0 and (not rest or spare > 0 or any(self.levels[rest:-1]))

    def choose(self, gpus: int) -> Placement:
        """Where what `fits` would go."""
        whole, rest = divmod(gpus, self.per_node)
        free = reversed(self.levels[-1])
        chosen = [(next(free), self.per_node) for _ in range(whole)]
        if rest:
            level = next((level for level in self.levels[rest:-1] if level), None)
            chosen.append((next(free if level is None else reversed(level)), rest))
        return chosen

    def take(self, placement: Placement) -> None:
        for node, gpus in placement:
            self._change(node, -gpus)

    def release(self, placement: Placement) -> None:
        for node, gpus in placement:
            self._change(node, gpus)

    def _change(self, node: int, gpus: int) -> None:
        had = self.free[node]
        del self.levels[had][node]
        self.free[node] = had + gpus
        self.levels[had + gpus][node] = None
