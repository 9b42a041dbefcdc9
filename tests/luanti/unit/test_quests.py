"""Quests: written by a model, checked by the game, kept, shown, and finished all or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from deeds import APPLE, BREAD, ELIXIR, ROSE, Deeds

QUEST = {
    "title": "Whispering Herbs", "description": "Whisper back, they sulk.",
    "item": "healing herbs", "count": 10, "reward": "elixir",
}  # fmt: skip


@pytest.fixture
def deeds() -> Deeds:
    """The alchemist and sam."""
    return Deeds()


def titles(deeds: Deeds) -> list[str]:
    """Names of the open quests."""
    return [quest.title for quest in deeds.mod.quests.open("sam").values()]


def fields(deeds: Deeds, formname: str = "llm_agent:quests", **given: Any) -> Any:
    """Send fields of a form."""
    return deeds.world.on_fields[1](deeds.player, formname, deeds.table(given))


def form(deeds: Deeds) -> str:
    """The form that was shown last."""
    return str(list(deeds.world.forms.values())[-1].form)


def test_a_quest_from_beginning_to_end(deeds: Deeds) -> None:
    """A quest is set, listed, refused while items are missing, and paid when they are there."""
    assert deeds.act("start_quest", **QUEST) == (
        True, "the quest is set: bring 10 red roses for 1 elixir of breath",
    )  # fmt: skip
    assert deeds.stock(ELIXIR) == 3
    deeds.put(ROSE, 2)
    facts = deeds.plain(deeds.mod.quests.facts("sam"))
    assert facts == [
        {
            "title": "Whispering Herbs",
            "from": "alchemist",
            "item": "red rose",
            "count": 10,
            "has": 2,
        }
    ]
    assert deeds.act("complete_quest") == (False, "the player has only 2 of 10 red roses")
    deeds.put(ROSE, 11)
    assert deeds.act("complete_quest", quest="herbs") == (
        True, "done: you got 10 red roses and gave 1 elixir of breath",
    )  # fmt: skip
    assert (deeds.held(ROSE), deeds.held(ELIXIR), deeds.stock(ROSE)) == (3, 1, 10)
    assert titles(deeds) == []
    assert [quest.title for quest in deeds.mod.quests.done("sam").values()] == ["Whispering Herbs"]
    assert deeds.act("complete_quest") == (False, "the player has no quest of yours")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"item": "moonbeam"}, 'there is no "moonbeam" in this world'),
        ({"item": "default:lava_flowing"}, "nobody can get flowing lava"),
        ({"item": "air"}, "nobody can get air"),
        ({"reward": "diamond"}, 'there is no "diamond" in this world'),
        ({"reward": "apple"}, "you have no apple to give"),
        ({"reward_count": 5}, "you have only 4 of 5 elixirs of breath to give"),
        ({"reward": "red rose"}, "the reward cannot be the item itself"),
        ({"count": 100}, "count must be at most 99"),
        ({"count": -1}, "count must be at least 1"),
        ({"reward_count": 21}, "reward_count must be at most 20"),
        ({"title": "\x1b\n"}, "title is empty"),
        ({"title": None}, "title is missing"),
    ],
)
def test_a_quest_that_cannot_be_done_is_refused(
    deeds: Deeds, change: dict[str, Any], why: str
) -> None:
    """Items, rewards and numbers are checked against this game before a quest begins."""
    args = {key: value for key, value in {**QUEST, **change}.items() if value is not None}
    assert deeds.act("start_quest", **args) == (False, why)
    assert titles(deeds) == []
    assert deeds.stock(ELIXIR) == 4


@pytest.mark.parametrize(
    ("words", "bring"),
    [("swords", "stone sword"), ("red herb", "red rose"), ("apple", "apple"), ("bread", "bread")],
)
def test_a_quest_takes_the_best_match(deeds: Deeds, words: str, bring: str) -> None:
    """Of several things that a quest could mean it takes one, and tells the model which."""
    ok, said = deeds.act("start_quest", **{**QUEST, "item": words, "count": 1})
    assert (ok, said) == (True, f"the quest is set: bring 1 {bring} for 1 elixir of breath")


def test_quests_are_few(deeds: Deeds) -> None:
    """A player has at most two quests of one NPC and five in all, and none twice."""
    assert deeds.act("start_quest", **QUEST)[0]
    assert deeds.act("start_quest", **QUEST) == (
        False, 'the player already has your quest "Whispering Herbs"',
    )  # fmt: skip
    assert deeds.act("start_quest", **{**QUEST, "item": "apple"})[0]
    assert deeds.act("start_quest", **{**QUEST, "item": "bread"}) == (
        False, 'the player still has your quest "Whispering Herbs"',
    )  # fmt: skip
    for name in ("b", "c"):
        deeds.add_npc(name, goods={ELIXIR: {"price": 1}})
        deeds.act("start_quest", npc=name, **QUEST)
        deeds.act("start_quest", npc=name, **{**QUEST, "item": "apple"})
    assert len(titles(deeds)) == 5
    assert deeds.act("start_quest", npc="c", **{**QUEST, "item": "bread"}) == (
        False, "the player has 5 quests already and must finish or drop one",
    )  # fmt: skip


def test_a_definition_can_rule_quests_out(deeds: Deeds) -> None:
    """With `quests = false` an NPC has goods but no errands."""
    deeds.npc["def"].quests = False
    assert deeds.act("start_quest", **QUEST) == (False, "you cannot do that")


def test_no_reward_is_lost_for_want_of_room() -> None:
    """Where the reward does not fit, the items stay with the player and the quest stays open."""
    deeds = Deeds()
    deeds.player = deeds.world.player("sam", deeds.pos(0, 0, 0), 1)
    deeds.put(ROSE, 12)
    assert deeds.act("start_quest", **QUEST)[0]
    assert deeds.act("complete_quest") == (
        False, "the player's inventory has no room for 1 elixir of breath",
    )  # fmt: skip
    assert (deeds.held(ROSE), titles(deeds)) == (12, ["Whispering Herbs"])


def test_quests_are_kept_over_a_restart(deeds: Deeds) -> None:
    """Quests and reserved rewards are there after a restart, and can be finished."""
    deeds.act("start_quest", **QUEST)
    deeds.reload()
    assert titles(deeds) == ["Whispering Herbs"]
    deeds.put(ROSE, 10)
    assert deeds.act("complete_quest")[0]
    deeds.reload()
    assert titles(deeds) == []
    assert len(list(deeds.mod.quests.done("sam").values())) == 1


def test_an_old_quest_lapses(deeds: Deeds) -> None:
    """After two weeks a quest is dropped, and its reward is the NPC's again."""
    deeds.act("start_quest", **QUEST)
    deeds.world.clock += 15 * 24 * 3600
    assert titles(deeds) == []
    assert deeds.stock(ELIXIR) == 5  # recovered meanwhile; the fifth one sells or goes
    deeds.world.clock += 1000
    assert deeds.stock(ELIXIR) == 4


