"""A store in Redis: gateways that name the same one share dialogue cache and spend ceilings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from palaver.hookspecs import hookimpl

if TYPE_CHECKING:
    from palaver.store import StoreType
    from palaver_redis.config import RedisSettings
    from palaver_redis.store import RedisStore

__version__ = "0.1.0"

__all__ = ["__version__"]

# Everything heavy is imported where it is used: every `palaver` command loads this module.


def _create(settings: RedisSettings) -> RedisStore:
    from palaver_redis.store import RedisStore

    return RedisStore(settings)


@hookimpl
def palaver_register_stores(register: Callable[[StoreType], None]) -> None:
    """Offer the type `redis`."""
    from palaver.store import StoreType
    from palaver_redis.config import RedisSettings

    register(StoreType("redis", RedisSettings, _create, addresses=frozenset({"url"})))
