"""Trade: prices that move, stocks that fall and recover, and nobody gets rich by talking."""

from __future__ import annotations

import pytest
from deeds import APPLE, BREAD, COIN, ELIXIR, Deeds
from hypothesis import given, settings
from hypothesis import strategies as st

WANT = "I want to buy some bread and sell some."


@pytest.fixture
def deeds() -> Deeds:
    """The alchemist, and sam with coins."""
    deeds = Deeds()
    deeds.put(COIN, 90)
    return deeds


def price(deeds: Deeds, item: str = BREAD, count: int = 1, *, selling: bool = False) -> int:
    """Ask for a price."""
    return int(deeds.mod.trade.price(deeds.npc, "sam", item, count, selling))


def test_a_sale(deeds: Deeds) -> None:
    """Coins and bread change hands in one step, and the model is told the price."""
    assert deeds.act("trade", WANT, item="bread", count=3) == (
        True, "sold 3 breads for 7 mese crystal fragments",
    )  # fmt: skip
    assert (deeds.held(BREAD), deeds.held(COIN)) == (3, 83)
    assert (deeds.stock(BREAD), deeds.stock(COIN)) == (7, 57)


def test_a_purchase(deeds: Deeds) -> None:
    """The NPC pays less than it asks, out of its own purse."""
    deeds.put(BREAD, 5)
    assert deeds.act("trade", WANT, item="bread", count=5, deal="buy") == (
        True, "bought 5 breads for 5 mese crystal fragments",
    )  # fmt: skip
    assert (deeds.held(BREAD), deeds.held(COIN)) == (0, 95)
    assert (deeds.stock(BREAD), deeds.stock(COIN)) == (15, 45)


@pytest.mark.parametrize(
    ("args", "text", "why"),
    [
        ({"item": "bread", "count": 11}, "11 breads", "you have only 10 of 11 breads left"),
        (
            {"item": "bread", "count": 9},
            WANT,
            "the player spoke of only 5 breads; ask how many",
        ),
        ({"item": "apple"}, "apple", "you do not deal in apple"),
        ({"item": COIN}, WANT, "you do not deal in mese crystal fragment"),
        ({"item": "bread", "deal": "buy"}, WANT, "the player has no bread"),
        ({"item": "bread"}, "Nice weather.", "the player did not ask to buy bread"),
        ({"item": "bread", "deal": "buy"}, "Hm.", "the player did not ask to sell bread"),
        ({"item": "bread", "deal": "steal"}, WANT, "deal must be one of: sell, buy"),
    ],
)
def test_a_trade_is_refused_with_a_reason(
    deeds: Deeds, args: dict[str, object], text: str, why: str
) -> None:
    """What cannot be traded, or was not asked for, is refused in words for the model."""
    assert deeds.act("trade", text, **args) == (False, why)
    assert (deeds.held(COIN), deeds.stock(COIN), deeds.stock(BREAD)) == (90, 50, 10)


def test_who_cannot_pay_is_told_the_price() -> None:
    """A refusal for want of coins says what it costs and what the player has."""
    deeds = Deeds()
    deeds.put(COIN, 3)
    ok, why = deeds.act("trade", WANT, item="bread", count=2)
    assert not ok
    price, has = why.split("; ")
    assert price == "the price of 2 breads is 5 mese crystal fragments"
    assert has == "the player has only 3 of 5 mese crystal fragments"


def test_a_full_inventory_keeps_its_coins() -> None:
    """Where the goods do not fit, the coins stay too."""
    deeds = Deeds()
    deeds.player = deeds.world.player("sam", deeds.pos(0, 0, 0), 1)
    deeds.put(COIN, 90)
    ok, why = deeds.act("trade", WANT, item="bread")
    assert (ok, "no room" in why) == (False, True)
    assert (deeds.held(COIN), deeds.stock(BREAD)) == (90, 10)


