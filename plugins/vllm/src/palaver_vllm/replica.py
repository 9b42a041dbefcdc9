"""One server: what it serves, what it is doing, and how adapters get onto it."""

from __future__ import annotations

import asyncio
import os.path
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from palaver.chain.backend import Finish, GenerateRequest
from palaver.chain.http import Http
from palaver.chain.readings import Reading
from palaver.errors import BackendError, BackendRefused, BackendResponseError, ModelNotFound
from palaver.world.manifest import AdapterManifest
from palaver_vllm.adapters import Activity, AdapterLoader, Residency
from palaver_vllm.config import VllmSettings
from palaver_vllm.failures import from_status
from palaver_vllm.readings import adapter_readings, server_readings
from palaver_vllm.stream import BAD_JSON
from palaver_vllm.wire import Card, decode_models, decode_version, encode

__all__ = ["Plan", "Replica"]

ASK_S = 2.0
"""Time for a server to say what it serves, in seconds."""
METRICS_S = 0.5
"""Time for a server to tell its metrics, in seconds: somebody waits for the page."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a turn asks a server for.

    Attributes:
        base: The base model.
        adapter: The adapter, or None for the base model alone.
        note: Why it is not the adapter that the persona names, or None.
    """

    base: str
    adapter: str | None = None
    note: str | None = None

    @property
    def model(self) -> str:
        """The name to ask for."""
        return self.adapter or self.base


Speak = Callable[["Replica", GenerateRequest], AsyncGenerator[str | Finish, None]]


