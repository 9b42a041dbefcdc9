"""A gateway without files and sockets, for tests that run very many turns.

    local = ScriptedBackend("local", "Good evening.")
    async with make_gateway([local], chain=["local"], data_dir=tmp_path) as gateway:
        sink = Sink()
        result = await gateway.ask("Hello.", persona="tester", sink=sink)
        assert sink.text == result.text == "Good evening."

It runs in virtual time as well; see `palaver.testing.clock`. For what engines see of a server, use
`palaver.testing.server`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from palaver.chain.backend import Backend, BackendSettings, BackendType
from palaver.config.models import Settings
from palaver.gateway import Gateway, Parts
from palaver.memory import Exchange
from palaver.plugins import Plugins, make_plugin_manager
from palaver.testing.turns import make_persona, make_world

if TYPE_CHECKING:
    from palaver.world.persona import Persona
    from palaver.world.watch import WorldStore
    from palaver.world.world import World

__all__ = ["Forgetful", "Frame", "Sink", "make_gateway"]

CAPABILITIES = frozenset({"sentence", "emotion", "action"})


@dataclass(frozen=True, slots=True)
class Frame:
    """A message of a turn.

    Attributes:
        at: `loop.time()` when it was sent, in seconds.
        type: Its type.
        fields: All of it.
    """

    at: float
    type: str
    fields: Mapping[str, Any]


class Sink:
    """Keeps the messages of one turn, with their times.

    Attributes:
        frames: The messages.
        dones: How many of them were `turn.done`.
    """

    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.dones = 0

    def emit(self, head: str, tail: str) -> None:
        """Keep a message."""
        fields = json.loads(f"{head}0{tail}")
        self.frames.append(Frame(asyncio.get_running_loop().time(), fields["type"], fields))

    def end(self, head: str, tail: str) -> None:
        """Keep the last one."""
        self.emit(head, tail)
        self.dones += 1

    def of(self, type: str) -> list[Frame]:
        """Return the messages of a type."""
        return [frame for frame in self.frames if frame.type == type]

    @property
    def text(self) -> str:
        """The deltas, joined."""
        return "".join(frame.fields["text"] for frame in self.of("turn.delta"))


class Forgetful:
    """A memory that keeps nothing."""

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    def recall(self, *_: Any) -> Sequence[Exchange]:
        """Return nothing."""
        return ()

    def remember(self, *_: Any, **__: Any) -> None:
        """Forget it at once."""

    def last_save(self, game: str) -> str | None:
        """Return None: every game is new."""
        return None

    def play(self, game: str, save: str) -> None:
        """Forget it at once."""

    async def mark(self, game: str, save: str, new_save: str) -> None:
        """Forget it at once."""

    async def flush(self) -> None:
        """Nothing to write."""


class _Still:
    """A world that never changes."""

    def __init__(self, world: World) -> None:
        self.current = world

    async def watch(self) -> None:
        await asyncio.Event().wait()


@cache
def _no_plugins() -> Plugins:
    return make_plugin_manager(environ={"PALAVER_PLUGINS": ""}, quiet=True)


def make_gateway(
    backends: Iterable[Backend],
    *,
    chain: Sequence[str],
    data_dir: Path,
    instant: Iterable[str] = ("static",),
    persona: Persona | None = None,
    tier: Mapping[str, Any] | None = None,
    **settings: Mapping[str, Any],
) -> Gateway:
    """Return a gateway that is not started yet.

    Args:
        backends: The backends.
        chain: The chain of the only tier, `test`.
        data_dir: An empty folder.
        instant: Names of those that answer from memory.
        persona: The only persona; by default it is called `tester`.
        tier: More keys of the tier.
        settings: More tables of the settings, such as `limits={"hedge_share": 0.5}`.
    """
    persona = persona or make_persona()
    keys = {"chain": list(chain), "memory": 0, **(tier or {})}
    tables = {
        "default_tier": "test",
        "tiers": {"test": keys},
        # Its baselines are kept in files, and nobody looks at them here.
        "quality": {"watch": False},
        **settings,
    }
    made = list(backends)
    quick = frozenset(instant)

    def kind(backend: Backend) -> BackendType:
        def create(*_: object) -> Backend:
            return backend

        return BackendType("test", BackendSettings, create, instant=backend.name in quick)

    return Gateway(
        Parts(
            settings=Settings.model_validate(tables),
            worlds=cast("WorldStore", _Still(make_world(persona))),
            plugins=_no_plugins(),
            backends={one.name: (one, kind(one)) for one in made},
            memory=Forgetful(),
            data_dir=data_dir,
        )
    )
