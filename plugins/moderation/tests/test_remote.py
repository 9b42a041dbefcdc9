"""A moderation service, on a real socket."""

from __future__ import annotations

import asyncio
import logging

import pytest

from palaver_moderation.config import RemoteSettings
from palaver_moderation.remote import Remote

LAST_WORDS = "The night is over."
DOWN = "http://127.0.0.1:9/v1"  # nobody listens on discard


def remote(url: str, more: str = "", *, timeout_ms: int = 10_000) -> str:
    """The table of the service."""
    return f'[plugins.moderation.remote]\nurl = "{url}"\ntimeout_ms = {timeout_ms}\n{more}\n'


async def test_the_service_is_asked_about_what_players_say(moderated, service, monkeypatch) -> None:
    """Its verdict counts as a list's does, the words are sent masked, and the key is sent."""
    monkeypatch.setenv("MOD_KEY", "sk-mod")
    service.flagged = {"vile": "hate", "fight": "violence"}
    more = 'model = "omni"\napi_key_env = "MOD_KEY"'
    async with moderated(remote(service.url, more)) as world:
        done = await world.say("A vile thing in the vault.")
        assert done["text"] == LAST_WORDS
        assert service.asked == [{"input": "A vile thing in ***.", "model": "omni"}]
        assert service.headers[0]["Authorization"] == "Bearer sk-mod"
        assert world.backend.requests == []
        assert (await world.say("Let us fight."))["text"] == "Good evening."
        assert world.bridge.counts["player", "hate", "refuse"] == 1


async def test_a_verdict_is_remembered(moderated, service) -> None:
    """The same words are asked about once."""
    async with moderated(remote(service.url)) as world:
        await world.say("Good evening.")
        await world.say("Good evening.")
        assert service.texts == ["Good evening."]
        assert world.bridge.remote.cached == 1


async def test_a_threshold_comes_before_the_verdict(moderated, service) -> None:
    """A score from the threshold on counts, whatever the service thinks of it."""
    service.scores = {"hate": 0.4}
    async with moderated(remote(service.url, "thresholds = { hate = 0.4 }")) as world:
        assert (await world.say("Good evening."))["text"] == LAST_WORDS


@pytest.mark.parametrize(("without", "text"), [("open", "Good evening."), ("closed", LAST_WORDS)])
async def test_a_service_that_is_late_is_not_waited_for(moderated, service, without, text) -> None:
    """Open, the turn goes on; closed, it is refused; both as soon as the limit is over."""
    service.held.clear()
    more = f'players_without = "{without}"'
    async with moderated(remote(service.url, more, timeout_ms=30)) as world:
        done = await world.say("Hello?")
        assert done["text"] == text
        assert "moderation: the service did not answer" in await world.witness.trace()
        assert world.bridge.remote.failed == 1


@pytest.mark.parametrize(
    ("status", "answer"),
    [(500, None), (200, "no JSON"), (200, '{"results": []}'), (302, None)],
    ids=["500", "garbage", "nothing", "redirect"],
)
async def test_a_service_that_fails_is_left_alone(moderated, service, status, answer) -> None:
    """After some failures in a row it is not asked any more for a while."""
    service.status, service.answer = status, answer
    async with moderated(remote(service.url, "failures = 2\nrest_s = 900")) as world:
        for number in range(4):
            assert (await world.say(f"Hello {number}?"))["text"] == "Good evening."
        assert len(service.asked) == 2
        assert not world.bridge.remote.answers


async def test_a_key_that_is_refused_is_told_once(moderated, service, monkeypatch, caplog) -> None:
    """401 is told once, with what to mend, and never with the key or a player's words."""
    monkeypatch.setenv("MOD_KEY", "sk-mod")
    service.status = 401
    async with moderated(remote(service.url, 'api_key_env = "MOD_KEY"')) as world:
        for number in range(3):
            await world.say(f"Hello {number}?")
    assert len(service.asked) == 1
    told = [one for one in caplog.messages if "moderation service" in one]
    assert len(told) == 1
    assert "api_key_env" in told[0]
    assert "sk-mod" not in caplog.text
    assert "Hello" not in caplog.text


