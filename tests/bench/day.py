"""A day of 1,000 players, simulated: who answers, what it costs, and what players hear again.

    python tests/bench/day.py                       the table, for s from 0.6 to 1.2
    python tests/bench/day.py --svg docs/images/day.svg

Nothing is sent anywhere. The dialogue cache, its keys, the classifier of intents, the tiers, first
meetings, the price table and the spend governor are Palaver's own; a clock that is moved by hand
stands in for the day, and models are taken to answer something new each time they are asked. See
docs/explanation/cost.md for what is assumed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import heapq
import json
import random
import sys
from bisect import bisect_left
from collections import deque
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from curve import draw
from utterances import vocabulary

from palaver.cache import DialogueCache
from palaver.chain.backend import BackendSettings, BackendType, GenerateRequest, Sampling
from palaver.config.load import load_settings
from palaver.game import Branch, Npc, Player
from palaver.memory import Exchange
from palaver.plugins import make_plugin_manager
from palaver.prompt.sections import Message
from palaver.spend.governor import Governor, Reservation
from palaver.spend.prices import load_prices
from palaver.startup import locate
from palaver.store import MemoryStore
from palaver.turn.intent import classify
from palaver.turn.meeting import meet
from palaver.turn.model import ServedBy, Turn
from palaver.world.loader import load_world

DAY = 20_778 * 86_400.0
EXCHANGES = 4
"""Exchanges in a conversation, on average."""
MIX = {"grunt": 0.42, "elite": 0.30, "boss": 0.10, "story": 0.18}
"""With whom players talk: the mission sends one dialogue in five to the cloud."""
LATE = {"local": 0.02, "fast": 0.01, "premium": 0.01}
"""How often a model does not answer in time or at all, so that the next one is asked."""
MODELS = {"fast": "gpt-6-luna", "premium": "claude-sonnet-5-5"}
PROMPT_TOKENS = 1_000
"""The example world's prompts have 3,600 to 4,200 characters before anything was said."""
REPLY_TOKENS = {"grunt": 25, "elite": 60, "boss": 90, "story": 120}
ZONES = ("harbour", "old town", "clinic", "sewers", "rooftops", "plague ward")
QUESTS = 8
"""Stages of the story; a player goes through all of them in the day."""
RULES: dict[str, dict[str, Any] | None] = {
    "shipped": None,
    "sparse": None,
    "frugal": {"facts": ["intent", "mood", "lang"]},
    "words": {"facts": ["utterance"], "exact": [], "variants": 1},
}
"""Which facts matter: the rules of the shipped tiers; the same, where the engine tells neither
relationship nor stage of the story; in all tiers intent and mood alone; the very words alone, with
one reply each."""
RECENT = 10
"""A reply that a player heard within so many is one that they notice."""


class Cloud(BackendSettings):
    """Settings of a paid model."""

    model: str = ""


@dataclass
class Outcome:
    """What a day came to.

    Attributes:
        s: Exponent of the Zipf law.
        rule: Which facts matter.
        turns: Dialogues.
        served: How many of them by whom: `cache`, `local`, `cloud`, `static`.
        usd: What the cloud cost.
        cloud_only_usd: What it would have cost had the cloud answered what a local model did.
        again: Replies that the player had heard before that day.
        noticed: Those that were among the player's last ten.
        situations: Keys in the cache in the evening.
        last_hour: Share of the cache in the last hour.
        made: Replies that models made in the background, so that the cache may say them.
    """

    s: float
    rule: str
    turns: int = 0
    served: dict[str, int] = field(
        default_factory=lambda: {"cache": 0, "local": 0, "cloud": 0, "static": 0}
    )
    usd: float = 0.0
    cloud_only_usd: float = 0.0
    again: int = 0
    noticed: int = 0
    situations: int = 0
    last_hour: float = 0.0
    made: int = 0

    def share(self, who: str) -> float:
        """Return the share of dialogues that somebody served."""
        return self.served[who] / self.turns


