"""The feed: it keeps the snapshot new, tries again for ever, and says honestly how the connection stands."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from agentorch.errors import ServerRefused
from agentorch.tui.feed import BACKOFF_CAP_S, Feed
from agentorch.tui.recorded import RecordedApi
from tests.tui.driving import recording

NOW = 1_000.0
Until = Callable[[Callable[[], bool]], Awaitable[None]]
Scenario = Callable[[Feed, RecordedApi, Until], Awaitable[None]]


def make_feed(api: RecordedApi, clock: Callable[[], float] = lambda: NOW) -> Feed:
    return Feed(lambda: api, clock=clock, chance=random.Random(1))


def running(
    scenario: Callable[[Feed, RecordedApi, Callable[[Callable[[], bool]], Awaitable[None]]], Awaitable[None]],
) -> None:
    """Run a feed on the recorded server; `until(condition)` waits for the feed's own news, not for time."""

    async def run() -> None:
        api = RecordedApi(recording())
        feed = make_feed(api)
        news = asyncio.Event()
        feed.changed = news.set

        async def until(condition: Callable[[], bool]) -> None:
            while not condition():
                await news.wait()
                news.clear()

        task = asyncio.create_task(feed.run())
        try:
            async with asyncio.timeout(30):
                await scenario(feed, api, until)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_it_starts_with_a_snapshot_and_refetches_when_an_event_comes() -> None:
    async def scenario(feed: Feed, api: RecordedApi, until: Until) -> None:
        await until(lambda: feed.link.state == "live")
        api.now_snapshot = api.now_snapshot.model_copy(update={"seq": 20_000, "queued": 7})
        api.feed_events.put_nowait({"seq": 20_000, "event": "job-submitted"})
        await until(lambda: feed.snapshot is not None and feed.snapshot.queued == 7)
        assert feed.newest_seq == 20_000

    running(scenario)


def test_a_lost_server_is_said_and_found_again() -> None:
    async def scenario(feed: Feed, api: RecordedApi, until: Until) -> None:
        await until(lambda: feed.link.state == "live")
        assert feed.why_not("approve") == ""
        api.gone = "nothing listens there"
        api.feed_events.put_nowait(None)
        await until(lambda: feed.link.state == "lost")
        assert feed.snapshot is not None, "what was last known stays on the screen"
        assert feed.link.why == "nothing listens there"
        assert "lost" in feed.why_not("approve")
        api.gone = ""
        feed.retry_now()
        await until(lambda: feed.link.state == "live")
        assert feed.why_not("approve") == ""
        assert feed.link.tries == 0

    running(scenario)


def test_an_answer_that_can_not_be_read_is_no_reason_to_leave() -> None:
    async def scenario(feed: Feed, api: RecordedApi, until: Until) -> None:
        await until(lambda: feed.link.state == "live")
        api.feed_events.put_nowait({"seq": "not a number"})
        await until(lambda: feed.link.state == "lost")
        assert "can't be read" in feed.link.why

    running(scenario)


def test_a_server_that_was_never_there_is_connecting_not_lost() -> None:
    async def run() -> None:
        api = RecordedApi(recording())
        api.gone = "connection refused"
        feed = make_feed(api)
        lost = asyncio.Event()
        feed.changed = lost.set
        task = asyncio.create_task(feed.run())
        await asyncio.wait_for(lost.wait(), 30)
        assert (feed.link.state, feed.link.tries) == ("connecting", 1)
        assert feed.why_not("approve") == "there is no connection yet"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_the_pause_between_tries_grows_to_its_cap_and_is_never_the_same() -> None:
    feed = make_feed(RecordedApi(recording()))
    delays = []
    for _ in range(40):
        feed._lost("gone")
        assert feed.link.retry_at is not None
        delays.append(feed.link.retry_at - NOW)
    assert delays[0] < 1.0
    assert BACKOFF_CAP_S * 0.8 <= delays[-1] <= BACKOFF_CAP_S * 1.2
    assert len({round(delay, 6) for delay in delays}) == len(delays), "all clients would come back at once"


def test_a_look_back_shows_another_state_and_the_way_home() -> None:
    made = recording()
    made["snapshot"]["read_only"] = True
    made["at"] = {"100": dict(made["snapshot"], seq=100, queued=1, at=5.0)}

    async def run() -> None:
        feed = make_feed(RecordedApi(made))
        await feed.refresh()
        await feed.look_at(100)
        assert feed.snapshot is not None
        assert (feed.snapshot.seq, feed.snapshot.queued) == (100, 1)
        assert "recording" in feed.why_not("submit")
        with pytest.raises(ServerRefused):
            await feed.look_at(3)
        assert feed.at == 100, "a look that failed changes nothing"
        await feed.look_at(None)
        assert feed.snapshot.seq == made["snapshot"]["seq"]

    asyncio.run(run())


def test_the_time_shown_is_the_servers() -> None:
    clock = [500.0]

    async def run() -> None:
        feed = make_feed(RecordedApi(recording()), lambda: clock[0])
        await feed.refresh()
        assert feed.snapshot is not None
        assert feed.now() == feed.snapshot.server_time
        clock[0] += 10
        assert feed.now() == feed.snapshot.server_time + 10

    asyncio.run(run())


def test_roles_are_named_when_they_lack() -> None:
    made = recording()
    made["snapshot"]["key_roles"] = ["submit"]

    async def run() -> None:
        feed = make_feed(RecordedApi(made))
        await feed.refresh()
        assert feed.why_not("") == ""
        assert feed.why_not("submit") == ""
        assert feed.why_not("approve") == "this key lacks the role 'approve'"

    asyncio.run(run())
