"""Who there is to talk to, here or on another server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from palaver.errors import PalaverError
from palaver.hints import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from palaver.world.world import World

__all__ = ["People", "Person", "ask_server", "of_world"]

INFO_S = 10.0
"""Time for a server to say whom it serves, in seconds."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to talk to.

    Attributes:
        id: Name of the persona, and of its NPC in this chat.
        name: Name that players see.
        tier: Its tier, or empty where it is not known.
        facts: Its declared facts with their defaults, as `/facts` names them.
    """

    id: str
    name: str
    tier: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class People:
    """Everybody there is to talk to.

    Attributes:
        world: Name of the world.
        all: The people, in the order they are offered.
    """

    world: str
    all: tuple[Person, ...]

    def find(self, wanted: str) -> Person | None:
        """Return who is meant by a number, an id, a name, or the beginning of one."""
        wanted = wanted.strip().casefold()
        if wanted.isdecimal() and 1 <= int(wanted) <= len(self.all):
            return self.all[int(wanted) - 1]
        for person in self.all:
            if wanted in (person.id.casefold(), person.name.casefold()):
                return person
        begun = [
            person
            for person in self.all
            if wanted
            and (
                person.id.casefold().startswith(wanted)
                or any(word.startswith(wanted) for word in person.name.casefold().split())
            )
        ]
        return begun[0] if len(begun) == 1 else None

    def unknown(self, wanted: str) -> str:
        """Return what to say to somebody who asked for a person there is not."""
        hint = did_you_mean(wanted, [person.id for person in self.all], otherwise="there are")
        return f"there is no {wanted!r} in {self.world}{hint}"


def of_world(world: World) -> People:
    """Return the personas of a world."""
    people = []
    for persona in world.personas.values():
        facts: dict[str, Any] = dict(persona.facts)
        facts.update({f"player.{name}": value for name, value in persona.player_facts.items()})
        facts.update({f"game.{name}": value for name, value in persona.game_facts.items()})
        people.append(Person(persona.id, persona.front.name, persona.front.tier or "", facts))
    return People(world.name, tuple(sorted(people, key=lambda person: person.id)))


async def ask_server(url: str, token: str | None) -> People:
    """Ask a running server for its personas.

    Args:
        url: Its WebSocket address.
        token: Where it asks for one.

    Raises:
        PalaverError: It cannot be reached, or does not answer as a Palaver server does.
    """
    import aiohttp

    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    info = urlunsplit((scheme, parts.netloc, "/v1/info", "", ""))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            asyncio.timeout(INFO_S),
            aiohttp.ClientSession(trust_env=False) as http,
            http.get(info, headers=headers, allow_redirects=False) as response,
        ):
            data = await response.json()
            if response.status != 200:
                problem = data.get("error", {}).get("message", f"HTTP {response.status}")
                raise PalaverError(f"the server at {url} says: {problem}")
            personas = {str(key): str(name) for key, name in data["personas"].items()}
            return People(
                str(data["world"]), tuple(Person(*pair) for pair in sorted(personas.items()))
            )
    except (aiohttp.ClientConnectionError, TimeoutError) as err:
        raise PalaverError(
            f"no server answers at {url} ({_why(err)}); start one with `palaver serve`, "
            "or leave --url out"
        ) from err
    except (aiohttp.ClientError, ValueError, KeyError, AttributeError) as err:
        raise PalaverError(
            f"what answers at {url} is no Palaver server; check the address"
        ) from err


def _why(err: Exception) -> str:
    return str(err) or "too slow"
