"""The law of leases: whatever the network does, an agent's deadline is never later than the runtime believes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentorch.executors.lease import LEASE
from agentorch.executors.remote import wire
from agentorch.executors.remote.agent import NodeAgent
from agentorch.executors.remote.tenure import Tenure, remember_lease
from agentorch.executors.remote.wire import AgentRefused, Why
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase
from tests.executors.rigs import shell

Reply = TypeVar("Reply", bound=msgspec.Struct)
LEASE_S = 10.0
SECOND_NS = 1_000_000_000


class Script(msgspec.Struct):
    """One renewal: how long after the last one it is sent, how long it and its answer are under way, in seconds."""

    after_s: float
    there_s: float
    back_s: float
    arrives: bool
    answered: bool


durations = st.floats(min_value=0.001, max_value=60.0, allow_nan=False)
renewals = st.lists(st.builds(Script, durations, durations, durations, st.booleans(), st.booleans()), max_size=25)


@given(renewals, st.floats(min_value=-500.0, max_value=500.0, allow_nan=False))
def test_no_delay_loss_or_overtaking_lets_work_run_longer_than_is_believed(script: list[Script], skew_s: float) -> None:
    """Both sides as they are, on one axis of true time; the agent's clock is off by `skew_s`."""
    tenure = Tenure(0.0)
    tenure.begin(int(skew_s * SECOND_NS), 0, 0.5)
    deadline_s = 0.0  # of the agent, in true time
    arrivals: list[tuple[float, int, float]] = []  # (when, echo, when its answer comes back, or never)
    answers: list[tuple[float, int]] = []
    now_s = 0.5
    for step in script:
        now_s += step.after_s
        for at_s, clock_ns in sorted(answer for answer in answers if answer[0] <= now_s):
            tenure.heard(clock_ns, at_s)
        answers = [answer for answer in answers if answer[0] > now_s]
        echo_ns = tenure.promise(LEASE_S)
        if step.arrives:
            there_s = now_s + step.there_s
            arrivals.append((there_s, echo_ns, step.back_s if step.answered else -1.0))
        for there_s, echo, back_s in arrivals:
            deadline_s = max(deadline_s, echo / SECOND_NS - skew_s + LEASE_S)
            if back_s >= 0:
                answers.append((there_s + back_s, int((there_s + skew_s) * SECOND_NS)))
        arrivals = []
        assert deadline_s <= tenure.safe_s + 1e-6
    assert not tenure.is_over(deadline_s, 0.0)


def test_what_is_safe_is_noted_before_a_renewal_is_sent_and_grows_only_with_answers() -> None:
    tenure = Tenure(300.0)
    tenure.begin(7 * SECOND_NS, 10 * SECOND_NS, 100.0)
    assert tenure.safe_s == 103.0  # what an earlier runtime gave is known now
    assert tenure.promise(10.0) == 7 * SECOND_NS
    assert tenure.safe_s == 110.0
    tenure.promise(10.0)
    assert tenure.safe_s == 110.0
    tenure.heard(9 * SECOND_NS, 104.0)
    tenure.heard(8 * SECOND_NS, 105.0)  # an older answer that was overtaken
    assert tenure.promise(10.0) == 9 * SECOND_NS
    assert tenure.safe_s == 114.0
    assert not tenure.is_over(116.0, 2.0)
    assert tenure.is_over(116.1, 2.0)
    tenure.begin(1 * SECOND_NS, 0, 105.0)  # a new agent may not know what the last one was told
    assert tenure.safe_s == 114.0


def test_a_lease_of_an_earlier_runtime_is_never_forgotten_and_unknown_ones_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "lease_s"
    assert remember_lease(path, 20.0) == limits.LEASE_MAX_MS / 1_000
    assert remember_lease(path, 5.0) == 20.0
    assert remember_lease(path, 5.0) == 20.0
    assert remember_lease(path, 30.0) == 20.0
    assert remember_lease(path, 5.0) == 30.0


class Asked:
    """An agent in this process, on a clock that the test turns."""

    def __init__(self, root: Path) -> None:
        self.now_ns = 1_000 * SECOND_NS
        self.agent = NodeAgent(root, "n-1", clock_ns=lambda: self.now_ns)
        self.incarnation = ""

    async def ask(self, kind: type[Reply], method: str, question: msgspec.Struct) -> Reply:
        return wire.opened(kind, await self.agent.handle(method, wire.encode(question)))

    async def open(self, epoch: int, control: str = "c") -> wire.Opened:
        opened = await self.ask(wire.Opened, "open", wire.Open(epoch=epoch, control=control))
        self.incarnation = opened.incarnation
        return opened

    async def renew(self, epoch: int, echo_ns: int, seconds: float = LEASE_S) -> wire.Renewed:
        ask = wire.Renew(epoch=epoch, incarnation=self.incarnation, echo_ns=echo_ns, seconds=seconds)
        return await self.ask(wire.Renewed, "renew", ask)

    async def launch(self, epoch: int, name: str, echo_ns: int) -> wire.Statuses:
        ask = wire.Launch(epoch=epoch, incarnation=self.incarnation, echo_ns=echo_ns, attempts=[shell(name, "exit 0")])
        return await self.ask(wire.Statuses, "launch", ask)


