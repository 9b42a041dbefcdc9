"""A quest from the Alchemist, from the first word to the reward."""

from __future__ import annotations

from collections.abc import Callable

from harness.game import Game
from harness.gateway import Gateway
from harness.players import Player

Join = Callable[[Game, str], Player]
Village = Callable[..., Game]
Spawn = Callable[[Game], None]

START = (
    'Perfect! <do start_quest {"title": "Whispering Herbs", "description": "Bring me herbs that '
    'whisper.", "item": "herb", "count": 3, "reward": "bread", "reward_count": 2}>Off you go!'
)
END = "Let me see. <do complete_quest {}>They whisper in B flat!"


def test_a_quest_is_begun_and_finished(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """The Alchemist sets a quest; who brings all that it asks for, and only he, is rewarded."""
    game = village()
    bob = join(game, "bob")
    spawn(game)
    game.lua(
        """
        inventory = core.get_player_by_name("bob"):get_inventory()
        inventory:add_item("main", "goods:herb 1")
        core.get_player_by_name("bob"):set_pos({x = 40, y = 1, z = 2})
        """
    )
    count = "inventory:contains_item('main', 'goods:{}')"
    palaver.backend.replies = [START]
    bob.say("Do you have a quest for me?")
    bob.wait_heard("New quest: Whispering Herbs")
    bob.wait_heard("Off you go!")
    bob.say("/quests list")
    bob.wait_heard("1 of 3")

    # Not enough: the game refuses, nothing changes hands, and the reply goes another way.
    palaver.backend.replies = [END, "You have not enough of them."]
    bob.say("Here they are.")
    bob.wait_heard("You have not enough of them.")
    assert not [line for line in bob.heard if "B flat" in line]
    assert game.lua(f"return {{bread = {count.format('bread')}}}") == {"bread": False}

    game.lua("inventory:add_item('main', 'goods:herb 2')")
    palaver.backend.replies = [END]
    bob.say("Now they are here.")
    bob.wait_heard("Quest done: Whispering Herbs")
    bob.wait_heard("B flat")
    assert game.lua(
        f"return {{bread = {count.format('bread 2')}, herb = {count.format('herb')}}}"
    ) == {"bread": True, "herb": False}
    bob.say("/quests list")
    bob.wait_heard("You have no quests")
    assert game.problems() == []
