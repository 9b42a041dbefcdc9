"""A whole Palaver for tests: a small world, a scripted backend, and the real server on a free port.

async with running_server(write_world(tmp_path)) as palaver:
    palaver.backend.replies = [["Good ", "evening."]]
    engine = await palaver.engine()
    await engine.start()
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palaver.errors import ConfigError
from palaver.testing.fake_engine import FakeEngine
from palaver.testing.scripted import ScriptedBackend, scripted_type

if TYPE_CHECKING:
    from palaver.chain.backend import BackendType
    from palaver.gateway import Gateway
    from palaver.server.app import Server

__all__ = ["RunningServer", "running_server", "write_world"]

TEMPLATE = """\
{% block identity %}You are {{ npc.name }}.{% endblock %}
{% block situation %}{% endblock %}
"""
PERSONA = """\
---
name: {name}
lang: en
facts:
  hunger: 0
last_words: "{last_words}"
---
{{% extends "npc.j2" %}}
{{% block situation %}}Hunger: {{{{ facts.hunger }}}}.{{% endblock %}}
"""
PERSONAS = {"vampire": ("Vlad", "The night is over."), "zombie": ("Brains", "Nnngh.")}
SETTINGS = """\
[server]
detect = false

[backends.local]
type = "scripted"

[tiers.elite]
chain = ["local"]
# Tests count what a backend is asked; those of the cache set a rule.
cache = false
# Tests wait for events, not for time: these only end what hangs.
first_text_ms = 20000
first_token_ms = 20000
stall_ms = 20000
total_ms = 30000

[tiers.boss]
chain = ["local"]
cache = false
first_text_ms = 20000
first_token_ms = 20000
stall_ms = 20000
total_ms = 30000
"""


def write_world(folder: Path) -> Path:
    """Write a small world that needs no other distribution, and return its folder.

    It has the personas `vampire` and `zombie`, and a chain of one scripted backend, `local`.

    Args:
        folder: Where; it is made if it is not there.
    """
    for name in ("personas", "templates"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "templates" / "npc.j2").write_text(TEMPLATE, encoding="utf-8")
    for persona, (name, last_words) in PERSONAS.items():
        text = PERSONA.format(name=name, last_words=last_words)
        (folder / "personas" / f"{persona}.md").write_text(text, encoding="utf-8")
    (folder / "palaver.toml").write_text(SETTINGS, encoding="utf-8")
    return folder


@dataclass
class RunningServer:
    """A server that runs, and what it is made of.

    Attributes:
        gateway: The gateway.
        server: The server.
    """

    gateway: Gateway
    server: Server
    _backend: ScriptedBackend
    _stack: AsyncExitStack = field(repr=False)

    @property
    def backend(self) -> ScriptedBackend:
        """What answers as `local`; set its `replies`.

        Raises:
            ConfigError: The world has no such backend, so its replies would never be heard.
        """
        if all(entry.backend is not self._backend for entry in self.gateway.backends.values()):
            raise ConfigError(
                f"this world has no scripted backend {self._backend.name!r}; pass "
                f'overrides={{"backends.{self._backend.name}.type": "scripted"}} to '
                "running_server, or write that table into its palaver.toml",
                key=f"backends.{self._backend.name}",
            )
        return self._backend

    @property
    def url(self) -> str:
        """The WebSocket address."""
        return self.server.url

    @property
    def http_url(self) -> str:
        """The HTTP address, without a path."""
        return self.server.http_url

    async def engine(self, *, ssl: ssl_module.SSLContext | None = None, **more: Any) -> FakeEngine:
        """Connect an engine, which is closed with the server; it has sent nothing yet.

        Args:
            ssl: TLS settings for a server with a certificate.
            more: As for `FakeEngine.connect`.
        """
        engine = await FakeEngine.connect(self.url, ssl=ssl, **more)
        self._stack.callback(engine.cut_all)
        return engine

    async def ready(self, npc: str = "vlad", persona: str = "vampire", **start: Any) -> FakeEngine:
        """Connect an engine, start its session and create an NPC.

        Args:
            npc: The NPC.
            persona: Its persona.
            start: Fields of `session.start`.
        """
        engine = await self.engine()
        await engine.start(**start)
        await engine.send({"type": "npc.upsert", "npc": npc, "persona": persona})
        await engine.ping()
        return engine


@asynccontextmanager
async def running_server(
    world: Path,
    *,
    backend: ScriptedBackend | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    backend_types: Iterable[BackendType] = (),
    plugins: Mapping[str, object] | None = None,
    trusted: bool = True,
) -> AsyncIterator[RunningServer]:
    """Run a server on a free port of this machine.

    Args:
        world: A world folder, such as `write_world` makes.
        backend: What answers as `local`; by default it says "Good evening."
        overrides: Settings by dotted key, such as `{"limits.turns": 1}`.
        environ: The environment; empty by default, and no installed plugin is loaded.
        backend_types: Types of backends besides `scripted`.
        plugins: Plugins by name: modules or objects whose methods are marked with `hookimpl`.
            Their register hooks are not called; for those write a file into the world's `plugins`.
        trusted: Whether the world is trusted, so that its plugins and tokens count.
    """
    from palaver.gateway import Gateway
    from palaver.server.app import Server
    from palaver.startup import prepare
    from palaver.world.trust import TrustStore

    backend = backend or ScriptedBackend("local", "Good evening.")
    # A list of its own: whatever whoever runs the tests trusts stays out.
    trust = TrustStore(world.parent / f"{world.name}-trusted.json")
    if trusted:
        trust.trust(world)
    parts = await prepare(
        world,
        overrides={"server.port": 0, **(overrides or {})},
        environ={"PALAVER_PLUGINS": "", **(environ or {})},
        backend_types=[scripted_type([backend]), *backend_types],
        trust=trust,
    )
    for name, plugin in (plugins or {}).items():
        parts.plugins.manager.register(plugin, name)
    async with Gateway(parts) as gateway, Server(gateway) as server, AsyncExitStack() as stack:
        yield RunningServer(gateway, server, backend, stack)
        # Sockets that were cut need a turn of the loop to be gone, or pytest sees them leak.
        await stack.aclose()
        await asyncio.sleep(0)
