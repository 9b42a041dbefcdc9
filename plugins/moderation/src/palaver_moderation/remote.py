"""A moderation service: OpenAI's `POST /v1/moderations`, or any that answers as it does.

https://platform.openai.com/docs/api-reference/moderations
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import OrderedDict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palaver.chain.breaker import Breaker
from palaver.chain.http import Http
from palaver.chain.http_errors import from_status
from palaver.errors import BackendError, BackendResponseError, BackendUnauthorized
from palaver_moderation.config import RemoteSettings

__all__ = ["Remote"]

log = logging.getLogger("palaver.moderation")

LONGEST_REST_S = 60.0
MAX_WAITING = 256
"""Texts that are asked about at the same time; beyond, the service counts as not answering."""


class _Result(BaseModel):
    model_config = ConfigDict(extra="ignore")

    categories: dict[str, bool | None] = {}
    category_scores: dict[str, float | None] = {}


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    results: list[_Result] = Field(min_length=1)


class Remote:
    """Asks the service, remembers its verdicts, and leaves it alone while it is away.

    Args:
        settings: Its settings.
        limit_s: Time for one answer, in seconds.

    Attributes:
        settings: Its settings.
        asked: How often it was asked.
        failed: How often it did not answer.
        cached: How often a verdict was known.
        breaker: Whether it is asked at all.
    """

    def __init__(self, settings: RemoteSettings, limit_s: float) -> None:
        self.settings = settings
        self.asked = self.failed = self.cached = 0
        self.breaker = Breaker(
            "the moderation service",
            settings.failures,
            settings.rest_s,
            max(settings.rest_s, LONGEST_REST_S),
            lambda: asyncio.get_running_loop().time(),
        )
        self._limit_s = limit_s
        self._waiting = 0
        self._verdicts: OrderedDict[str, frozenset[str]] = OrderedDict()
        key = os.environ.get(settings.api_key_env) if settings.api_key_env else None
        if settings.api_key_env and not key:
            log.warning(
                "the variable %s is not set; the moderation service is asked without a key",
                settings.api_key_env,
            )
        self._http = Http(
            "moderation",
            connect_s=limit_s,
            headers={"Authorization": f"Bearer {key}"} if key else None,
        )

    @property
    def answers(self) -> bool:
        """Whether it would be asked now."""
        return self.breaker.allows()

    async def close(self) -> None:
        """Close all connections; safe to call twice."""
        await self._http.close()

    async def categories(self, text: str) -> frozenset[str] | None:
        """Return which of our categories a text belongs to.

        Args:
            text: The text.

        Returns:
            The categories, or None where the service does not answer.
        """
        known = self._verdicts.get(text)
        if known is not None:
            self._verdicts.move_to_end(text)
            self.cached += 1
            return known
        if self._waiting >= MAX_WAITING or not self.breaker.allows():
            return None
        probe = self.breaker.enter()
        self.asked += 1
        self._waiting += 1
        try:
            found = self._judge(await self._ask(text))
        except BackendError as err:
            self.failed += 1
            if isinstance(err, BackendUnauthorized):
                self.breaker.unauthorized(f"{err}; set api_key_env of [plugins.moderation.remote]")
            else:
                self.breaker.failed(str(err), probe=probe)
            return None
        except BaseException:
            self.breaker.left(probe=probe)
            raise
        finally:
            self._waiting -= 1
        self.breaker.succeeded(probe=probe)
        self._keep(text, found)
        return found

    async def _ask(self, text: str) -> _Result:
        body: dict[str, Any] = {"input": text}
        if self.settings.model is not None:
            body["model"] = self.settings.model
        url = f"{self.settings.url}/moderations"
        status, data = await self._http.fetch(
            "POST", url, limit_s=self._limit_s, body=json.dumps(body).encode()
        )
        if status != 200:
            raise from_status("moderation", status)
        try:
            return _Answer.model_validate_json(data).results[0]
        except ValidationError as err:
            # Not the answer itself: it may repeat the text.
            raise BackendResponseError(
                "moderation", "does not answer as /v1/moderations does; check `url`"
            ) from err

    def _judge(self, result: _Result) -> frozenset[str]:
        """Return our categories; a threshold comes before the service's own verdict."""
        found = set()
        for theirs, ours in self.settings.categories.items():
            threshold = self.settings.thresholds.get(theirs)
            if threshold is None:
                meant = bool(result.categories.get(theirs))
            else:
                meant = (result.category_scores.get(theirs) or 0.0) >= threshold
            if meant:
                found.add(ours)
        return frozenset(found)

    def _keep(self, text: str, found: frozenset[str]) -> None:
        if self.settings.cache:
            self._verdicts[text] = found
            while len(self._verdicts) > self.settings.cache:
                self._verdicts.popitem(last=False)