class Replica:
    """One server of a backend.

    Args:
        backend: Name of the backend, for its errors.
        url: The server's address.
        settings: Settings of the backend.
        http: Client to talk to it with.
        report: Tells whoever runs Palaver.
        speak: Streams a reply of it.

    Attributes:
        name: Its address.
        chat_url: Where chat completions are asked for.
        activity: What it is doing for us now.
        residency: Which adapters it has.
        known: Whether it has told what it serves since it was last lost.
        context_tokens: Its context window, once it is known.
    """

    def __init__(
        self,
        backend: str,
        url: str,
        settings: VllmSettings,
        http: Http,
        report: Callable[[str], None],
        speak: Speak,
    ) -> None:
        self._backend, self.url, self._settings, self._http = backend, url, settings, http
        self._speak = speak
        self.name = url
        self.chat_url = f"{url}/v1/chat/completions"
        self.activity = Activity()
        self.residency = Residency(settings.max_loras)
        self.context_tokens: int | None = None
        self.known = False
        self._base = settings.model or ""
        self._also_called: set[str] = set()
        self._asking = asyncio.Lock()
        self._loader = AdapterLoader(
            self.residency,
            self.activity,
            self._load,
            wait_s=settings.load_wait_ms / 1000,
            report=lambda line: report(f"backend {backend} at {url}: {line}"),
        )

    def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Stream a reply; see `palaver.chain.backend.Replica`."""
        return self._speak(self, request)

    def warm(self, adapter: str | None, /) -> bool:
        """Return whether it could use an adapter at once."""
        return adapter is None or self.residency.warm(adapter)

    def lost(self) -> None:
        """Note that it is away; when it comes back it may have been started again."""
        self.known = False

    async def ask(self) -> None:
        """Ask what it serves, unless that is known; turns that ask together ask once.

        Raises:
            BackendError: It does not say.
        """
        async with self._asking:
            if not self.known:
                await self.cards()

    async def cards(self) -> list[Card]:
        """Ask what it serves, and note it.

        Raises:
            BackendError: It does not say, or serves another model.
        """
        status, body = await self._http.fetch("GET", f"{self.url}/v1/models", limit_s=ASK_S)
        if status != 200:
            raise from_status(self._backend, self._settings.model or "", status, {}, body)
        try:
            cards = decode_models(body).data
        except BAD_JSON as err:
            raise BackendResponseError(
                self._backend, f"{self.url} does not list its models as vLLM does"
            ) from err
        bases = [card for card in cards if card.parent is None]
        wanted = self._settings.model
        base = next((card for card in bases if wanted in (None, card.id)), None)
        if base is None:
            names = ", ".join(card.id for card in bases) or "nothing"
            raise ModelNotFound(
                self._backend,
                wanted or "",
                f"{self.url} serves {names}, not {wanted!r}; set `model` to what it serves",
            )
        self.known = True
        self._base, self.context_tokens = base.id, base.max_model_len
        self._also_called = {base.id}
        if base.root:
            # `--served-model-name` hides the name that manifests were written with.
            self._also_called |= {base.root, PurePath(base.root).name}
        self.residency.replace([card.id for card in cards if card.parent is not None])
        return cards

    async def version(self) -> str:
        """Ask for the version of vLLM, and whether it is well.

        Raises:
            BackendError: It is not.
        """
        status, body = await self._http.fetch("GET", f"{self.url}/health", limit_s=ASK_S)
        if status != 200:
            raise from_status(self._backend, "", status, {}, body)
        status, body = await self._http.fetch("GET", f"{self.url}/version", limit_s=ASK_S)
        try:
            return decode_version(body).version
        except BAD_JSON as err:
            raise BackendResponseError(
                self._backend, f"{self.url} does not tell its version as vLLM does; check `url`"
            ) from err

    def plan(self, adapter: str | None, manifests: Mapping[str, AdapterManifest]) -> Plan:
        """Decide what to ask for; what is missing is loaded at the next idle moment.

        Args:
            adapter: The adapter that the persona names, or None.
            manifests: The world's manifests.
        """
        base = self._base
        if adapter is None:
            return Plan(base)
        if self._settings.adapters == "off":
            return Plan(base, note=f"adapter {adapter} not used: adapters are off")
        manifest = manifests.get(adapter)
        if manifest is not None and manifest.base not in self._also_called:
            return Plan(
                base, note=f"adapter {adapter} is for {manifest.base!r}, the server has {base!r}"
            )
        if not self.residency.has(adapter):
            if manifest is None:
                return Plan(base, note=f"adapter {adapter} has no manifest")
            return self.load_later(manifest, base)
        if not self.residency.has_slot(adapter, self.activity):
            return Plan(base, note=f"adapter {adapter} has to wait: all adapter slots are in use")
        self.residency.use(adapter)
        return Plan(base, adapter)

    def load_later(self, manifest: AdapterManifest, base: str) -> Plan:
        """Schedule a load and return the plan for the meantime."""
        failed = self._loader.want(manifest)
        note = f"adapter {manifest.id} not loaded yet"
        return Plan(base, note=f"{note} (loading failed: {failed})" if failed else note)

    async def _load(self, manifest: AdapterManifest) -> None:
        body = encode({"lora_name": manifest.id, "lora_path": _weights(manifest)})
        status, answer = await self._http.fetch(
            "POST",
            f"{self.url}/v1/load_lora_adapter",
            limit_s=self._settings.load_ms / 1000,
            body=body,
        )
        if status == 200 or (status == 400 and b"already been loaded" in answer):
            return
        if status in (404, 405) and b"No adapter found" not in answer:
            raise BackendRefused(
                self._backend,
                "the server does not load adapters while it runs; start it with --enable-lora and "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, as `palaver vllm up` does",
                status_code=status,
            )
        raise from_status(self._backend, manifest.id, status, {}, answer)

    async def readings(self) -> list[Reading]:
        """Ask the server for its metrics, and add what is known of its adapters here.

        One that is away, or has no metrics, tells nothing of itself.
        """
        found = adapter_readings(self.url, self.residency, self._loader)
        try:
            status, body = await self._http.fetch("GET", f"{self.url}/metrics", limit_s=METRICS_S)
        except BackendError:
            return found
        if status == 200:
            found += server_readings(self.url, body.decode("utf-8", "replace"))
        return found

    async def loaded(self) -> None:
        """Wait until nothing more is to be loaded."""
        await self._loader.idle()

    async def close(self) -> None:
        """Stop loading; safe to call twice."""
        await self._loader.close()


def _weights(manifest: AdapterManifest) -> str:
    """Return where the weights are, always alike: the prefix cache is keyed by it."""
    return os.path.abspath(manifest.path)
