"""What goes on around a player: NPCs among themselves, an admin's command, a server's new start."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from harness.game import Game
from harness.gateway import Gateway
from harness.players import Player

Join = Callable[[Game, str], Player]
Village = Callable[..., Game]
Spawn = Callable[[Game], None]
QUEST = (
    'Perfect! <do start_quest {"title": "Whispering Herbs", "item": "herb", "count": 1, '
    '"reward": "bread"}>Off you go!'
)
VISIT = "bodies.alchemist:set_pos({x = 2, y = 0.5, z = 3})"


def test_two_npcs_talk_where_a_player_hears_it(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """Two NPCs that stand together talk in turns, each to the other, and a player hears both."""
    numbers = itertools.count(1)
    palaver.backend.replies = [lambda _: f"That is the {next(numbers)}th thing I wonder about."]
    game = village(**{"llm_agent.npc_talks": "true", "llm_agent.npc_talk_cooldown_s": 1})
    spawn(game)
    game.lua(VISIT)
    # Nobody listens, so nobody talks.
    game.wait(f"#control.dtimes > {game.lua('return #control.dtimes') + 40}")
    assert palaver.backend.calls == []
    bob = join(game, "bob")
    bob.wait_heard("<Elder Willow> That is the")
    bob.wait_heard("<The Alchemist> That is the")
    assert game.problems() == []


def test_an_admin_looks_after_npcs(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """The command tells how things are, lets an NPC speak, and is refused to everybody else."""
    game = village()
    bob = join(game, "bob")
    spawn(game)
    bob.say("/llm_agent status")
    bob.wait_heard("llm_agent_admin")
    game.lua(
        "core.set_player_privs('bob', {interact = true, shout = true, llm_agent_admin = true})"
    )
    bob.say("/llm_agent status")
    bob.wait_heard(f"up at {palaver.url}")
    bob.say("/llm_agent say elder_willow The bees are early this year.")
    bob.wait_heard("<Elder Willow> The bees are early this year.")
    # As after an answer that nobody waits for: it finds the server again at once.
    palaver.stop()
    bob.say("Hello Willow?")
    bob.wait_heard("<Elder Willow>", 2)
    palaver.start()
    bob.say("/llm_agent reload")
    game.wait("llm_agent.status().link.state == 'up'")
    bob.say("And now, Willow?")
    bob.wait_heard("<Elder Willow> Good evening.")
    assert "stack traceback" not in game.log


def test_a_quest_survives_the_game_server(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """Quests are kept with the world: they are there when the server was started again."""
    palaver.backend.replies = [QUEST]
    game = village()
    bob = join(game, "bob")
    spawn(game)
    game.lua(VISIT)
    game.lua("core.get_player_by_name('bob'):get_inventory():add_item('main', 'goods:herb')")
    bob.say("Alchemist, do you have a quest for me?")
    bob.wait_heard("New quest: Whispering Herbs")
    assert game.stop() == 0
    game.start()
    again = join(game, "bob")
    again.say("/quests list")
    again.wait_heard("Whispering Herbs")
