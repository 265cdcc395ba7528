"""Time, tokens, money and rounds: what a brain may use, and that it ends there."""

from __future__ import annotations

import asyncio

from agentorch.config.brains import LlmSettings
from agentorch.graphs.llm.brain import llm_brain
from agentorch.graphs.llm.budget import CHARS_PER_TOKEN, HOUR_S, Purse, estimate
from agentorch.graphs.llm.talk import ANSWER_MAX_CHARS
from agentorch.model.observation import JobFacts, Observation
from agentorch.model.proposals import BrainReport, Mode
from agentorch.tools.reports import checked_report
from tests.graphs.port import MemoryPort
from tests.llm.asking import context, decided, settings
from tests.llm.server import HOLDS, answering, call, proposals, says

READS = says(call("read_observation", {"section": "pools"}))
DOLLAR = 1_000_000


def run(*answers: object, **fields: object) -> tuple[BrainReport, int]:
    report, server = asyncio.run(decided(*answers, **fields))  # type: ignore[arg-type]
    return report, len(server.heard)


def test_rounds() -> None:
    report, asked = run(READS, max_rounds=3)
    assert (asked, report.error) == (3, "neither a proposal nor a reason to hold in 3 rounds")
    report, asked = run(READS, says(*proposals(3)), max_rounds=2)
    assert (asked, report.error, len(report.drafts)) == (2, "", 1), "what was proposed within the rounds stands"


def test_a_talk_is_bounded_whatever_tokens_are_allowed() -> None:
    jobs = tuple(
        JobFacts(id=f"job-{n}", name="x" * 200, tenant="t", tier="standard", state="queued", priority=0)
        for n in range(50)
    )
    seen = Observation(cycle=1, seq=1, at_ms=0, mode=Mode.guarded, queued=jobs)
    wanted = [call("read_observation", {"section": "queued"}, f"call-{n}") for n in range(32)]
    report, server = asyncio.run(
        decided(says(*wanted), observation=seen, max_tokens_per_cycle=10_000_000, max_rounds=16)
    )
    assert "the talk has grown to" in report.error
    assert len(server.heard) < 16
    assert checked_report(report, report.brain).exchanges == report.exchanges


def test_a_hold_ends_the_cycle_and_so_do_words_after_a_tool() -> None:
    report, asked = run(HOLDS)
    assert (asked, report.hold, report.error) == (1, "nothing is wrong", "")
    report, asked = run(READS, says(content="all is well"))
    assert (asked, report.hold, report.error) == (2, "all is well", "")


def test_tokens_of_a_cycle() -> None:
    greedy = says(call("read_observation", {"section": "pools"}), usage=(9_000, 500))
    report, asked = run(greedy, max_tokens_per_cycle=20_000)
    assert (asked, report.drafts) == (2, ())
    assert "out of budget: 19,000 tokens used in this cycle" in report.error


def test_a_reply_gets_no_more_tokens_than_are_left() -> None:
    report, server = asyncio.run(decided(HOLDS, max_tokens_per_cycle=4_000, max_tokens_per_reply=2_500))
    assert report.error == ""
    sent = len(server.heard[0][0]["content-length"]) and int(server.heard[0][0]["content-length"])
    most = server.heard[0][1]["max_tokens"]
    assert 64 <= most < 4_000 - sent // (CHARS_PER_TOKEN + 1)
    report, server = asyncio.run(decided(HOLDS, max_tokens_per_reply=500))
    assert server.heard[0][1]["max_tokens"] == 500


def test_what_a_server_does_not_count_is_reckoned_as_dear_as_it_may_be() -> None:
    silent = says(call("read_observation", {"section": "pools"}), usage=None)
    report, asked = run(silent, max_tokens_per_cycle=12_000, max_tokens_per_reply=2_000)
    assert (asked, report.drafts) == (2, ())
    assert "out of budget" in report.error
    lying = says(call("read_observation", {"section": "pools"}), usage=(0, 0))
    assert run(lying, max_tokens_per_cycle=12_000, max_tokens_per_reply=2_000)[1] == 2


def test_money_of_an_hour() -> None:
    async def scenario() -> None:
        port, now_s = MemoryPort(), [0.0]
        async with answering(HOLDS) as server:
            paid = settings(
                server,
                max_tokens_per_reply=100,
                price_in_usd_micros=10 * DOLLAR,
                price_out_usd_micros=20 * DOLLAR,
                max_usd_micros_per_hour=DOLLAR // 20,
            )
            brain = llm_brain(paid, clock=lambda: now_s[0])
            reports = [await brain.decide(await port.observe(), context(port)) for _ in range(40)]
            held = [report for report in reports if not report.error]
            assert 0 < len(held) < 40
            assert len(server.heard) == len(held), "what can't be paid is not asked"
            assert "max_usd_per_hour is $0.0500" in reports[-1].error
            now_s[0] = HOUR_S
            assert (await brain.decide(await port.observe(), context(port))).error == ""

    asyncio.run(scenario())


def test_an_unknown_price_is_unknown_and_not_zero() -> None:
    purse = Purse(LlmSettings(model="m"))
    assert purse.price(1_000, 1_000) is None
    known = Purse(LlmSettings(model="m", price_in_usd_micros=DOLLAR, price_out_usd_micros=3 * DOLLAR))
    assert (known.price(1_000_000, 1_000_000), known.price(1, 0)) == (4 * DOLLAR, 1)


def test_the_prompt_stays_short_whatever_there_is() -> None:
    jobs = tuple(
        JobFacts(
            id=f"job-{n}", name="x" * 200, reason="y" * 200, tenant="t", tier="standard", state="queued", priority=0
        )
        for n in range(50)
    )
    seen = Observation(cycle=1, seq=1, at_ms=0, mode=Mode.guarded, queued=jobs, running=jobs, queued_total=10**6)
    report, server = asyncio.run(
        decided(says(call("read_observation", {"section": "queued"})), HOLDS, observation=seen)
    )
    assert report.error == ""
    assert len(server.heard[0][1]["messages"][1]["content"]) < 15_000
    assert '"queued_total":1000000' in server.heard[0][1]["messages"][1]["content"]
    answer = server.heard[1][1]["messages"][-1]["content"]
    assert len(answer) <= ANSWER_MAX_CHARS
    assert "ask for fewer rows" in answer
    assert estimate(0) > 0
