"""Actions: declared as the server wants them, run once, checked again by the game."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deeds import APPLE, BREAD, COIN, ELIXIR, ROSE, Deeds
from hypothesis import given, settings
from hypothesis import strategies as st

from palaver.actions import declare_actions
from palaver.messages import ActionsSet

SAFE = [
    "follow", "go_to", "give_item", "take_item", "trade", "emote", "start_quest", "complete_quest",
]  # fmt: skip


@pytest.fixture
def deeds() -> Deeds:
    """The alchemist and sam."""
    return Deeds()


def register(deeds: Deeds, name: str, body: str, **more: object) -> object:
    """Register an action whose `run` has this body."""
    run = deeds.lua.eval(f"function(npc, player, args, ctx) {body} end")
    return deeds.mod.actions.register(
        name, deeds.table({"description": "do", "safe": True, "run": run, **more})
    )


def test_the_server_accepts_every_declaration() -> None:
    """What the mod declares is valid for the server, small, and waits for the game's answer."""
    deeds = Deeds(allow_attack=True)
    deeds.npc["def"].actions = deeds.table([*SAFE, "attack"])
    message = ActionsSet.model_validate(deeds.plain(deeds.mod.actions.message(deeds.npc)))
    declared = declare_actions(message.actions, limit=32)
    assert set(declared) == {*SAFE, "attack"}
    for action in declared.values():
        assert action.confirm
        assert action.description
        for name, schema in action.args["properties"].items():
            known = {"enum", "examples", "default", "minimum"} & set(schema)
            assert known, f"{action.name}.{name} shows a small model no value"


def test_examples_fit_their_own_schema(deeds: Deeds) -> None:
    """The values that the prompt shows are ones that the server would let through."""
    for spec in deeds.plain(deeds.mod.actions.specs(deeds.npc)):
        declared = declare_actions(ActionsSet(actions=[spec]).actions, limit=1)[spec["name"]]
        shown = {
            name: (one.get("enum") or one.get("examples") or [one.get("default", 1)])[0]
            for name, one in spec["args"]["properties"].items()
        }
        assert declared.problem(shown) is None


def test_who_has_no_goods_does_not_deal(deeds: Deeds) -> None:
    """Without a list of its own an NPC gets the safe actions that make sense for it."""
    deeds.add_npc("child")
    assert deeds.plain(deeds.mod.actions.of(deeds.npc)) == SAFE
    assert deeds.plain(deeds.mod.actions.of(deeds.world.A.npcs.get("child"))) == [
        "follow", "go_to", "emote",
    ]  # fmt: skip
    assert deeds.act("give_item", npc="child", item="bread") == (False, "you cannot do that")


def test_only_listed_actions_run(deeds: Deeds) -> None:
    """A definition's list is all that its NPC may do; an unknown name in it is told once."""
    deeds.npc["def"].actions = deeds.table(["emote", "fly"])
    assert deeds.act("emote", gesture="bow") == (True, "they saw it")
    assert deeds.act("give_item", item="bread")[0] is False
    assert [one[2] for one in deeds.world.logged.values() if one[1] == "warning"] == [
        'the NPC alchemist has an unknown action "fly"'
    ]


def test_each_call_runs_and_is_answered_once(deeds: Deeds) -> None:
    """A `turn.action` that comes again, by ask and by poll, gives nothing away twice."""
    deeds.world.turn = "t1"
    assert deeds.act("give_item", item="bread", call="turn.1")[0]
    count, _ = deeds.world.act("alchemist", "sam", "give_item", deeds.table({"item": "bread"}),
                               None, "turn.1")  # fmt: skip
    assert count == 0
    assert (deeds.held(BREAD), deeds.stock(BREAD)) == (1, 9)


def test_the_answer_goes_out_in_the_same_step(deeds: Deeds) -> None:
    """The server holds the NPC's words until it hears: nothing is kept for the next message."""
    deeds.act("emote", gesture="nod")
    assert [one["now"] for one in deeds.world.sent.values()] == [True]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ('error("boom")', (False, "that does not work now")),
        ("return nil", (False, None)),
        ("return true", (True, None)),
        ("return true, 7", (True, "7")),
        ('return false, ("x"):rep(5000)', (False, "x" * 200)),
        ('return 1, "yes"', (False, "yes")),
    ],
)
def test_an_action_of_another_mod(deeds: Deeds, body: str, answer: tuple[bool, str | None]) -> None:
    """Whatever an action of a mod does, there is one answer, and the game goes on."""
    assert register(deeds, "dig", body) is True
    assert deeds.act("dig") == answer
    assert len(deeds.errors()) == ("boom" in body)


