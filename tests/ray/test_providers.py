"""Providers against a list of members that the tests keep, with real commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agentorch.errors import ExecutorError, ProvisioningError
from agentorch.executors.ray.options import RayOptions
from agentorch.executors.ray.providers import Provider, make_provider
from agentorch.executors.remote.transport import Member


class Ledger:
    """What a transport would be told."""

    def __init__(self) -> None:
        self.there: dict[str, str] = {}
        self.released: list[str] = []
        self.wanted: list[dict[str, int]] = []

    async def members(self) -> list[Member]:
        return [Member(id=node, type=kind, address=f"{node}.example") for node, kind in self.there.items()]

    async def release(self, node: str) -> None:
        self.released.append(node)

    async def request(self, wanted: dict[str, int]) -> None:
        self.wanted.append(dict(wanted))


def play(state: Path, scenario: Callable[[Provider, Ledger], Awaitable[None]], provider: str, **fields: str) -> Ledger:
    cluster = Ledger()

    async def run() -> None:
        await scenario(make_provider(RayOptions(state=state, provider=provider, **fields), cluster), cluster)

    asyncio.run(run())
    return cluster


def test_a_command_is_run_once_for_each_missing_node_and_an_ordered_one_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    add, remove = f"sh -c 'echo add {{type}} >> {log}'", f"sh -c 'echo remove {{node}} {{address}} >> {log}'"

    async def order(provider: Provider, cluster: Ledger) -> None:
        cluster.there = {"n1": "a", "x1": "b"}
        await provider.resize("a", 3, [])
        await provider.resize("a", 3, [])
        assert log.read_text() == "add a\nadd a\n"

    async def after_a_restart(provider: Provider, cluster: Ledger) -> None:
        cluster.there = {"n1": "a", "n2": "a", "x1": "b"}
        await provider.resize("a", 3, [])  # one has joined, one is under way
        assert log.read_text().count("add") == 2
        cluster.there["n3"] = "a"
        await provider.resize("a", 2, ["n2"])
        assert log.read_text().endswith("remove n2 n2.example\n")
        assert cluster.released == ["n2"]
        del cluster.there["n2"]
        await provider.resize("a", 3, [])
        assert log.read_text().count("add") == 3

    play(tmp_path, order, "command", add_command=add, remove_command=remove)
    play(tmp_path, after_a_restart, "command", add_command=add, remove_command=remove)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sh -c 'echo no quota; exit 3'", "ended with 3: no quota"),
        ("/no/such/program {type}", "can't be run"),
        ("echo {kind}", "known are {type}"),
        ("echo 'open", "can't be filled in"),
    ],
)
def test_a_command_that_fails_is_a_provisioning_error_and_nothing_was_ordered(
    tmp_path: Path, command: str, words: str
) -> None:
    async def scenario(provider: Provider, cluster: Ledger) -> None:
        for _ in range(2):
            with pytest.raises(ProvisioningError, match=words):
                await provider.resize("a", 1, [])

    play(tmp_path, scenario, "command", add_command=command, remove_command="true")


def test_the_autoscaler_is_told_of_all_types_at_once_also_after_a_restart(tmp_path: Path) -> None:
    async def first(provider: Provider, cluster: Ledger) -> None:
        await provider.resize("a", 2, [])

    async def second(provider: Provider, cluster: Ledger) -> None:
        cluster.there = {"n1": "a", "n2": "a"}
        await provider.resize("b", 1, [])
        await provider.resize("a", 1, ["n2", "gone"])
        assert cluster.wanted == [{"a": 2, "b": 1}, {"a": 1, "b": 1}]
        assert cluster.released == ["n2"]

    play(tmp_path, first, "autoscaler")
    play(tmp_path, second, "autoscaler")


def test_without_a_provider_nodes_can_go_and_not_come(tmp_path: Path) -> None:
    async def scenario(provider: Provider, cluster: Ledger) -> None:
        cluster.there = {"n1": "a", "n2": "a"}
        await provider.resize("a", 1, ["n2"])
        assert cluster.released == ["n2"]
        with pytest.raises(ProvisioningError, match="2 more nodes of type 'a' are wanted"):
            await provider.resize("a", 4, [])

    play(tmp_path, scenario, "none")


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="needs add_command and remove_command"):
        RayOptions(state=tmp_path, provider="command", add_command="true")
    with pytest.raises(ExecutorError, match="known: none, local, command, autoscaler"):
        RayOptions(state=tmp_path, provider="cloud")


def test_a_token_is_private_kept_and_asked_for_by_name(tmp_path: Path) -> None:
    options = RayOptions(state=tmp_path / "state")
    with pytest.raises(ExecutorError, match="no token of a Ray cluster there"):
        options.environment()
    path = options.make_token()
    token = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(token) == 64
    assert options.make_token().read_text() == token
    environment = options.environment()
    assert (environment["RAY_AUTH_MODE"], environment["RAY_AUTH_TOKEN_PATH"]) == ("token", str(path))
    assert RayOptions(state=tmp_path, token_file="none").environment()["RAY_AUTH_MODE"] == "disabled"
