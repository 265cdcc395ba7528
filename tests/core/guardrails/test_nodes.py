"""Guardrails and brain on pools whose nodes come and go: back-off denies growth, telemetry has the remote limit."""

from __future__ import annotations

from agentorch.core import policy
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeState, PoolSpec
from agentorch.model.jobs import Resources
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