@pytest.mark.parametrize(
    "args", [None, {}, {"type": "object", "properties": {}}, {"type": "object", "required": []}]
)
def test_an_action_without_arguments(deeds: Deeds, args: dict[str, object] | None) -> None:
    """However a mod writes that an action takes nothing, the server understands it."""
    assert register(deeds, "dig", "return true", **({} if args is None else {"args": args}))
    (spec,) = [one for one in deeds.mod.actions.specs(deeds.npc).values() if one.name == "dig"]
    assert spec.args is None
    assert deeds.act("dig") == (True, None)


def test_without_a_player(deeds: Deeds) -> None:
    """Where an NPC speaks with nobody, it is told that there is nobody to give to."""
    assert deeds.act("give_item", player=None, item="bread") == (
        False,
        "there is no player to do that with",
    )


@pytest.mark.parametrize("name", ["", "two words", 7, "x" * 65])
def test_a_wrong_registration_is_told(deeds: Deeds, name: object) -> None:
    """An action with a wrong name or without a `run` is refused with what is missing."""
    assert deeds.mod.actions.register(name, deeds.table({}))[0] is False
    assert register(deeds, "fine", "", description="x" * 501)[0] is False
    assert len(deeds.errors()) == 2


def leave(deeds: Deeds) -> None:
    """The player leaves the game."""
    deeds.world.leave(deeds.player)


def die(deeds: Deeds) -> None:
    """The player dies."""
    deeds.player.hp = 0


def walk_off(deeds: Deeds) -> None:
    """The player walks away."""
    deeds.player.pos = deeds.pos(40, 0, 0)


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (leave, "the player has left"),
        (die, "the player is dead"),
        (walk_off, "the player is too far away"),
    ],
)
def test_the_player_has_to_be_there(
    deeds: Deeds, happens: Callable[[Deeds], None], why: str
) -> None:
    """What needs a player is refused when they left, died or walked away meanwhile."""
    happens(deeds)
    for name, args in (
        ("give_item", {"item": "bread"}),
        ("take_item", {"item": "bread"}),
        ("trade", {"item": "bread"}),
        ("follow", {}),
        ("start_quest", {"title": "T", "item": "rose", "count": 1, "reward": "bread"}),
        ("complete_quest", {}),
    ):
        assert deeds.act(name, **args) == (False, why)
    assert deeds.act("emote", gesture="wave") == (True, "they saw it")
    assert deeds.errors() == []


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({}, "item is missing"),
        ({"item": 7}, "item must be a string"),
        ({"item": ""}, "item is empty"),
        ({"item": "bread", "count": 0}, "count must be at least 1"),
        ({"item": "bread", "count": 11}, "count must be at most 10"),
        ({"item": "bread", "count": 1.5}, "count must be a whole number"),
        ({"item": "bread", "count": "many"}, "count must be a whole number"),
        ({"item": "bread", "count": float("nan")}, "count must be a whole number"),
        ({"item": "moonbeam"}, 'there is no "moonbeam" in this world'),
        ({"item": "apple"}, "you have no apple"),
        ({"item": "elixir", "count": 5}, "you have only 4 of 5 elixirs of breath"),
    ],
)
def test_a_gift_is_refused_with_a_reason(deeds: Deeds, args: dict[str, object], why: str) -> None:
    """The game checks arguments and goods itself, and says in words what is wrong."""
    assert deeds.act("give_item", **args) == (False, why)
    assert (deeds.stock(BREAD), deeds.stock(ELIXIR)) == (10, 4)


def test_a_gift_needs_room() -> None:
    """Where not all of a gift fits into the inventory, none of it is given."""
    deeds = Deeds()
    deeds.player = deeds.world.player("sam", deeds.pos(0, 0, 0), 2)
    deeds.put("default:sword_wood")
    deeds.put(BREAD, 95)
    why = "the player's inventory has no room for 5 breads"
    assert deeds.act("give_item", item="bread", count=5) == (False, why)
    assert (deeds.held(BREAD), deeds.stock(BREAD)) == (95, 10)
    assert deeds.act("give_item", item="bread", count=4) == (True, "you gave 4 breads")
    assert (deeds.held(BREAD), deeds.stock(BREAD)) == (99, 6)


