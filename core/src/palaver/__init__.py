"""Palaver gives the characters of a game a voice.

What plugin authors and integrators use is here; everything else is found by its module's name.
Names are imported when they are first asked for, so that `import palaver` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from palaver._version import __version__

if TYPE_CHECKING:
    from palaver.bridge import Bridge
    from palaver.chain.backend import (
        Backend,
        BackendContext,
        BackendSettings,
        BackendType,
        Finish,
        GenerateRequest,
        Health,
        ModelInfo,
        Replica,
        Sampling,
    )
    from palaver.chain.checks import GO, OK, WAIT, Checker, Objection
    from palaver.client import Client, connect
    from palaver.errors import (
        BackendError,
        BackendOverloaded,
        BackendRefused,
        BackendResponseError,
        BackendTimeout,
        BackendUnauthorized,
        BackendUnavailable,
        ConfigError,
        ConnectionLost,
        ModelNotFound,
        PalaverError,
        PluginError,
        PromptTooLong,
        ProtocolError,
        ServerError,
        StoreError,
        StreamBroken,
        WorldError,
    )
    from palaver.gateway import Gateway
    from palaver.hookspecs import hookimpl
    from palaver.memory import Exchange, Memory
    from palaver.plugins import WorldRegistry
    from palaver.prompt.sections import Message, Place, Prompt, Section
    from palaver.server.app import Server
    from palaver.session_info import SessionInfo
    from palaver.startup import prepare
    from palaver.store import Store, StoreSettings, StoreType
    from palaver.turn.events import Action, AsyncFilter, Emotion, Event, Filter, Stop, Text
    from palaver.turn.model import Turn, TurnResult

_MODULES = {
    "palaver.bridge": ("Bridge",),
    "palaver.chain.backend": (
        "Backend",
        "BackendContext",
        "BackendSettings",
        "BackendType",
        "Finish",
        "GenerateRequest",
        "Health",
        "ModelInfo",
        "Replica",
        "Sampling",
    ),
    "palaver.chain.checks": ("GO", "OK", "WAIT", "Checker", "Objection"),
    "palaver.client": ("Client", "connect"),
    "palaver.errors": (
        "BackendError",
        "BackendOverloaded",
        "BackendRefused",
        "BackendResponseError",
        "BackendTimeout",
        "BackendUnauthorized",
        "BackendUnavailable",
        "ConfigError",
        "ConnectionLost",
        "ModelNotFound",
        "PalaverError",
        "PluginError",
        "PromptTooLong",
        "ProtocolError",
        "ServerError",
        "StoreError",
        "StreamBroken",
        "WorldError",
    ),
    "palaver.gateway": ("Gateway",),
    "palaver.hookspecs": ("hookimpl",),
    "palaver.memory": ("Exchange", "Memory"),
    "palaver.plugins": ("WorldRegistry",),
    "palaver.prompt.sections": ("Message", "Place", "Prompt", "Section"),
    "palaver.server.app": ("Server",),
    "palaver.session_info": ("SessionInfo",),
    "palaver.startup": ("prepare",),
    "palaver.store": ("Store", "StoreSettings", "StoreType"),
    "palaver.turn.events": (
        "Action",
        "AsyncFilter",
        "Emotion",
        "Event",
        "Filter",
        "Stop",
        "Text",
    ),
    "palaver.turn.model": ("Turn", "TurnResult"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "GO",
    "OK",
    "WAIT",
    "Action",
    "AsyncFilter",
    "Backend",
    "BackendContext",
    "BackendError",
    "BackendOverloaded",
    "BackendRefused",
    "BackendResponseError",
    "BackendSettings",
    "BackendTimeout",
    "BackendType",
    "BackendUnauthorized",
    "BackendUnavailable",
    "Bridge",
    "Checker",
    "Client",
    "ConfigError",
    "ConnectionLost",
    "Emotion",
    "Event",
    "Exchange",
    "Filter",
    "Finish",
    "Gateway",
    "GenerateRequest",
    "Health",
    "Memory",
    "Message",
    "ModelInfo",
    "ModelNotFound",
    "Objection",
    "PalaverError",
    "Place",
    "PluginError",
    "Prompt",
    "PromptTooLong",
    "ProtocolError",
    "Replica",
    "Sampling",
    "Section",
    "Server",
    "ServerError",
    "SessionInfo",
    "Stop",
    "Store",
    "StoreError",
    "StoreSettings",
    "StoreType",
    "StreamBroken",
    "Text",
    "Turn",
    "TurnResult",
    "WorldError",
    "WorldRegistry",
    "__version__",
    "connect",
    "hookimpl",
    "prepare",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'palaver' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
