"""What NPCs say, through a real server, at each level of safety."""

from __future__ import annotations

import pytest

from palaver.errors import BackendUnavailable
from palaver.testing.scripted import Finish
from palaver.testing.turns import make_turn
from palaver.turn.filters import FilterChain
from palaver_moderation.config import ModerationSettings, RemoteSettings
from palaver_moderation.lists import load_words
from palaver_moderation.npc import Stopper
from palaver_moderation.remote import Remote
from palaver_moderation.rules import RuleBook


async def test_an_opening_that_is_stopped_is_spoken_by_the_next_backend(moderated) -> None:
    """Normal: an objection in the opening hands over, and the player sees nothing of it."""
    async with moderated() as world:
        world.backend.replies = ["Blorp to you, stranger."]
        done = await world.say("Good evening.")
        assert done["text"] == "I am the spare."
        assert done["trail"][0]["outcome"] == "objected"
        assert done["trail"][0]["reason"] == "moderation: rude"
        assert world.bridge.counts["npc", "rude", "stop"] == 1


async def test_a_later_sentence_ends_the_line(moderated) -> None:
    """Normal: what comes after the sentence that was stopped is not said."""
    async with moderated() as world:
        world.backend.replies = [
            ["Good evening to you. ", "I hide it in the vault. ", "Find the key. ", Finish()]
        ]
        done = await world.say("Good evening.")
        assert done["status"] == "truncated"
        assert done["text"] == "Good evening to you. I hide it in the vault."
        assert "the vault" not in done["trail"][0]["reason"]


async def test_a_strict_tier_shows_nothing_unchecked(moderated) -> None:
    """Strict: a sentence that is stopped is never seen, nor any after it."""
    async with moderated(safety="strict") as world:
        world.backend.replies = [
            ["Good evening ", "to you. I hide ", "it in the vault. ", "Find the key.", Finish()]
        ]
        done = await world.say("Good evening.")
        assert done["text"] == "Good evening to you."
        assert world.bridge.counts["npc", "secret", "stop"] == 1


async def test_a_phrase_over_two_sentences_is_found(moderated) -> None:
    """Strict: a phrase does not hide behind a full stop."""
    async with moderated(safety="strict") as world:
        world.backend.replies = ["Look at me. I snark. You are nothing."]
        done = await world.say("Good evening.")
        assert done["text"] == "Look at me. I snark."


async def test_a_strict_opening_is_spoken_by_the_next_backend(moderated) -> None:
    """Strict: a reply whose first sentence is stopped is left to the next backend."""
    async with moderated(safety="strict") as world:
        world.backend.replies = ["Blorp to you, stranger."]
        done = await world.say("Good evening.")
        assert done["text"] == "I am the spare."
        trace = await world.witness.trace()
        assert "a filter ended the line: moderation: rude" in trace


async def test_an_author_is_not_moderated(moderated) -> None:
    """Strict: authored lines are shown as they are."""
    async with moderated(safety="strict") as world:
        world.backend.replies = [[BackendUnavailable("local", "is down")]]
        world.other.replies = [[BackendUnavailable("spare", "is down")]]
        world.lines.replies = ["You blorp, says the author."]
        done = await world.say("Good evening.")
        assert done["text"] == "You blorp, says the author."


async def test_a_tier_can_be_left_alone(moderated) -> None:
    """Off: neither what players nor what NPCs say is looked at."""
    async with moderated(safety="off") as world:
        world.backend.replies = ["Blorp to you, stranger."]
        done = await world.say("You blorp.")
        assert done["text"] == "Blorp to you, stranger."
        assert not world.bridge.counts


async def test_half_a_word_is_not_taken_for_one(moderated) -> None:
    """A word that is still coming is waited for."""
    async with moderated() as world:
        world.backend.replies = [["I am from Blorp", "ington, a harmless town.", Finish()]]
        done = await world.say("Good evening.")
        assert done["text"] == "I am from Blorpington, a harmless town."


@pytest.mark.parametrize(("without", "text"), [("closed", ""), ("open", "Good evening.")])
async def test_a_sentence_is_not_shown_because_its_check_is_late(service, without, text) -> None:
    """Even where a machine is too slow for every limit, closed shows nothing unchecked."""
    service.held.clear()
    settings = RemoteSettings(url=service.url, npcs_without=without)
    remote = Remote(settings, limit_s=30)
    rules = RuleBook(ModerationSettings(), load_words(ModerationSettings(), None)).of("en")
    shown: list[str] = []
    chain = FilterChain(
        make_turn(),
        [("moderation", Stopper(rules, lambda *_: None, remote))],
        lambda event: shown.append(event.text),
        0.02,
    )
    chain.feed("Good evening.")
    await chain.finish()
    assert "".join(shown) == text
    await remote.close()