class Zipf:
    """Draws ranks: the n-th is drawn in proportion to 1 / n ** s."""

    def __init__(self, size: int, s: float, dice: random.Random) -> None:
        self._sums = list(accumulate((rank + 1) ** -s for rank in range(size)))
        self._dice = dice

    def draw(self) -> int:
        """Return a rank, from 0."""
        return bisect_left(self._sums, self._dice.random() * self._sums[-1])


class Met:
    """A memory that knows the last exchange of each two."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, str | None], Exchange] = {}

    def recall(self, game: str, save: str, npc: str, other: str | None, n: int) -> list[Exchange]:
        """Return the last exchange, if there was one."""
        found = self.last.get((npc, other))
        return [found] if found else []


class Person:
    """A player through the day."""

    def __init__(self, number: int, dice: random.Random) -> None:
        self.player = Player(f"player{number}", name=f"Hero{number}")
        self.pace = dice.uniform(0.6, 1.4)
        self.likes: dict[str, float] = {}
        self.heard: set[str] = set()
        self.recent: deque[str] = deque(maxlen=RECENT)
        self.zone = dice.choice(ZONES)
        self.npc: Npc | None = None
        self.left = 0


class Day:
    """One simulated day.

    Args:
        s: Exponent of the Zipf law.
        rule: Which facts matter.
        options: The command line.
    """

    def __init__(self, s: float, rule: str, options: argparse.Namespace) -> None:
        self.dice = random.Random(options.seed)
        self.options = options
        self.now = DAY
        self.result = Outcome(s, rule)
        overrides: dict[str, Any] = {"spend.usd_per_day": options.usd_per_day}
        wanted = RULES[rule]
        if wanted is not None:
            overrides.update({f"tiers.{tier}.cache": wanted for tier in MIX})
        self.settings = load_settings(None, overrides=overrides)
        self.entries = {name: self._entry(name) for name in ("local", "fast", "premium", "static")}
        prices = load_prices()
        self.prices = {name: prices.find(model) for name, model in MODELS.items()}
        self.governor = Governor(self.settings, self.entries, prices=prices, clock=self._clock)
        self.cache = DialogueCache(self.settings, self.entries, MemoryStore(), clock=self._clock)
        self.cache._dice = self.dice
        plugins = make_plugin_manager(quiet=True)
        folder = locate("body-broker", plugins).folder
        self.world = load_world(folder, plugins.template_folders, trusted=True)
        self.personas = {
            tier: [
                one
                for one in self.world.personas.values()
                if (one.front.tier or self.settings.default_tier) == tier
            ]
            for tier in MIX
        }
        self.lines = {
            name: [f"{name}/{line.id}" for line in lines]
            for name, lines in self.world.lines.items()
        }
        self.met = Met()
        self.words = vocabulary(options.vocabulary, options.seed)
        self.intents = [classify(text) for text in self.words]
        self.zipf = Zipf(len(self.words), s, self.dice)
        self.prompt = (Message("user", "x" * (4 * PROMPT_TOKENS)),)

    async def run(self) -> Outcome:
        """Live through it."""
        self.cache.start(self._rehearse)
        try:
            return await self._live()
        finally:
            await self.cache.close()

    async def _live(self) -> Outcome:
        people = [Person(number, self.dice) for number in range(self.options.players)]
        length_s = self.options.hours * 3_600
        gap_s = 3_600 / self.options.dialogues
        queue = [(DAY + self.dice.random() * gap_s, number) for number in range(len(people))]
        heapq.heapify(queue)
        last_hour = [0, 0]
        while queue and queue[0][0] < DAY + length_s:
            self.now, number = heapq.heappop(queue)
            cached = await self._exchange(people[number])
            if self.now > DAY + length_s - 3_600:
                last_hour[0] += cached
                last_hour[1] += 1
            heapq.heappush(queue, (self.now + self.dice.expovariate(1 / gap_s), number))
        self.result.usd = self.governor.spent().get("all", {}).get("", 0.0)
        self.result.situations = self.cache.situations
        self.result.last_hour = last_hour[0] / max(1, last_hour[1])
        return self.result

    async def _exchange(self, person: Person) -> bool:
        """Let a player say something; returns whether the cache answered."""
        turn, rank = self._turn(person)
        self.result.turns += 1
        if turn.tier.first_meeting is not None:
            await meet(turn, self.settings.tiers, self.met)  # type: ignore[arg-type]  # all it asks
        variant = await self.cache.lookup(turn)
        if variant is not None:
            turn.result.cached = True
            self._heard(turn, person, variant.id, "cache")
            return True
        who, said = self._ask(turn, rank)
        _spoken(turn, who, said, self.entries[who].type.name)
        self.cache.keep(turn)
        kind = "cloud" if who in MODELS else who
        self._heard(turn, person, said, kind)
        # What the cache has to make in the background is made before the next one speaks.
        made = -1
        while made != self.result.made:
            made = self.result.made
            for _ in range(4):
                await asyncio.sleep(0)
        return False

    async def _rehearse(self, turn: Turn) -> None:
        """Let a model make a reply that is nobody's, at its price."""
        self.result.made += 1
        who, said = self._ask(turn, -self.result.made)
        _spoken(turn, who, said, self.entries[who].type.name)

    def _turn(self, person: Person) -> tuple[Turn, int]:
        dice = self.dice
        if person.npc is None or not person.left:
            if dice.random() < 0.25:
                person.zone = dice.choice(ZONES)
            tier = dice.choices(list(MIX), list(MIX.values()))[0]
            persona = dice.choice(self.personas[tier])
            # Grunts and elites stand everywhere; a boss or a character of the story is one.
            where = f"{persona.id}@{person.zone}" if tier in ("grunt", "elite") else persona.id
            person.npc = Npc(where, persona.id, zone=person.zone)
            person.left = 1 + int(dice.expovariate(1 / (EXCHANGES - 1)))
        person.left -= 1
        npc = person.npc
        persona = self.world.personas[npc.persona]
        tier_name = persona.front.tier or self.settings.default_tier
        rank = self.zipf.draw()
        liking = person.likes.get(persona.id, 0.0) + dice.gauss(0.3, 2.0)
        person.likes[persona.id] = liking
        share = (self.now - DAY) / (self.options.hours * 3_600)
        stage = min(QUESTS - 1, int(share * person.pace * QUESTS))
        # One mood in five is the other one of its persona.
        mood = persona.front.mood if dice.random() < 0.8 else "angry"
        turn = Turn(
            id="t",
            game="day",
            branch=Branch("main"),
            npc=npc,
            player=person.player,
            persona=persona,
            world=self.world,
            tier=self.settings.tiers[tier_name],
            tier_name=tier_name,
            text=self.words[rank],
            intent=self.intents[rank],
            mood=mood,
        )
        past = self.met.last.get((npc.id, turn.counterpart_key))
        turn.history = (past,) if past is not None else ()
        told: dict[str, Any] = {}
        if self.result.rule != "sparse":
            told = {"relationship": liking, "quest": f"q{stage}"}
        turn.variables = {
            "npc": {"name": persona.front.name},
            "facts": dict(persona.facts),
            "player": {**persona.player_facts, **told},
            "game": dict(persona.game_facts),
        }
        return turn, rank

    def _ask(self, turn: Turn, rank: int) -> tuple[str, str]:
        """Ask down the chain as the policy has it; returns who answered what."""
        tokens = min(turn.tier.max_tokens, REPLY_TOKENS[turn.tier_name])
        for name in turn.tier.chain:
            entry = self.entries.get(name)
            if entry is None:
                continue
            if entry.type.instant:
                lines = self.lines.get(turn.persona.front.lines or turn.persona.id, ["..."])
                return name, self.dice.choice(lines)
            request = GenerateRequest(turn, self.prompt, Sampling(max_tokens=turn.tier.max_tokens))
            held = self.governor.reserve(turn, name, request)
            if not isinstance(held, Reservation):
                continue
            if self.dice.random() < LATE[name]:
                # What is too late is cancelled, and its prompt is paid for all the same.
                self.governor.settle(held, PROMPT_TOKENS, 0)
                continue
            cost = self.governor.settle(held, PROMPT_TOKENS, tokens)
            fast = self.prices["fast"]
            assert fast is not None
            self.result.cloud_only_usd += cost or fast.cost(PROMPT_TOKENS, tokens)
            # As long as a reply is, for the memory that the cache takes.
            return name, f"reply {self.result.turns} to {rank} {'x' * 4 * tokens}"
        raise AssertionError("a chain without its end")

    def _heard(self, turn: Turn, person: Person, text: str, who: str) -> None:
        # A reply from the cache has the id of its text; let a new one have the same.
        known = text if who in ("cache", "static") else _id(text)
        self.result.served[who] += 1
        self.result.again += known in person.heard
        self.result.noticed += known in person.recent
        person.heard.add(known)
        person.recent.append(known)
        exchange = Exchange(turn.npc.id, turn.counterpart_key, turn.text, False, known, self.now)
        self.met.last[turn.npc.id, turn.counterpart_key] = exchange

    def _clock(self) -> float:
        return self.now

    def _entry(self, name: str) -> Any:
        paid, instant = name in MODELS, name == "static"
        settings = Cloud(type=name, model=MODELS.get(name, ""))
        kind = BackendType(name, Cloud, lambda *_: None, paid=paid, instant=instant)  # type: ignore[arg-type]  # never made
        return SimpleNamespace(
            backend=SimpleNamespace(name=name, settings=settings), type=kind, servers=[]
        )