def test_several_quests_of_one_npc(deeds: Deeds) -> None:
    """Which quest is meant is told by its title, its item, or what the player carries."""
    deeds.act("start_quest", **QUEST)
    deeds.act("start_quest", **{**QUEST, "title": "Pie", "item": "apple", "reward": "bread"})
    deeds.put(APPLE, 10)
    assert deeds.act("complete_quest", quest="herbs")[1] == "the player has no red rose"
    assert deeds.act("complete_quest", quest="the one with apples")[0]
    assert deeds.held(BREAD) == 1


def test_the_list_of_quests(deeds: Deeds) -> None:
    """`/quests` shows the list, escaped, and a quest can be dropped there."""
    assert deeds.world.commands.quests.func("sam", "")
    assert "You have no quests" in form(deeds)
    deeds.act("start_quest", **{**QUEST, "title": "A]B;C,D\\ [x]", "description": "]button[0,0]"})
    assert "A\\]B\\;C\\,D\\\\ \\[x\\]" in form(deeds), "an open list shows the new quest"
    assert "The Alchemist: \\]button\\[0\\,0\\]" in form(deeds)
    assert "You have 0 of 10 red roses. Reward: 1 elixir of breath" in form(deeds)
    assert fields(deeds, list="CHG:1") is True
    assert fields(deeds, drop="x") is True
    assert titles(deeds) == []
    assert deeds.stock(ELIXIR) == 4
    count = len(list(deeds.world.forms.values()))
    fields(deeds, quit="true")
    deeds.act("start_quest", **QUEST)
    assert len(list(deeds.world.forms.values())) == count, "a closed list stays closed"


@pytest.mark.parametrize(
    "given", [{"list": "CHG:99"}, {"list": "CHG:-1"}, {"list": "x"}, {"drop": "1"}, {}]
)
def test_nonsense_from_a_client(deeds: Deeds, given: dict[str, str]) -> None:
    """A client that sends what the form cannot send does no harm."""
    assert fields(deeds, **given) is True
    assert fields(deeds, "other:form", **given) is False
    assert deeds.errors() == []


def test_the_list_in_chat(deeds: Deeds) -> None:
    """Without a client, and with `list`, the quests come as text; `drop N` gives one up."""
    command = deeds.world.commands.quests.func
    assert command("sam", "list") == (True, "You have no quests. Ask around.")
    deeds.act("start_quest", **QUEST)
    assert command("sam", "list") == (
        True,
        "1. Whispering Herbs (The Alchemist): 0 of 10 red roses, for 1 elixir of breath",
    )
    assert command("sam", "drop 2") == (False, "You have no quest 2; see /quests.")
    assert command("sam", "drop 1") == (True, "You dropped the quest: Whispering Herbs")
    assert command("console", "") == (True, "You have no quests. Ask around.")


def test_who_leaves_keeps_the_quests(deeds: Deeds) -> None:
    """A player who comes back has the quests of before."""
    deeds.act("start_quest", **QUEST)
    deeds.world.leave(deeds.player)
    assert titles(deeds) == ["Whispering Herbs"]


def test_a_quest_is_not_set_and_done_in_one_breath(deeds: Deeds) -> None:
    """What a player carries is not taken for a quest that they have not even heard of."""
    deeds.put(ROSE, 10)
    deeds.world.turn = "t1"
    assert deeds.act("start_quest", **QUEST)[0]
    assert deeds.act("complete_quest") == (
        False, "you have only just set that quest; let the player answer first",
    )  # fmt: skip
    assert deeds.held(ROSE) == 10
    deeds.world.turn = "t2"
    assert deeds.act("complete_quest")[0]


def test_the_command_of_another_mod_is_left_alone(deeds: Deeds) -> None:
    """Two mods with one command would stop the server; ours has another name then, and says so."""
    assert set(deeds.world.commands) == {"quests"}
    deeds.world.other_quests = deeds.table({})
    deeds.reload()
    assert set(deeds.world.commands) == {"npc_quests"}
    deeds.put(ROSE, 1)
    assert deeds.act("start_quest", **QUEST)[0]
    assert "See /npc_quests." in list(deeds.world.chat.values())[-1][2]


def test_a_title_is_no_colour(deeds: Deeds) -> None:
    """A sign at the beginning of a line of a text list would colour it."""
    deeds.act("start_quest", **{**QUEST, "title": "#ff0000 Herbs"})
    deeds.mod.quests.show("sam")
    assert "; #ff0000 Herbs (0/10)" in form(deeds)
