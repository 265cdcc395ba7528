"""What the supervisor may do about what health took out: G11, G13, G16."""

from __future__ import annotations

from typing import Any

from agentorch.core.guardrails.blast import unhealthy_halt
from agentorch.core.guardrails.protection import self_protection
from agentorch.core.guardrails.spending import power_and_heat
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.observation import DeviceSample
from agentorch.model.proposals import Ruling, Scale, Uncordon
from tests.core.guardrails.supervised import Supervised


def fleet(**pool: Any) -> Supervised:
    world = Supervised()
    world.tenant()
    world.pool("gpu", workers=3, max_workers=4, gpus=1, **pool)
    say(world)
    return world


def say(world: Supervised, device: int = 0, **fields: Any) -> None:
    """Every GPU is well but this one."""
    found = []
    for index in range(3):
        usual: dict[str, Any] = {
            "temperature_c": 50.0,
            "power_watts": 100.0,
            "power_limit_watts": 400.0,
            "xid_count": 0,
        }
        if index == device:
            usual |= fields
        found.append(DeviceSample(id=f"GPU-gpu-{index}", kind="gpu", at_ms=world.now_ms, **usual))
    world.ask(cmd.ReportHealth(samples=tuple(found)))


def test_g16_what_health_cordoned_is_asked_and_an_answer_brings_it_back() -> None:
    world = fleet()
    say(world, xid_count=1, xids=(79,))
    proposal = world.propose(Uncordon(worker="gpu-0"))
    assert proposal.state == "open"
    assert any(note.rule == "G16" and "Xid 79" in note.text for note in proposal.verdict.notes)
    world.answer(proposal)
    assert world.carry_out(proposal).state == "done"
    worker = world.facts.workers["gpu-0"]
    assert (worker.cordoned, worker.free_devices, world.facts.device_faults) == (False, ["GPU-gpu-0"], {})
    world.assert_sound()


def test_g17_a_yes_to_one_cordon_is_no_yes_to_another() -> None:
    world = fleet()
    world.ask(cmd.CordonWorker(worker="gpu-0", cordoned=True, by="ann", reason="fan"))
    proposal = world.propose(Uncordon(worker="gpu-0"))
    world.answer(proposal)
    world.ask(cmd.CordonWorker(worker="gpu-0", cordoned=False, by="ann"))
    say(world, xid_count=1, xids=(79,))
    assert world.carry_out(proposal).state == "open", "a person must look again"
    assert world.facts.workers["gpu-0"].cordoned


def test_g16_a_tripped_breaker_is_out_of_reach_even_for_an_approved_action() -> None:
    world = fleet()
    for count in range(1, limits.BREAKER_CORDONS):
        say(world, xid_count=count, xids=(79,))
        world.ask(cmd.CordonWorker(worker="gpu-0", cordoned=False, by="ann"))
    world.ask(cmd.CordonWorker(worker="gpu-0", cordoned=True, by="ann"))
    proposal = world.propose(Uncordon(worker="gpu-0"))
    world.answer(proposal)
    world.ask(cmd.CordonWorker(worker="gpu-0", cordoned=False, by="ann"))
    say(world, xid_count=9, xids=(79,) * 9)
    assert world.facts.workers["gpu-0"].broken
    assert world.carry_out(proposal).state != "done"
    assert world.said(self_protection, Uncordon(worker="gpu-0")) is Ruling.deny
    again = world.propose(Uncordon(worker="gpu-0"))
    assert again.state == "denied"
    assert "repair" in again.verdict.notes[-1].text
    world.ask(cmd.RepairWorker(worker="gpu-0", by="ann"))
    assert not world.facts.workers["gpu-0"].cordoned


def test_g11_what_is_out_for_health_counts_as_unhealthy() -> None:
    world = fleet()
    grow = Scale(pool="gpu", workers=4)
    say(world, temperature_c=95.0)
    assert world.said(unhealthy_halt, grow) is None
    say(world, 1, temperature_c=95.0)
    say(world, 2, temperature_c=95.0)
    assert world.said(unhealthy_halt, grow) is Ruling.deny, "all of it: the fault may be our own"


def test_g13_heat_is_known_between_observations() -> None:
    world = fleet()
    world.observe()
    assert world.said(power_and_heat, Scale(pool="gpu", workers=4)) is None
    say(world, temperature_c=95.0)
    assert world.said(power_and_heat, Scale(pool="gpu", workers=4)) is Ruling.deny
    assert world.said(power_and_heat, Scale(pool="gpu", workers=2)) is None


def test_an_observation_says_what_is_wrong_with_a_worker() -> None:
    world = fleet()
    say(world, temperature_c=95.0)
    seen = {worker.id: worker for worker in world.observe().workers}
    assert (seen["gpu-0"].health, seen["gpu-0"].devices_out) == ("suspect", 1)
    assert "95 C" in seen["gpu-0"].health_reason
    assert (seen["gpu-1"].health, seen["gpu-1"].health_reason) == ("ok", "")