async def test_a_strict_tier_asks_about_each_sentence(moderated, service) -> None:
    """Strict: a sentence is shown once the service has nothing against it."""
    service.flagged = {"vile": "sexual/minors"}
    async with moderated(remote(service.url), safety="strict") as world:
        world.backend.replies = ["Good evening to you. A vile thing. And more."]
        done = await world.say("Hello.")
        assert done["text"] == "Good evening to you."
        assert service.texts == ["Hello.", "Good evening to you.", "A vile thing."]


async def test_a_normal_tier_does_not_wait_for_the_service(moderated, service) -> None:
    """Normal: what NPCs say is never sent."""
    async with moderated(remote(service.url)) as world:
        await world.say("Hello.")
        assert service.texts == ["Hello."]


async def test_a_strict_tier_speaks_authored_lines_while_nobody_can_check(moderated) -> None:
    """Strict and closed: models are not heard, and not asked either once that is known."""
    more = "failures = 2\nrest_s = 900"
    async with moderated(remote(DOWN, more), safety="strict") as world:
        for _ in range(2):
            done = await world.say("Hello.")
            assert done["text"] == "An authored line."
        assert len(world.backend.requests) <= 1


async def test_a_strict_tier_may_be_content_with_lists(moderated) -> None:
    """Strict and open: while the service is away, the lists decide."""
    more = 'npcs_without = "open"'
    async with moderated(remote(DOWN, more), safety="strict") as world:
        assert (await world.say("Hello."))["text"] == "Good evening."
        world.backend.replies = ["Good evening to you. You blorp."]
        assert (await world.say("Hello again."))["text"] == "Good evening to you."


async def test_only_what_is_asked_for_is_sent(moderated, service) -> None:
    """`players = false` and `npcs = false` send nothing."""
    more = "players = false\nnpcs = false"
    async with moderated(remote(service.url, more), safety="strict") as world:
        await world.say("Hello.")
        assert service.asked == []


async def test_a_missing_key_is_told(moderated, service, caplog) -> None:
    """A variable that is not set is named on start."""
    caplog.set_level(logging.WARNING)
    async with moderated(remote(service.url, 'api_key_env = "NO_SUCH_KEY"')):
        assert "NO_SUCH_KEY is not set" in caplog.text


async def test_an_answer_from_before_says_nothing_of_now(service) -> None:
    """A service that is left alone is asked when its rest is over, not when an old answer comes."""
    service.held.clear()
    one = Remote(RemoteSettings(url=service.url, failures=2, rest_s=900), limit_s=30)
    old = asyncio.create_task(one.categories("Asked while all was well."))
    async with asyncio.timeout(30):
        await service.came.wait()
    for _ in range(2):
        one.breaker.failed("it is down")
    assert not one.answers
    service.held.set()
    assert await old == frozenset()
    assert not one.answers
    await one.close()


async def test_a_service_that_is_away_empties_no_cache(moderated, service) -> None:
    """Strict: what nobody can check is not said, and is there again when somebody can."""
    overrides = {"tiers.elite.cache": {"variants": 1}}
    more = "failures = 100\ncache = 0"
    async with moderated(remote(service.url, more), safety="strict", overrides=overrides) as world:
        engine = await world.palaver.ready()

        async def greet(player: str):
            return await engine.say("vlad", "Good evening.", turn=player, player=player)

        await greet("ada")
        async with asyncio.timeout(30):
            counts = world.palaver.gateway.cache.counts
            while not counts["elite"].stored:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.001)
        assert (await greet("bob"))["cached"]
        service.status = 500
        assert (await greet("cleo"))["text"] == "An authored line."
        service.status = 200
        asked = len(world.backend.requests)
        assert (await greet("dora"))["cached"]
        assert len(world.backend.requests) == asked
