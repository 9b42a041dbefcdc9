"""A text adventure whose characters speak through Palaver.

    palaver serve body-broker
    python examples/python_engine/engine.py [ws://127.0.0.1:8765]

It shows everything an engine does: it tells the server who is there and what is true, says what
the player says, shows the words as they come, carries out what characters do, and lets things
happen that they react to. Only the Python client is needed.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field

import palaver
from palaver.messages import TurnAction, TurnDelta, TurnEmotion

HELP = """\
  go PLACE    walk to another place: {places}
  draw sword  see what happens
  wait        until night falls, or morning comes
  bag         what you carry
  quit        leave the city
Anything else you say aloud to whoever is there."""

GIVE = {
    "name": "give",
    "description": "Hand the player something you own.",
    "args": {
        "type": "object",
        "properties": {"item": {"type": "string", "maxLength": 40}},
        "required": ["item"],
    },
}
"""What characters can do in this game; a model is told so, and sends the arguments."""


@dataclass(frozen=True)
class Place:
    """Somewhere to be.

    Attributes:
        view: What one sees there.
        npc: Who is there: an id of our own.
        persona: Who that is in the world that the server serves.
    """

    view: str
    npc: str
    persona: str


PLACES = {
    "hotel": Place("A ballroom by candlelight. A lady looks up.", "lady", "vampire"),
    "tunnel": Place("Water to the ankles. Something sways in the dark.", "dead-7", "zombie"),
    "market": Place("Ice chests, a ledger, a man with a kind smile.", "broker", "broker"),
}


@dataclass
class Game:
    """The whole game: where the player is, what they carry, and who listens.

    Attributes:
        client: The connection to Palaver.
        player: The player's id and name.
        place: Where the player is.
        night: Whether it is night.
        bag: What the player carries.
    """

    client: palaver.Client
    player: str = "Ada"
    place: str = "hotel"
    night: bool = False
    bag: list[str] = field(default_factory=lambda: ["a sword"])

    async def begin(self) -> None:
        """Tell the server who is in the game and what its characters can do."""
        for name, place in PLACES.items():
            await self.client.upsert_npc(place.npc, persona=place.persona, zone=name)
        await self.client.upsert_player(self.player, name=self.player, zone=self.place)
        await self.client.update_facts({"night": self.night})
        await self.client.set_actions([GIVE])

    async def perform(self, line: str) -> None:
        """Do what the player typed."""
        verb, _, rest = line.partition(" ")
        if verb == "go" and rest in PLACES:
            await self.go(rest)
        elif verb == "wait":
            self.night = not self.night
            await self.client.update_facts({"night": self.night})
            print("Night falls." if self.night else "Morning comes.")
        elif line == "draw sword":
            await self.happens(f"{self.player} draws a sword.")
        elif verb == "bag":
            print("You carry " + ", ".join(self.bag) + ".")
        elif verb == "help":
            print(HELP.format(places=", ".join(PLACES)))
        else:
            await self.say(line)

    async def go(self, place: str) -> None:
        """Walk to another place."""
        self.place = place
        await self.client.upsert_player(self.player, zone=place)
        print(PLACES[place].view)

    async def say(self, text: str) -> None:
        """Say something to whoever is here, and hear the answer."""
        npc = PLACES[self.place].npc
        await self.hear(await self.client.say(npc, text, player=self.player))

    async def happens(self, what: str) -> None:
        """Let something happen that whoever is here reacts to."""
        npc = PLACES[self.place].npc
        await self.hear(await self.client.cue(npc, what, player=self.player))

    async def hear(self, turn: palaver.client.ClientTurn) -> None:
        """Show a reply as it comes, and carry out what the character does."""
        async for event in turn:
            match event:
                case TurnEmotion(name=name) if name != "neutral":
                    print(f"({name}) ", end="", flush=True)
                case TurnDelta(text=text):
                    print(text, end="", flush=True)
                case TurnAction(name="give", args=args):
                    self.bag.append(args["item"])
                    print(f" [you get {args['item']}]", end="", flush=True)
                    await turn.action_result(event.call, ok=True)
        print()


async def play(url: str) -> None:
    """Play until the player leaves or there is nothing more to read.

    Args:
        url: Address of the Palaver server.
    """
    async with palaver.connect(url, game="adventure", client_name="adventure") as client:
        game = Game(client)
        await game.begin()
        print(PLACES[game.place].view, "Type help for what you can do.")
        # In a thread, so that the connection stays alive while the player thinks.
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip() == "quit":
                break
            try:
                await game.perform(line.strip())
            except palaver.ServerError as refused:
                print(f"(nobody answers: {refused.message})")


if __name__ == "__main__":
    try:
        asyncio.run(play(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765"))
    except palaver.ServerError as error:
        sys.exit(error.message)
    except KeyboardInterrupt:
        sys.exit()