def test_the_last_coins_make_room() -> None:
    """A place that the payment leaves empty counts as room for the goods."""
    deeds = Deeds()
    deeds.player = deeds.world.player("sam", deeds.pos(0, 0, 0), 1)
    deeds.put(COIN, 2)
    assert deeds.act("trade", WANT, item="bread")[0]
    assert (deeds.held(COIN), deeds.held(BREAD)) == (0, 1)


def test_an_empty_purse_buys_nothing(deeds: Deeds) -> None:
    """An NPC cannot pay more than it has."""
    deeds.npc["def"].purse = 2
    deeds.put(ELIXIR, 3)
    assert deeds.act("trade", "Buy my elixir!", item="elixir", count=3, deal="buy") == (
        False, "you have only 2 of 8 mese crystal fragments left",
    )  # fmt: skip
    assert deeds.held(ELIXIR) == 3


def test_scarce_is_dear(deeds: Deeds) -> None:
    """Every piece sold makes the next one dearer, and every piece bought makes it cheaper."""
    usual = price(deeds, count=5)
    deeds.mod.trade.add(deeds.npc, BREAD, -5)
    scarce = price(deeds, count=5)
    deeds.mod.trade.add(deeds.npc, BREAD, 15)
    plenty = price(deeds, count=5)
    assert plenty < usual < scarce


def test_mood_moves_prices_and_fades(deeds: Deeds) -> None:
    """Joy makes an NPC generous and anger dear, for some minutes."""
    usual = price(deeds, ELIXIR, 4)
    (listener,) = [one for one in deeds.mod.npcs.listeners.values() if one.name == "trade"]
    for _ in range(4):
        listener.on_emotion(deeds.npc, None, deeds.table({"name": "anger", "intensity": 1}))
    assert price(deeds, ELIXIR, 4) > usual
    deeds.world.now += 3600
    assert price(deeds, ELIXIR, 4) == usual
    for _ in range(4):
        listener.on_emotion(deeds.npc, None, deeds.table({"name": "joy", "intensity": 0.9}))
    assert price(deeds, ELIXIR, 4) < usual


def test_friends_pay_less(deeds: Deeds) -> None:
    """What an NPC thinks of a player moves the price, becomes their reputation, and is kept."""
    usual = price(deeds, ELIXIR, 4)
    deeds.mod.trade.change_will("alchemist", "sam", 5)
    assert price(deeds, ELIXIR, 4) < usual
    deeds.reload()
    assert price(deeds, ELIXIR, 4) < usual
    assert deeds.mod.trade.reputation(deeds.npc, "sam") == "friend"
    deeds.mod.trade.change_will("alchemist", "sam", -1.5)
    assert deeds.mod.trade.reputation(deeds.npc, "sam") == "enemy"
    assert deeds.mod.trade.reputation(deeds.npc, "bo") == "neutral"


def test_very_many_players_are_forgotten_in_order_of_care(deeds: Deeds) -> None:
    """The memory of players is bounded; friends stay in it."""
    deeds.mod.trade.change_will("alchemist", "sam", 0.5)
    for number in range(600):
        deeds.mod.trade.change_will("alchemist", f"p{number}", 0.01)
    known = deeds.mod.trade.load_table("will:alchemist")
    assert len(list(known.keys())) == 500
    assert deeds.mod.trade.will("alchemist", "sam") == 0.5


def test_stock_recovers_with_time_and_over_a_restart(deeds: Deeds) -> None:
    """A stock comes back one by one to what its definition says, and never beyond."""
    deeds.mod.trade.add(deeds.npc, BREAD, -6)
    deeds.reload()
    assert deeds.stock(BREAD) == 4
    deeds.world.clock += 250
    assert deeds.stock(BREAD) == 6
    deeds.world.clock += 100_000
    assert deeds.stock(BREAD) == 10
    deeds.mod.trade.add(deeds.npc, BREAD, 90)
    assert deeds.stock(BREAD) == 100
    deeds.world.clock += 100_000
    assert deeds.stock(BREAD) == 10


