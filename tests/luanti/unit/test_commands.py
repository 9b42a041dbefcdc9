"""The command /llm_agent."""

from __future__ import annotations

import pytest
from unit.world import World


def test_only_an_admin_may() -> None:
    """The command wants the privilege, which the owner of the server has."""
    world = World()
    assert world.stub.commands.llm_agent.privs.llm_agent_admin is True
    assert world.stub.privileges.llm_agent_admin.give_to_admin is True


def test_status_is_readable() -> None:
    """One look tells whether Palaver is there, why not, and what was said instead."""
    world = World()
    world.stub.link = world.table(
        {"state": "down", "why": "timeout", "retry_in_s": 3.6, "inflight": 2, "queued": 1,
         "requests": 40, "failures": 3},
    )  # fmt: skip
    world.mod.stats.asked, world.mod.stats.answered = 10, 7
    world.mod.stats.count("canned", "away")
    world.mod.stats.first_words(0.4)
    world.mod.stats.refusal = "there is no persona 'marta'"
    ok, text = world.command("status")
    assert ok
    rows = dict(line.split(": ", 1) for line in text.split("\n"))
    assert rows["Palaver"] == "down at http://127.0.0.1:8765 (timeout)"
    assert rows["retry"].startswith("tries again in 4 s")
    assert rows["turns"] == "10 asked, 7 answered, 0 open"
    assert rows["canned"] == "away 1"
    assert rows["requests"].startswith("40 made, 3 failed in a row")
    assert rows["refused"] == "there is no persona 'marta'"
    assert rows["first words"] == "p50 400 ms, p99 400 ms, most 400 ms"
    assert rows["NPCs"] == "1 registered, 1 in the world now"
    assert rows["errors"] == "none"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Usage: /llm_agent status"),
        ("dance", 'There is no "dance". Usage:'),
        ("say", "Usage: /llm_agent say <npc> <text>"),
        ("say willow", "Usage: /llm_agent say <npc> <text>"),
        ("say nobody hi", 'There is no NPC "nobody". There are: willow'),
        ("spawn", "Usage: /llm_agent spawn <npc>"),
        ("spawn nobody", 'There is no NPC "nobody". There are: willow'),
        ("remove", "Usage: /llm_agent remove <npc>"),
        ("remove nobody", 'There is no NPC "nobody". There are: willow'),
    ],
)
def test_wrong_input_is_helped(text: str, says: str) -> None:
    """What cannot be done is answered with what can."""
    world = World()
    ok, message = world.command(text)
    assert ok is False
    assert says in message


def test_from_the_console_there_is_no_place_to_spawn() -> None:
    """The server's console is no player."""
    world = World()
    ok, message = world.command("spawn willow", name="admin")
    assert (ok, message) == (False, "Only a player in the world can do that.")


def test_say_spawn_list_and_remove() -> None:
    """An admin lets NPCs speak, come and go."""
    world = World()
    assert world.command("say willow Supper is ready.") == (True, "Elder Willow says it.")
    assert world.chat == ["sam: <Elder Willow> Supper is ready."]
    assert world.command("list") == (True, "willow  Elder Willow  (willow)  (0,0,0)")
    ok, message = world.command("spawn willow")
    assert ok
    assert message.startswith("Elder Willow is here, and has 2 bodies now.")
    assert "/llm_agent remove willow" in message
    assert world.command("list")[1].endswith(") (0,0,0)  2 bodies")
    assert world.command("remove willow") == (True, "Removed: 2")
    assert world.command("spawn willow") == (True, "Elder Willow is here.")
    assert world.command("remove willow") == (True, "Removed: 1")
    assert world.command("remove willow")[0] is False
    assert world.command("say willow hi")[0] is False


def test_reload_reads_settings_and_asks_again() -> None:
    """What `/set` changed is used at once, and Palaver is asked whatever the back-off says."""
    world = World()
    world.stub.conf["llm_agent.hear_radius"] = "20"
    world.stub.conf["llm_agent.url"] = "http://127.0.0.1:9999"
    ok, message = world.command("reload")
    assert ok
    assert "http://127.0.0.1:9999 " in message, "no sign that a client takes into the link"
    assert world.mod.settings.hear_radius == 20
    assert (world.stub.retried, world.stub.resynced) == (1, 1)


def test_an_error_inside_stays_inside() -> None:
    """A command that fails in the mod says so and raises nothing."""
    world = World()
    world.mod.link.state = world.lua.eval("function() error('broken') end")
    ok, message = world.command("status")
    assert ok is False
    assert "log" in message
    assert world.logged("broken")


def test_the_examples_are_the_village() -> None:
    """Elder Willow and the Alchemist are there with eggs, unless a setting says no."""
    world = World(empty=True, examples=True)
    assert [one.id for one in world.mod.npcs.all().values()] == ["elder_willow", "alchemist"]
    assert {"llm_agent:egg_elder_willow", "llm_agent:egg_alchemist"} == set(world.stub["items"])
    for npc in world.mod.npcs.all().values():
        assert len(npc["def"].canned) >= 5
    none = World(empty=True)
    none.stub.conf["llm_agent.examples"] = "false"
    none.stub.part("examples")
    assert list(none.mod.npcs.all().values()) == []