def test_presents_have_an_end(deeds: Deeds) -> None:
    """However nicely a player asks, an NPC gives so much and no more for twenty minutes."""
    deeds.npc["def"].goods[BREAD].stock = 100
    for _ in range(2):
        assert deeds.act("give_item", item="bread", count=10)[0]
    assert deeds.act("give_item", item="bread") == (
        False, "you have given the player enough for now",
    )  # fmt: skip
    deeds.world.player("kim", deeds.pos(0, 0, 0), 32)
    assert deeds.act("give_item", player="kim", item="bread", count=10)[0]
    deeds.world.now += 1300
    assert deeds.act("give_item", item="bread", count=10)[0]


def test_the_purse_is_no_present(deeds: Deeds) -> None:
    """What an NPC pays with is given away only where its definition deals in it."""
    assert deeds.act("give_item", item=COIN, count=5)[0] is False
    goods = {COIN: {"price": 1, "stock": 9}}
    deeds.add_npc("banker", goods=goods)
    assert deeds.act("give_item", npc="banker", item=COIN, count=5)[0]


def test_nothing_is_taken_that_was_not_offered(deeds: Deeds) -> None:
    """An NPC takes only what the player named lately or holds in the hand."""
    deeds.put(APPLE, 5)
    assert deeds.act("take_item", "hello", item="apple") == (
        False, "the player did not offer apple",
    )  # fmt: skip
    assert deeds.act("take_item", "Have an apple!", item="apple") == (True, "you got 1 apple")
    deeds.mod.actions.heard("alchemist", "sam", "These apples are for you.")
    assert deeds.act("take_item", "Yes, go on.", item="apple", count=2)[0]
    deeds.world.now += 1000
    assert deeds.act("take_item", "Yes, go on.", item="apple")[0] is False
    deeds.player.wielded = APPLE
    assert deeds.act("take_item", "Yes, go on.", item="apple")[0]
    assert (deeds.held(APPLE), deeds.stock(APPLE)) == (1, 4)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("Do you like apples?", 5),
        ("Here are 20 apples.", 20),
        ("Seven apples for you, and not 3", 7),
        ("Take all my apples!", 30),
    ],
)
def test_no_more_is_taken_than_was_offered(deeds: Deeds, text: str, most: int) -> None:
    """A word about apples is not all of them: a number, or "all", allows more."""
    deeds.put(APPLE, 30)
    if most < 30:
        assert deeds.act("take_item", text, item="apple", count=most + 1) == (
            False, f"the player spoke of only {most} apples; ask how many",
        )  # fmt: skip
    assert deeds.held(APPLE) == 30
    assert deeds.act("take_item", text, item="apple", count=most)[0]


def test_what_the_hand_holds_is_offered(deeds: Deeds) -> None:
    """As much of it as the hand holds."""
    deeds.put(APPLE, 30)
    deeds.player.wielded = f"{APPLE} 12"
    assert deeds.act("take_item", "For you.", item="apple", count=13)[0] is False
    assert deeds.act("take_item", "For you.", item="apple", count=12)[0]


def test_what_is_worn_or_written_on_stays(deeds: Deeds) -> None:
    """A worn tool and an item with notes are not counted and not taken: they are one of a kind."""
    deeds.world.put(deeds.player, "default:sword_wood 1 500", None)
    deeds.put("default:sword_wood", description="Sting")
    deeds.put("default:sword_wood")
    say = "Take my wooden swords."
    why = "the player has only 1 of 2 wooden swords"
    assert deeds.act("take_item", say, item="wooden sword", count=2) == (False, why)
    assert deeds.act("take_item", say, item="wooden sword")[0]
    assert deeds.act("take_item", say, item="wooden sword")[0] is False
    assert deeds.held("default:sword_wood") == 2


@pytest.mark.parametrize(
    ("words", "item"),
    [
        (APPLE, APPLE),
        ("apple", APPLE),
        ("old:bread", BREAD),
        ("Some Apples", APPLE),
        ("3 apples", APPLE),
        ("minetest:bread", BREAD),
        ("healing herbs", ROSE),
        ("red roses", ROSE),
        ("mese fragments", COIN),
        ("Mese Crystal Fragment", COIN),
        ("mese crystal", "default:mese_crystal"),
        ("wooden sword", "default:sword_wood"),
        ("bottle of elixir", None),
        ("elixir of breath", ELIXIR),
        ("sword", None),
        ("lava", None),
        ("", None),
        ("\x1b]]];[", None),
        ("x" * 10_000, None),
    ],
)
def test_items_are_found_by_plain_words(deeds: Deeds, words: str, item: str | None) -> None:
    """Names, aliases and a model's own words lead to the item they mean, or to a clear refusal."""
    found = deeds.find(words)
    if item is None:
        assert found[0] is None
        assert found[1]
    else:
        assert found == item


