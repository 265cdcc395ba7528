"""Guardrails and brain on pools whose nodes come and go: back-off denies growth, telemetry has the remote limit."""

from __future__ import annotations

from agentorch.core import policy
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeState, PoolSpec
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.jobs import JobState, Resources
from agentorch.model.observation import DeviceSample
from agentorch.model.proposals import ProposalState, Ruling, Scale
from tests.core.guardrails.supervised import Supervised
from tests.core.world import GIB

SHAPE = Resources(cpu_milli=1000, memory_bytes=8 * GIB)


def supervised(**spec: object) -> Supervised:
    world = Supervised()
    world.tenant()
    fields = {"min_workers": 0, "max_workers": 8, "workers": 1, "shape": SHAPE, "node_type": "std"} | spec
    list_nodes(world)
    world.ask(cmd.ConfigurePool(spec=PoolSpec(name="cpu", executor="ray", **fields)))  # type: ignore[arg-type]
    return world


def list_nodes(world: Supervised, *, state: NodeState = NodeState.up) -> None:
    node = NodeInfo(id="n1", type="std", cpu_milli=1000, memory_bytes=8 * GIB, state=state, problem="quiet")
    world.ask(cmd.ReportNodes(executor="ray", nodes=(node,)))


def fail(world: Supervised) -> None:
    world.ask(cmd.ReportProvisioning(executor="ray", node_type="std", error="no quota"))


def test_growth_is_denied_while_provisioning_backs_off_and_says_until_when() -> None:
    world = supervised()
    world.ask(cmd.ScalePool(pool="cpu", workers=2, by="op"))
    fail(world)
    proposal = world.propose(Scale(pool="cpu", workers=3))
    (note,) = (note for note in proposal.verdict.notes if note.rule == "G12")
    assert note.ruling is Ruling.deny
    assert note.text == "nodes of type std failed: no quota; tried again in 10 s"
    world.tick(limits.PROVISION_BACKOFF_MS / 1000)
    assert not [note for note in world.propose(Scale(pool="cpu", workers=3)).verdict.notes if note.rule == "G12"]
    world.assert_sound()


def test_the_rule_brain_does_not_ask_for_nodes_that_can_not_be_had() -> None:
    world = supervised()
    jobs = [world.submit() for _ in range(6)]
    world.schedule()
    world.tick(120)
    assert [draft.action["workers"] for draft in policy.decide(world.observe()).drafts] == [3]
    world.ask(cmd.ScalePool(pool="cpu", workers=2, by="op"))
    fail(world)
    seen = world.observe()
    (pool,) = seen.pools
    assert (pool.nodes, pool.nodes_wanted, pool.provisioning_failures) == (1, 2, 1)
    assert pool.provisioning_retry_s == 10
    assert policy.decide(seen).drafts == ()
    assert len(jobs) == 6


def test_an_action_whose_nodes_never_came_has_failed_and_says_why() -> None:
    world = supervised()
    world.run_some(8)
    world.tick(120)
    proposal = world.propose(Scale(pool="cpu", workers=3))
    assert proposal.state is ProposalState.allowed, proposal.verdict
    world.carry_out(proposal)
    for _ in range(limits.POOL_FAILED_STARTS_PAUSE):
        fail(world)
        world.tick(0)
        world.now_ms += limits.PROVISION_BACKOFF_MS
    world.tick()
    ended = world.proposal(proposal)
    assert ended.state is ProposalState.failed
    assert "no quota" in (ended.outcome or "")


def test_observations_show_nodes_the_odd_ones_first() -> None:
    world = supervised()
    list_nodes(world, state=NodeState.suspect)
    (node,) = world.observe().nodes
    assert (node.id, node.state, node.workers, node.problem) == ("n1", "suspect", ("cpu-0",), "quiet")


def test_telemetry_of_nodes_has_the_remote_limit() -> None:
    world = supervised(workers=2, node_type="*")
    cpu = DeviceSample(id="n1:cpu", kind="cpu", node="n1", at_ms=world.now_ms, utilization_percent=1.0)
    assert world.observe(cpu).pools[0].telemetry_age_s == 0
    world.now_ms += limits.STALE_LOCAL_MS + 1000
    fresh = next(note for note in world.propose(Scale(pool="cpu", workers=1)).verdict.notes if note.rule == "G4")
    assert fresh.ruling is Ruling.allow
    world.now_ms += limits.STALE_REMOTE_MS
    stale = next(note for note in world.propose(Scale(pool="cpu", workers=1)).verdict.notes if note.rule == "G4")
    assert stale.ruling is Ruling.deny


def test_the_rule_brain_grows_and_shrinks_real_nodes_with_approvals() -> None:
    """An hour of virtual time: work for three nodes comes and goes, and so do they; each action reaches its goal."""
    world = supervised(min_workers=1, max_workers=3)
    world.ask(cmd.ConfigureGuardrails(settings=GuardrailSettings(always_ask=("scale",))))
    jobs = [world.submit(max_duration_ms=3_600_000) for _ in range(9)]
    most, asked = 1, 0
    gone: set[str] = set()
    for cycle in range(180):
        world.now_ms += 20_000
        most = max(most, _provide(world, gone))
        for job in list(world.facts.running):
            started_ms = world.job(job).attempts[-1].ordered_ms
            if world.now_ms - started_ms > 300_000:
                world.end(job)
        world.tick()
        world.schedule()
        for job in world.facts.running:
            world.running(job)
        samples = [
            DeviceSample(id=f"{node}:cpu", kind="cpu", node=node, at_ms=world.now_ms, utilization_percent=1.0)
            for node in world.facts.nodes
        ]
        seen = world.observe(*samples, world.cpu())
        report = policy.decide(seen)
        for proposal in world.ask(cmd.HandIn(cycle=seen.cycle, report=report)):
            if proposal.state is ProposalState.open:
                asked += 1
                world.answer(proposal)
                world.carry_out(proposal)
        assert world.facts.pools["cpu"].target <= 3, cycle
    assert most == 3
    assert len(world.facts.nodes) == 1
    assert {world.job(job).state for job in jobs} == {JobState.succeeded}
    assert all(world.job(job).attempts_made == 1 for job in jobs)
    ended = [one for one in world.facts.proposals.values() if one.started_ms is not None]
    assert {one.state for one in ended} == {ProposalState.done}
    assert asked == len(ended) >= 3
    world.assert_sound()


def _provide(world: Supervised, gone: set[str]) -> int:
    """Do as the newest orders say; returns how many nodes there are then."""
    there = {name for name, node in world.facts.nodes.items() if not node.released}
    (group,) = world.facts.node_groups.values()
    for number in range(1, 100):
        if len(there) < (group.wanted or 0) and f"m{number}" not in {*there, *gone}:
            there.add(f"m{number}")
    gone |= {name for name, node in world.facts.nodes.items() if node.released}
    nodes = tuple(NodeInfo(id=name, type="std", cpu_milli=1000, memory_bytes=8 * GIB) for name in sorted(there))
    world.ask(cmd.ReportNodes(executor="ray", nodes=nodes))
    return len(nodes)
