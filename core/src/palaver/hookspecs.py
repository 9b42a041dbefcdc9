"""Every hook a plugin can implement; these docstrings are the reference.

A plugin is a module with functions of these names, marked with `hookimpl`:

    from palaver import hookimpl

    @hookimpl
    def palaver_build_context(turn):
        return {"moon": "full"}

A function may leave out arguments it does not need. A plugin that raises is named in the log and
in the turn's trace, and everything goes on without it.

What a plugin has to tell goes into the log, as in the examples below, where `log` is
`logging.getLogger(__name__)`. Leave `print` out: `palaver chat --say` promises that nothing but
the reply is written to standard output.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from palaver.bridge import Bridge
    from palaver.chain.backend import BackendType
    from palaver.chain.checks import Checker
    from palaver.plugins import PluginSettings, WorldRegistry
    from palaver.prompt.sections import Prompt
    from palaver.session_info import SessionInfo
    from palaver.store import StoreType
    from palaver.turn.events import AsyncFilter, Filter
    from palaver.turn.model import Turn, TurnResult

__all__ = ["hookimpl"]

_hookspec = pluggy.HookspecMarker("palaver")
hookimpl = pluggy.HookimplMarker("palaver")
"""Marks a function as the implementation of a hook."""


@_hookspec
def palaver_register_backends(register: Callable[[BackendType], None]) -> None:
    """Offer backend types, for `type = "..."` in `palaver.toml`.

    Called once on start, before the configuration is read. All plugins are called. Synchronous;
    no I/O. If it raises, the plugin is named in the log and none of its types exist.

    Args:
        register: Takes one `BackendType`; raises `PluginError` where the name is taken.

    Example:
        @hookimpl
        def palaver_register_backends(register):
            register(BackendType("echo", EchoSettings, EchoBackend))

    Added in 0.1.
    """


@_hookspec
def palaver_register_stores(register: Callable[[StoreType], None]) -> None:
    """Offer stores, for `[store] type = "..."`: where gateways share cache and spend.

    Called once on start, before the configuration is read. All plugins are called. Synchronous;
    no I/O.

    Args:
        register: Takes one `StoreType`; raises `PluginError` where the name is taken.

    Example:
        @hookimpl
        def palaver_register_stores(register):
            register(StoreType("redis", RedisSettings, RedisStore))

    Added in 0.1.
    """


@_hookspec
def palaver_register_settings(register: Callable[[PluginSettings], None]) -> None:
    """Tell what may stand in `[plugins.NAME]` of `palaver.toml`.

    Called once on start, before the settings of plugins are checked: a wrong key is told with
    file and line, by `palaver check` too. All plugins are called. Synchronous; no I/O. Read the
    table in a bridge's `start`, with `Model.model_validate(gateway.settings.plugins.of(NAME))`.
    A world that is not trusted has no such tables.

    Args:
        register: Takes one `PluginSettings`; raises `PluginError` where the name is taken.

    Example:
        @hookimpl
        def palaver_register_settings(register):
            register(PluginSettings("moon", MoonSettings))

    Added in 0.1.
    """


@_hookspec
def palaver_register_bridges(register: Callable[[Bridge], None]) -> None:
    """Offer bridges, which connect one engine each.

    Called once on start. All plugins are called. Synchronous; no I/O: a bridge gets its own
    `start` and `close`, which are async, and names the HTTP routes it adds to the one port.

    Args:
        register: Takes one `Bridge`.

    Example:
        @hookimpl
        def palaver_register_bridges(register):
            register(LuantiBridge())

    Added in 0.1.
    """


@_hookspec
def palaver_register_world(register: WorldRegistry) -> None:
    """Offer base templates and example worlds.

    Called once on start. All plugins are called. Synchronous; no I/O. A template in the world's
    own `templates` folder comes before one of the same name from a plugin.

    Args:
        register: `register.templates(folder)` adds a folder of Jinja templates;
            `register.world(name, folder)` adds an example world, which commands take by name.

    Example:
        @hookimpl
        def palaver_register_world(register):
            register.templates(Path(__file__).parent / "templates")

    Added in 0.1.
    """


@_hookspec
def palaver_register_commands(register: Callable[[click.Command], None]) -> None:
    """Add commands to `palaver`.

    Called once whenever the command line starts, so import what is heavy inside the command.
    All plugins are called. Synchronous; no I/O. A name that is taken is refused and logged.

    Args:
        register: Takes one `click.Command` or `click.Group`.

    Example:
        @hookimpl
        def palaver_register_commands(register):
            register(click.Command("hello", callback=lambda: click.echo("Hello.")))

    Added in 0.1.
    """


@_hookspec
def palaver_turn_received(turn: Turn) -> Awaitable[None] | None:
    """Look at a turn before anything else does.

    Called once per turn; the core's own implementation, which sets intent and language, comes
    first, then the others in the order of registration, one after another. May change
    `turn.text`, set `turn.intent`, `turn.mood` or `turn.tier_name`, or call
    `turn.refuse(reason)`: then no backend is asked, no other plugin either, the persona's last
    words are spoken, and nothing of it is remembered. May be async; each implementation has
    `limits.hook_ms` (250 ms) and is left behind when it takes longer. A plain function cannot be
    left behind: one that blocks holds up the whole server, and is named in the log.

    Args:
        turn: The turn, with NPC, player, persona and tier; `turn.variables` holds the facts, as
            templates see them.

    Returns:
        Nothing, or an awaitable of nothing.

    Example:
        @hookimpl
        def palaver_turn_received(turn):
            if turn.intent == "threat":
                turn.mood = "afraid"

    Added in 0.1.
    """


@_hookspec
def palaver_build_context(
    turn: Turn,
) -> Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None:
    """Add what templates and conditions can use as `context`.

    Called once per turn, all plugins side by side. The mappings are merged; of the same key the
    plugin registered later wins. May be async; each has `limits.hook_ms` (250 ms), and one that
    is late or raises is left out and named in the turn's trace.

    Args:
        turn: The turn, with intent, mood and history; read only.

    Returns:
        A mapping of names to plain data (text, numbers, lists, mappings), or None.

    Example:
        @hookimpl
        def palaver_build_context(turn):
            return {"moon": "full" if turn.variables["game"].get("day") == 28 else "dark"}

    Added in 0.1.
    """


@_hookspec
def palaver_prompt(turn: Turn, prompt: Prompt) -> None:
    """Edit the prompt.

    Called once per turn, after the persona's template is rendered, in the order of registration.
    Add, change or remove sections in place. Synchronous and quick: no I/O. Put what changes from
    turn to turn at `Place.MOMENT`, or the model server's prefix cache is lost.

    Args:
        turn: The turn; read only.
        prompt: The prompt, see `palaver.Prompt`.

    Example:
        @hookimpl
        def palaver_prompt(turn, prompt):
            prompt.add(Section("weather", "user", "It rains.", 20, "weather", Place.MOMENT))

    Added in 0.1.
    """


@_hookspec(firstresult=True)
def palaver_route(turn: Turn, chain: Sequence[str]) -> Sequence[str] | None:
    """Choose the backends for one turn.

    Called once per turn, after the prompt is built. The plugin registered last is asked first;
    it stops at the first result that is not None, and the tier's chain is used if all return
    None. Names that are not configured are skipped. Synchronous and quick: no I/O.

    Args:
        turn: The turn, with tier, prompt and facts; read only.
        chain: Names of the tier's configured backends, in order.

    Returns:
        Backend names in the order to try, or None to leave the choice to others.

    Example:
        @hookimpl
        def palaver_route(turn, chain):
            return ["static"] if turn.priority == "background" else None

    Added in 0.1.
    """


@_hookspec
def palaver_check(turn: Turn) -> Checker | None:
    """Return a checker of what a backend says, before the player sees it.

    Called once for each backend that speaks, after the core's own checks (empty, a refusal, the
    prompt leaking, wrong language, a line this player just heard). The opening of a reply is held
    back, for at most 80 characters or 500 ms, until every checker has said `OK` or `GO`. An
    objection hands over to the next backend; one that comes after text was shown ends the line
    at its sentence. Authored lines are not checked. Synchronous and quick: no I/O. One that
    raises is taken out.

    Args:
        turn: The turn; read only.

    Returns:
        A function `check(text, whole)`: `text` is everything this backend wants to show so far,
        without tags, and `whole` says that no more comes. It returns `OK` (never ask again),
        `WAIT` (hold the opening: more text is needed), `GO` (show it, but ask again at the end
        of each sentence) or an `Objection(reason)`. Or None for no checker.

    Example:
        @hookimpl
        def palaver_check(turn):
            return lambda text, whole: Objection("shouts") if text.isupper() else GO

    Added in 0.1.
    """


@_hookspec
def palaver_filter(turn: Turn) -> Filter | AsyncFilter | None:
    """Return a filter for this turn's reply.

    Called once per turn, and once more if another backend has to end the line. The filters are
    chained in the order of registration, after the core's own, which turns inline tags into
    events. A filter sees every event and returns what goes on; `Stop` ends the line. A filter
    whose `feed` is async gets whole sentences, each under `limits.hook_ms` (250 ms). One that
    raises or is late is taken out, and what it held is shown; authored lines come in the last
    moment, so there it has 20 ms. While it is called,
    `turn.authored` tells lines that were written by an author from a model's.

    Args:
        turn: The turn; read only.

    Returns:
        An object with `feed(event)` and `flush()`, or None for no filter.

    Example:
        @hookimpl
        def palaver_filter(turn):
            return Shout() if turn.mood == "angry" else None

    Added in 0.1.
    """


@_hookspec
def palaver_turn_finished(turn: Turn, result: TurnResult) -> Awaitable[None] | None:
    """Learn what a turn came to.

    Called once per turn, after `turn.done` is on its way: it never delays the player. All
    plugins are called. May be async, with a limit of 10 seconds, or 2 when Palaver stops.

    Args:
        turn: The turn.
        result: Its result; read only.

    Example:
        @hookimpl
        def palaver_turn_finished(turn, result):
            log.info("%s by %s", turn.npc.id, result.served_by.backend)

    Added in 0.1.
    """


@_hookspec
def palaver_turn_feedback(
    turn: str, session: SessionInfo, kind: str, note: str | None
) -> Awaitable[None] | None:
    """Learn what a player thinks of a reply.

    Called once per `turn.feedback`. All plugins are called. May be async, with a limit of 10
    seconds; nobody waits for it.

    Args:
        turn: The client's id of the turn.
        session: Id, game, client and role.
        kind: `skip`, `like`, `dislike` or `report`.
        note: The player's own words, or None.

    Example:
        @hookimpl
        def palaver_turn_feedback(turn, kind):
            log.info("turn %s: %s", turn, kind)

    Added in 0.1.
    """


@_hookspec
def palaver_session_opened(session: SessionInfo) -> Awaitable[None] | None:
    """Learn that an engine has joined.

    Called once per session, not again when it resumes. All plugins are called. May be async,
    with a limit of 10 seconds; the session does not wait for it.

    Args:
        session: Id, game, client and role.

    Example:
        @hookimpl
        def palaver_session_opened(session):
            log.info("%s plays %s", session.client_name, session.game)

    Added in 0.1.
    """


@_hookspec
def palaver_session_closed(session: SessionInfo) -> Awaitable[None] | None:
    """Learn that an engine has left, and its resume window is over.

    Called once per session. All plugins are called. May be async, with a limit of 10 seconds.

    Args:
        session: Id, game, client and role.

    Example:
        @hookimpl
        def palaver_session_closed(session):
            log.info("%s left %s", session.client_name, session.game)

    Added in 0.1.
    """