def test_several_torches_are_torches(deeds: Deeds) -> None:
    """What is counted reads like English."""
    deeds.lua.execute("core.registered_items['a:torch'] = {description = 'Torch'}")
    deeds.lua.execute("core.registered_items['a:box'] = {description = 'Box of nails'}")
    counted = deeds.mod["items"].counted
    assert counted(1, "a:torch") == "1 torch"
    assert counted(3, "a:torch") == "3 torches"
    assert counted(2, "a:box") == "2 boxes of nails"
    assert counted(2, APPLE) == "2 apples"


def test_the_words_of_both_are_searched_first(deeds: Deeds) -> None:
    """What could be several things is the one that these two have."""
    assert deeds.act("take_item", "Take my sword.", item="sword")[1] == (
        'there is no "sword"; there is: stone sword, wooden sword'
    )
    deeds.put("default:sword_stone")
    assert deeds.act("take_item", "Take my sword.", item="sword") == (True, "you got 1 stone sword")


ITEMS = st.sampled_from(["bread", "elixir", "apple", "red rose", "mese crystal fragment", "sword"])
COUNTS = st.integers(0, 60)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("give_item"), st.fixed_dictionaries({"item": ITEMS, "count": COUNTS})),
        st.tuples(st.just("take_item"), st.fixed_dictionaries({"item": ITEMS, "count": COUNTS})),
        st.tuples(
            st.just("trade"),
            st.fixed_dictionaries(
                {"item": ITEMS, "count": COUNTS, "deal": st.sampled_from(["sell", "buy"])}
            ),
        ),
        st.tuples(
            st.just("start_quest"),
            st.fixed_dictionaries(
                {
                    "title": st.just("T"), "item": ITEMS, "count": COUNTS, "reward": ITEMS,
                    "reward_count": st.integers(1, 5),
                }
            ),
        ),
        st.tuples(st.just("complete_quest"), st.just({})),
        st.tuples(st.just("drop"), st.just({})),
        st.tuples(st.just("reload"), st.just({})),
        st.tuples(st.just("find"), st.fixed_dictionaries({"item": ITEMS, "count": COUNTS})),
    ),
    max_size=25,
)  # fmt: skip
NAMES = (APPLE, BREAD, ROSE, ELIXIR, COIN, "default:sword_stone", "default:sword_wood")


@pytest.mark.parametrize(("age_ms", "done"), [(None, True), (90.0, True), (1_300.0, False)])
def test_what_an_npc_has_given_up_is_not_done(
    deeds: Deeds, age_ms: float | None, done: bool
) -> None:
    """An action that comes when the server has stopped to wait for it changes nothing."""
    ok, why = deeds.act("give_item", "May I have some bread?", item="bread", age_ms=age_ms)
    assert ok is done
    assert deeds.held(BREAD) == done
    assert done or "too long" in why


def test_what_waits_for_no_answer_is_never_too_late(deeds: Deeds) -> None:
    """An action without `confirm` is done whenever it comes."""
    register(deeds, "wave", "return true", confirm=False)
    assert deeds.act("wave", age_ms=60_000.0)[0]


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, size=st.integers(1, 8))
def test_no_sequence_of_actions_makes_or_loses_an_item(
    steps: list[tuple[str, dict[str, object]]], size: int
) -> None:
    """Player, stock and open quests together hold the same items, whatever the model proposes."""
    deeds = Deeds()
    deeds.player = deeds.world.player("sam", deeds.pos(0, 0, 0), size)
    words = "all bread elixir apple rose mese crystal fragment sword"

    def everything() -> dict[str, int]:
        total = {name: deeds.held(name) + deeds.stock(name) for name in NAMES}
        for quest in deeds.mod.quests.open("sam").values():
            total[quest.reward] += int(quest.reward_count)
        return total

    for name, args in steps:
        before = everything()
        if name == "drop":
            for quest in list(deeds.mod.quests.open("sam").values())[:1]:
                deeds.mod.quests.drop("sam", quest.id)
        elif name == "reload":
            deeds.reload()
        elif name == "find":
            room = [s.get_name(s) for s in deeds.player.inventory.get_list(None, "main").values()]
            item = deeds.find(str(args["item"]))
            if "" in room and isinstance(item, str) and args["count"]:
                deeds.put(item, min(int(str(args["count"])), 1 if "sword" in item else 99))
                continue
        else:
            deeds.act(name, words, **args)
        assert everything() == before
    assert deeds.errors() == []
