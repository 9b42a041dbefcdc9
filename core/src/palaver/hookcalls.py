"""Calling hooks one plugin at a time, so that one that fails harms no other.

pluggy's own call stops at the first exception. Here every implementation is resolved once, called
by itself, awaited under a time limit where it is async, and named where it fails.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import pluggy

__all__ = ["CORE", "HookCall", "call_async", "call_sync", "failed", "resolve", "within"]

log = logging.getLogger("palaver.plugins")

CORE = "palaver"
"""Name under which Palaver's own implementations are registered; no plugin has it."""
SLOW_S = 0.1
"""A plugin that takes longer without awaiting anything is named: nobody can be served meanwhile."""
AT_START = frozenset(
    f"palaver_register_{what}"
    for what in ("backends", "stores", "settings", "bridges", "world", "commands")
)
"""These run before anybody is served, and import what they need."""
TRACE = "PALAVER_TRACE_HOOKS"
"""Environment variable: with `1`, every call of a plugin is logged with its result."""

_left_behind: set[asyncio.Future[Any]] = set()
"""What was cancelled and has not ended yet; held, or it would vanish in the middle."""


@dataclass(frozen=True, slots=True)
class HookCall:
    """One plugin's implementation of one hook.

    Attributes:
        hook: Name of the hook.
        plugin: Name of the plugin.
        function: The implementation.
        argnames: The arguments it takes.
    """

    hook: str
    plugin: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]

    def __call__(self, **arguments: Any) -> Any:
        """Call it with those of the arguments that it takes."""
        begun = perf_counter()
        result = self.function(*[arguments[name] for name in self.argnames])
        took_s = perf_counter() - begun
        if took_s > SLOW_S and self.hook not in AT_START:
            log.warning(
                "plugin %s held up the whole server for %.0f ms in %s; make it `async def` and "
                "await what takes its time, or use asyncio.to_thread",
                self.plugin,
                took_s * 1000,
                self.hook,
            )
        return result


def resolve(manager: pluggy.PluginManager, hook: str) -> tuple[HookCall, ...]:
    """Return the implementations of a hook in the order they are called.

    First Palaver's own, then those marked `tryfirst`, then the rest in the order of registration,
    last `trylast`.
    """
    impls = getattr(manager.hook, hook).get_hookimpls()
    traced = os.environ.get(TRACE) == "1"
    order = sorted(
        impls, key=lambda impl: (impl.plugin_name != CORE, not impl.tryfirst, impl.trylast)
    )
    return tuple(
        HookCall(
            hook,
            impl.plugin_name,
            _traced(hook, impl) if traced else impl.function,
            tuple(impl.argnames),
        )
        for impl in order
        if not (impl.wrapper or impl.hookwrapper)
    )


def _traced(hook: str, impl: Any) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        result = impl.function(*arguments)
        log.info("hook %s: plugin %s returned %.200r", hook, impl.plugin_name, result)
        return result

    return call


def call_sync(
    calls: Sequence[HookCall], note: Callable[[str], None], /, **arguments: Any
) -> list[Any]:
    """Call each implementation and return the results that are not None.

    Args:
        calls: What `resolve` returned.
        note: Told of each plugin that failed.
        arguments: Arguments of the hook.
    """
    results = []
    for call in calls:
        try:
            result = call(**arguments)
        except Exception:
            failed(call, note)
            continue
        if result is not None:
            results.append(result)
    return results


async def call_async(
    call: HookCall, limit_s: float, note: Callable[[str], None], /, **arguments: Any
) -> Any:
    """Call one implementation and await its result if it is awaitable.

    Args:
        call: The implementation.
        limit_s: Time it may take, in seconds.
        note: Told if it failed or was late.
        arguments: Arguments of the hook.

    Returns:
        Its result, or None if it failed or was late.
    """
    try:
        result = call(**arguments)
        if result is not None and inspect.isawaitable(result):
            result = await within(result, limit_s)
    except TimeoutError:
        note(f"plugin {call.plugin} took longer than {limit_s * 1000:.0f} ms in {call.hook}")
        log.warning(
            "plugin %s took longer than %.0f ms in %s; its part was left out",
            call.plugin,
            limit_s * 1000,
            call.hook,
        )
        return None
    except Exception:
        failed(call, note)
        return None
    return result


async def within(work: Awaitable[Any], limit_s: float) -> Any:
    """Return what a plugin's awaitable comes to, and wait no longer than this.

    It runs in a task of its own: one that does not end when it is cancelled is left behind, and
    one that cancels itself does not cancel the turn.

    Args:
        work: The awaitable.
        limit_s: Time it may take, in seconds.

    Raises:
        TimeoutError: It took longer.
        RuntimeError: It cancelled itself.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=limit_s)
    except asyncio.CancelledError:
        _leave_behind(task)
        raise
    if not done:
        _leave_behind(task)
        raise TimeoutError
    if task.cancelled():
        raise RuntimeError("it was cancelled, and not by Palaver")
    return task.result()


def _leave_behind(task: asyncio.Future[Any]) -> None:
    task.cancel()
    _left_behind.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Future[Any]) -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()  # nobody wants to know any more


def failed(call: HookCall, note: Callable[[str], None]) -> None:
    """Log the exception being handled as the plugin's, and note it."""
    log.exception("plugin %s failed in %s; the turn goes on without it", call.plugin, call.hook)
    note(f"plugin {call.plugin} failed in {call.hook}")