def test_a_renewal_that_was_under_way_for_long_extends_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        node = Asked(tmp_path)
        opened = await node.open(1)
        first = await node.renew(1, opened.clock_ns)
        assert first.deadline_ns == opened.clock_ns + 10 * SECOND_NS
        node.now_ns += 4 * SECOND_NS
        second = await node.renew(1, first.clock_ns + 2 * SECOND_NS)
        assert second.deadline_ns == first.clock_ns + 12 * SECOND_NS
        node.now_ns += 100 * SECOND_NS
        for late in (opened.clock_ns, first.clock_ns, first.clock_ns + 2 * SECOND_NS):
            assert (await node.renew(1, late)).deadline_ns == second.deadline_ns
        with pytest.raises(AgentRefused, match="is over") as refused:
            await node.launch(1, "a", node.now_ns)
        assert refused.value.why is Why.no_lease
        assert not (tmp_path / "attempts" / "a.1").exists()
        await node.agent.close()

    asyncio.run(run())


def test_a_clock_value_that_the_agent_never_gave_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        node = Asked(tmp_path)
        await node.open(1)
        for echo_ns, seconds in ((node.now_ns + 1, LEASE_S), (node.now_ns, 0.0), (node.now_ns, 3_600.0)):
            with pytest.raises(AgentRefused):
                await node.renew(1, echo_ns, seconds)
        assert not (tmp_path / "attempts" / LEASE).exists()
        await node.agent.close()

    asyncio.run(run())


def test_a_launch_that_was_under_way_for_too_long_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        node = Asked(tmp_path)
        opened = await node.open(1)
        node.now_ns += 61 * SECOND_NS
        await node.renew(1, node.now_ns)
        with pytest.raises(AgentRefused) as refused:
            await node.launch(1, "a", opened.clock_ns)
        assert refused.value.why is Why.late
        await node.agent.close()

    asyncio.run(run())


def test_every_question_of_an_older_epoch_or_another_incarnation_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        node = Asked(tmp_path)
        await node.open(5)
        again = node.incarnation
        assert (await node.open(5)).incarnation == again  # the same runtime, asking twice
        assert (await node.open(6)).incarnation != again
        questions = {
            "renew": {"echo_ns": node.now_ns, "seconds": 1.0},
            "launch": {"echo_ns": node.now_ns, "attempts": [shell("a", "exit 0")]},
            "stop": {"orders": [wire.StopOrder(attempt="a.1", reason="cancelled", grace_ms=0)]},
            "inspect": {"attempts": ["a.1"]},
            "events": {"cursor": 0, "wait_s": 0.0},
            "logs": {"attempt": "a.1", "stream": "stdout", "offset": 0, "limit": 1},
            "list": {},
        }
        assert set(questions) == set(wire.METHODS) - {"open"}
        for method, fields in questions.items():
            asked, answered = wire.METHODS[method]
            for epoch, incarnation, why in (
                (5, again, Why.epoch_over),
                (6, again, Why.not_open),
                (7, node.incarnation, Why.not_open),
            ):
                with pytest.raises(AgentRefused) as refused:
                    await node.ask(answered, method, asked(epoch=epoch, incarnation=incarnation, **fields))
                assert refused.value.why is why
        with pytest.raises(AgentRefused, match="epoch 5 is over") as refused:
            await node.open(5)
        assert refused.value.why is Why.epoch_over
        assert not (tmp_path / "attempts" / "a.1").exists()
        await node.agent.close()

    asyncio.run(run())


def test_an_agent_that_is_asked_nonsense_answers(tmp_path: Path) -> None:
    async def run() -> None:
        node = Asked(tmp_path)
        for method, body in (("fly", b""), ("open", b"\xc1"), ("renew", b"")):
            with pytest.raises(AgentRefused, match="version"):
                wire.opened(wire.Opened, await node.agent.handle(method, body))
        await node.agent.close()

    asyncio.run(run())


def test_a_lease_outlives_its_agent_and_an_epoch_its_process(tmp_path: Path) -> None:
    async def run() -> None:
        first = NodeAgent(tmp_path, "n-1")
        opened = wire.opened(wire.Opened, await first.handle("open", wire.encode(wire.Open(epoch=3, control="c"))))
        renew = wire.Renew(epoch=3, incarnation=opened.incarnation, echo_ns=opened.clock_ns, seconds=LEASE_S)
        before = wire.opened(wire.Renewed, await first.handle("renew", wire.encode(renew)))
        await first.close()
        second = NodeAgent(tmp_path, "n-1")
        with pytest.raises(AgentRefused, match="epoch 2 is over"):
            wire.opened(wire.Opened, await second.handle("open", wire.encode(wire.Open(epoch=2, control="d"))))
        opened = wire.opened(wire.Opened, await second.handle("open", wire.encode(wire.Open(epoch=3, control="c"))))
        launch = wire.Launch(
            epoch=3, incarnation=opened.incarnation, echo_ns=opened.clock_ns, attempts=[shell("a", "exit 0")]
        )
        (status,) = wire.opened(wire.Statuses, await second.handle("launch", wire.encode(launch))).statuses
        assert status.phase is AttemptPhase.running  # under the lease that the first one was given
        short = wire.Renew(epoch=3, incarnation=opened.incarnation, echo_ns=opened.clock_ns, seconds=0.001)
        after = wire.opened(wire.Renewed, await second.handle("renew", wire.encode(short)))
        assert abs(after.deadline_ns - before.deadline_ns) < SECOND_NS // 100
        await second.close()

    asyncio.run(run())
