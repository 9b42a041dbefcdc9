"""The store: small values and sums in Redis, answered in time or not at all.

While Redis is away every call fails at once, and one task tries to reach it, with growing pauses.
So a turn waits for a dead Redis once at most, and never finds out itself that it is back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from palaver.errors import ConfigError, StoreError
from palaver_redis.config import RedisSettings

__all__ = ["RedisStore"]

log = logging.getLogger("palaver.redis")

LATE = 3
"""Answers in a row that were too late before Redis counts as away: one may be a hiccup."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
CLOSE_S = 2.0

REPEAT_S = 600.0
"""Time until the log tells again of the same refusal, in seconds."""
_PASSWORD = re.compile(r"NOAUTH|WRONGPASS|authentication|password", re.IGNORECASE)
_T = TypeVar("_T")


class RedisStore:
    """A store that gateways share.

    Args:
        settings: Where it is.

    Attributes:
        address: Where it is, without secrets.
        away: Whether it does not answer at the moment.

    Raises:
        ConfigError: The variable that should hold the password does not.
    """

    shared = True

    def __init__(self, settings: RedisSettings) -> None:
        self.settings = settings
        self.address = _address(settings.url)
        self.away = False
        self._limit_s = (settings.connect_ms + settings.response_ms) / 1000
        self._late = 0
        self._refused: dict[str, float] = {}
        self._watch: asyncio.Task[None] | None = None
        self._closed = False
        password = _password(settings)
        response_s = settings.response_ms / 1000
        options: dict[str, Any] = {
            "max_connections": settings.connections,
            # Both how long to wait for a free connection and for an answer.
            "timeout": response_s,
            "socket_timeout": response_s,
            "socket_connect_timeout": settings.connect_ms / 1000,
            # We know better when to try again: at most once for all turns together.
            "retry": Retry(NoBackoff(), 0),
            "username": settings.username,
            "password": password,
        }
        if settings.tls:
            options["ssl_cert_reqs"] = "required"
            options["ssl_check_hostname"] = True
            options["ssl_ca_certs"] = _text(settings.tls_ca)
            options["ssl_certfile"] = _text(settings.tls_cert)
            options["ssl_keyfile"] = _text(settings.tls_key)
        self._pool = BlockingConnectionPool.from_url(settings.url, **options)
        self._redis: Redis = Redis(connection_pool=self._pool)

    async def start(self) -> None:
        """Say hello; it is no failure if nobody answers yet."""
        try:
            await self._do(self._ping)
        except StoreError:
            return  # It is logged, and tried again.
        log.info("cache and sums are shared through %s", self.address)

    async def close(self) -> None:
        """Close all connections; safe to call twice."""
        self._closed = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.wait({watch}, timeout=CLOSE_S)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._redis.aclose()
                await self._pool.aclose()
        except (RedisError, OSError, TimeoutError) as err:
            log.debug("%s was not closed well: %s", self.address, err)

    async def get(self, key: str) -> bytes | None:
        """Return a value, or None where there is none any more.

        Raises:
            StoreError: Redis does not answer in time.
        """

        async def call() -> bytes | None:
            found = await self._redis.get(self._name(key))
            return found.encode() if isinstance(found, str) else found

        return await self._do(call)

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for so many seconds.

        Raises:
            StoreError: Redis does not answer in time.
        """

        async def call() -> None:
            await self._redis.set(self._name(key), value, px=_milliseconds(ttl_s))

        await self._do(call)

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget values.

        Raises:
            StoreError: Redis does not answer in time.
        """
        if not keys:
            return

        async def call() -> None:
            await self._redis.delete(*map(self._name, keys))

        await self._do(call)

    async def add(self, key: str, amount: float, ttl_s: float) -> float:
        """Add to a sum, which begins at 0, and return it; it is forgotten after so many seconds.

        Raises:
            StoreError: Redis does not answer in time; whether it has added is not known.
        """

        async def call() -> float:
            # One transaction: a sum without an end would count for ever.
            async with self._redis.pipeline(transaction=True) as both:
                both.incrbyfloat(self._name(key), amount)
                both.pexpire(self._name(key), _milliseconds(ttl_s))
                total, _ = await both.execute()
            return float(total)

        return await self._do(call)

    def _name(self, key: str) -> str:
        return f"{self.settings.prefix}{key}"

    async def _ping(self) -> None:
        await self._redis.ping()

    async def _do(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Do one thing in time.

        Raises:
            StoreError: It did not work.
        """
        if self.away or self._closed:
            raise StoreError(f"{self.address} is away")
        try:
            async with asyncio.timeout(self._limit_s):
                result = await call()
        except (RedisTimeout, TimeoutError) as err:
            self._late += 1
            if self._late >= LATE:
                self._lost("it does not answer in time")
            raise StoreError(f"{self.address} did not answer in time") from err
        except (ConnectionError, OSError) as err:
            self._lost(_reason(err))
            raise StoreError(f"{self.address}: {_reason(err)}") from err
        except ResponseError as err:
            if _is_refusal(err):
                self._lost(_reason(err))
            else:
                self._refuses(type(err).__name__, _reason(err))
            raise StoreError(f"{self.address}: {_reason(err)}") from err
        except RedisError as err:
            raise StoreError(f"{self.address}: {_reason(err)}") from err
        self._late = 0
        return result

    def _refuses(self, kind: str, reason: str) -> None:
        """Tell that it does not do what it is asked: it is full, a copy, or may not do it.

        It is there and answers at once, `PING` too, so that it is not left alone.
        """
        now = asyncio.get_running_loop().time()
        if now - self._refused.get(kind, -REPEAT_S) >= REPEAT_S:
            self._refused[kind] = now
            log.warning(
                "the store %s refuses: %s. Turns go on, and what it refuses is not shared",
                self.address,
                reason,
            )

    def _lost(self, reason: str) -> None:
        """Leave it alone, say so once, and see when it is back."""
        if self.away or self._closed:
            return
        self.away = True
        log.warning(
            "the store %s is away: %s. Turns go on without it, and nothing is shared until it is "
            "back",
            self.address,
            reason,
        )
        self._watch = asyncio.get_running_loop().create_task(self._until_back(), name="redis")

    async def _until_back(self) -> None:
        loop = asyncio.get_running_loop()
        since, pause_s = loop.time(), FIRST_PAUSE_S
        while True:
            # Not all gateways at the same moment.
            await asyncio.sleep(pause_s * (0.75 + random.random() / 2))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                async with asyncio.timeout(self._limit_s):
                    await self._ping()
            except (RedisError, OSError, TimeoutError) as err:
                log.debug("%s is still away: %s", self.address, err)
                continue
            self.away, self._late = False, 0
            log.warning("the store %s is back after %.1f s", self.address, loop.time() - since)
            return


def _password(settings: RedisSettings) -> str | None:
    if settings.password_env is None:
        return None
    password = os.environ.get(settings.password_env)
    if not password:
        raise ConfigError(
            f"the variable {settings.password_env!r} is empty; put the password of Redis into it, "
            "or take `password_env` away",
            key="store.password_env",
        )
    return password


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"redis at {parts.path}"
    return f"redis at {parts.hostname}:{parts.port or 6379}"


def _is_refusal(err: ResponseError) -> bool:
    """Return whether Redis would refuse the next call too, and a `PING` as well."""
    text = str(err)
    return isinstance(err, AuthenticationError) or text.startswith(
        ("NOAUTH", "WRONGPASS", "LOADING", "MASTERDOWN", "MISCONF")
    )


def _reason(err: Exception) -> str:
    text = str(err).strip(" .\n") or type(err).__name__
    if isinstance(err, AuthenticationError) or _PASSWORD.search(text):
        return f"{text[:200]}; look at `username` and `password_env` of [store]"
    return text[:200]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(path: object) -> str | None:
    return None if path is None else str(path)