def _spoken(turn: Turn, who: str, said: str, kind: str) -> None:
    turn.raw, turn.result.text = said, said
    turn.result.served_by = ServedBy(who, kind)


def _id(text: str) -> str:
    from palaver.cache.shelf import text_id

    return text_id(text)


def table(found: list[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    rows = [
        (
            "| s | rule | cache | in the last hour | local | cloud | static | cloud, a day "
            "| all by the cloud, a day | heard again | within ten | situations | made |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        shares = " | ".join(f"{one.share(who):.1%}" for who in ("local", "cloud", "static"))
        rows.append(
            f"| {one.s:.1f} | {one.rule} | {one.share('cache'):.1%} | {one.last_hour:.1%} "
            f"| {shares} | ${one.usd:,.2f} | ${one.cloud_only_usd:,.2f} "
            f"| {one.again / one.turns:.1%} | {one.noticed / one.turns:.1%} "
            f"| {one.situations:,} | {one.made / one.turns:.1%} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Run the days that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--s", type=float, nargs="*", default=[n / 10 for n in range(6, 13)])
    parser.add_argument("--rules", nargs="*", choices=list(RULES), default=list(RULES))
    parser.add_argument("--players", type=int, default=1_000)
    parser.add_argument("--hours", type=float, default=12)
    parser.add_argument("--dialogues", type=float, default=20, help="of a player in an hour")
    parser.add_argument("--vocabulary", type=int, default=10_000, help="different utterances")
    parser.add_argument("--usd-per-day", type=float, default=None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--svg", type=Path, help="draw the curve there")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--read", type=Path, nargs="*", help="show figures that were written")
    options = parser.parse_args()
    found = live(options) if options.read is None else read(options.read)
    print(table(found))
    if options.svg is not None:
        lines = {
            rule: [(one.s, one.share("cache")) for one in found if one.rule == rule]
            for rule in dict.fromkeys(one.rule for one in found)
        }
        options.svg.write_text(draw(lines, marks=[0.80, 0.95]), encoding="utf-8")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


def read(files: list[Path]) -> list[Outcome]:
    """Return what was written with `--json`."""
    return [Outcome(**one) for file in files for one in json.loads(file.read_text())]


def live(options: argparse.Namespace) -> list[Outcome]:
    """Live through the days that the command line asks for."""
    # Nothing of a day goes in circles, and the collector would look at all of it again and again.
    gc.disable()
    found: list[Outcome] = []
    for rule in options.rules:
        for s in options.s:
            found.append(asyncio.run(Day(s, rule, options).run()))
            print(f"{rule} {s:.1f}: {found[-1].share('cache'):.1%} cached", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