def test_a_clock_that_is_set_back_changes_nothing(deeds: Deeds) -> None:
    """Stocks go on from where they are when the machine's clock jumps."""
    deeds.mod.trade.add(deeds.npc, BREAD, -6)
    deeds.world.clock -= 500_000
    assert deeds.stock(BREAD) == 4
    deeds.world.clock += 250
    assert deeds.stock(BREAD) == 6


@pytest.mark.parametrize("text", ["", "{", "[]", '{"farming:bread": 7}', '{"farming:bread": {}}'])
def test_broken_storage_is_an_untouched_stock(text: str) -> None:
    """What cannot be read in mod storage is as if nothing had happened yet."""
    deeds = Deeds()
    deeds.world.store["stock:alchemist"] = text
    deeds.world.store["will:alchemist"] = text
    deeds.world.store["quests:sam"] = text
    assert (deeds.stock(BREAD), deeds.mod.trade.will("alchemist", "sam")) == (10, 0)
    assert deeds.act("complete_quest") == (False, "the player has no quest of yours")


def test_wares_are_told_in_plain_words(deeds: Deeds) -> None:
    """The facts of an NPC name what it can sell now, at the price of now."""
    (provider,) = [one for one in deeds.mod.facts.providers.npc.values() if one.name == "trade"]
    facts = deeds.plain(provider.fn(deeds.npc, deeds.player))
    assert facts == {
        "wares": [
            {"item": "elixir of breath", "price": 6, "stock": 4},
            {"item": "bread", "price": 2, "stock": 10},
        ],
        "currency": "mese crystal fragment",
    }
    deeds.mod.trade.add(deeds.npc, ELIXIR, -4)
    assert [one["item"] for one in deeds.plain(deeds.mod.trade.wares(deeds.npc, "sam"))] == [
        "bread"
    ]


def test_goods_of_other_games_are_left_out() -> None:
    """Goods that this game does not have, or with nonsense for a price, break nothing."""
    deeds = Deeds()
    goods = {"other:thing": {"price": 1}, BREAD: {"price": "x", "stock": -5}, APPLE: 3, 7: {}}
    odd = deeds.add_npc("odd", goods=goods, currency="other:coin")
    assert set(deeds.mod.trade.goods(odd)[0].keys()) == {BREAD, APPLE, COIN}
    assert deeds.mod.trade.stock(odd, BREAD) == 0
    assert deeds.errors() == []


DEALS = st.lists(
    st.tuples(
        st.sampled_from(["bread", "elixir"]),
        st.integers(1, 12),
        st.sampled_from(["buy", "sell"]),
        st.sampled_from(["joy", "anger", "fear"]),
    ),
    max_size=30,
)


@settings(max_examples=80, deadline=None)
@given(deals=DEALS, will=st.floats(-1, 1))
def test_no_sequence_of_trades_makes_a_player_richer(
    deals: list[tuple[str, int, str, str]], will: float
) -> None:
    """Buying and selling, in whatever mood, never brings back more coins than it cost."""
    deeds = Deeds()
    deeds.put(COIN, 99)
    deeds.mod.trade.change_will("alchemist", "sam", will)
    for item, count, deal, emotion in deals:
        deeds.mod.trade.felt("alchemist", emotion, 1)
        deeds.act("trade", f"buy and sell all {item}", item=item, count=count, deal=deal)
        assert min(deeds.stock(item) for item in (BREAD, ELIXIR, COIN)) >= 0
    for item in ("bread", "elixir"):
        held = deeds.held(BREAD if item == "bread" else ELIXIR)
        deeds.act("trade", f"sell all {item}", item=item, count=held, deal="buy")
    if not deeds.held(BREAD) and not deeds.held(ELIXIR):
        assert deeds.held(COIN) <= 99
    assert deeds.held(COIN) + deeds.stock(COIN) == 149
