"""What to start for a world: the model, the address, the adapters, the flags."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from palaver import startup
from palaver.config.load import parse_backend
from palaver.errors import ConfigError
from palaver.plugins import make_plugin_manager
from palaver.startup import locate
from palaver.world.loader import load_world
from palaver.world.manifest import AdapterManifest
from palaver.world.trust import TrustStore, world_settings
from palaver_vllm.config import ServeSettings, VllmSettings

__all__ = ["Plan", "key_names", "make_plan", "state_folder"]

DEFAULT_BACKEND = "local"
"""The shipped tiers ask for a backend of this name."""
MODULE = "vllm.entrypoints.openai.api_server"
"""The command `vllm serve` does the same, but it does not run in the packages for CPUs."""
MAX_SLOTS = 8
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM takes for --max-lora-rank."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A server to start.

    Attributes:
        backend: Name of the backend that will use it.
        host: Address to listen on.
        port: Port to listen on.
        model: Folder or name of the model.
        served: Name under which the base model is served.
        command: The command line after the interpreter.
        environ: What is set besides the environment of this process.
        adapters: Manifests that fit the base model.
        left_out: Manifests that do not.
        state_dir: Folder for log and state.
        notes: What whoever starts it should know.
    """

    backend: str
    host: str
    port: int
    model: str
    served: str
    command: Sequence[str]
    environ: Mapping[str, str]
    adapters: Sequence[AdapterManifest]
    left_out: Sequence[AdapterManifest]
    state_dir: Path
    notes: Sequence[str] = field(default=())

    @property
    def url(self) -> str:
        """Where it can be reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def state_folder(world: str | None) -> Path:
    """Return the folder for log and state of a world's servers; it is not in the world."""
    return startup.state_folder(locate(world, make_plugin_manager(world_plugins=None)), os.environ)


def key_names(world: str | None) -> dict[str, str]:
    """Return the variables that hold the keys of a world's servers, by backend.

    A world that is not trusted has none: nobody shall name one that is sent somewhere.

    Raises:
        ConfigError: Its settings cannot be read.
    """
    located = locate(world, make_plugin_manager(world_plugins=None))
    trusted = located.shipped or TrustStore().is_trusted(located.folder)
    settings, _ = world_settings(located.folder, trusted=trusted, environ=os.environ)
    names = {name: table.get("api_key_env") for name, table in settings.backends.items()}
    return {name: key for name, key in names.items() if isinstance(key, str)}


def make_plan(
    world: str | None,
    *,
    backend: str | None = None,
    model: str | None = None,
    host: str | None = None,
    port: int | None = None,
    args: Sequence[str] = (),
) -> Plan:
    """Decide what to start for a world.

    Args:
        world: Folder or name of the world; see `palaver.startup.locate`.
        backend: The backend that will use it; None takes the world's only one of type vllm.
        model: Folder or name of the model; None takes `serve.model` of the backend.
        host: Address to listen on; None takes the backend's.
        port: Port to listen on; None takes the backend's.
        args: Further arguments for the server.

    Raises:
        ConfigError: Something is missing or does not fit.
        WorldError: The world cannot be read.
    """
    plugins = make_plugin_manager(world_plugins=None)
    located = locate(world, plugins)
    trusted = located.shipped or TrustStore().is_trusted(located.folder)
    file = located.folder / "palaver.toml"
    # Arguments for a server can make it run code, so they need trust like plugins do.
    settings, left_out = world_settings(
        located.folder, trusted=trusted, environ=os.environ, types=plugins.backend_types
    )
    notes = [f"{line}; `palaver trust {located.folder}` allows it" for line in left_out]
    tables = {n: t for n, t in settings.backends.items() if t.get("type") == "vllm"}
    name = backend or _only(tables, file)
    kind = plugins.backend_types["vllm"]
    own = parse_backend(name, tables.get(name, {"type": "vllm"}), kind, file=file)
    assert isinstance(own, VllmSettings)
    serve = own.serve or ServeSettings(model="")
    model, is_folder = _model(model, serve, located.folder, name, file)
    served = own.model or (Path(model).name if is_folder else model)
    snapshot = load_world(located.folder, plugins.template_folders, trusted=trusted)
    known_as = {served, model, Path(model).name}
    fitting = [one for one in snapshot.adapters.values() if one.base in known_as]
    host, port = _address(own, name, host, port)
    environ = _environ(own, serve, is_folder=is_folder)
    return Plan(
        backend=name,
        host=host,
        port=port,
        model=model,
        served=served,
        command=[
            *("-m", MODULE, "--model", model, "--served-model-name", served),
            *("--host", host, "--port", str(port), "--enable-prefix-caching"),
            *_flags(own, serve, fitting),
            *serve.args,
            *args,
        ],
        environ=environ,
        adapters=fitting,
        left_out=[one for one in snapshot.adapters.values() if one.base not in known_as],
        state_dir=startup.state_folder(located, os.environ),
        notes=notes,
    )


def _only(tables: Mapping[str, object], file: Path) -> str:
    if len(tables) > 1:
        raise ConfigError(
            f"there are several backends of type vllm ({', '.join(tables)}); "
            "choose one with --backend",
            file=file,
        )
    return next(iter(tables), DEFAULT_BACKEND)


def _model(
    given: str | None, serve: ServeSettings, world: Path, backend: str, file: Path
) -> tuple[str, bool]:
    """Return the model, and whether it is a folder."""
    if given is not None:
        folder = Path(given)
        return (str(folder.resolve()), True) if folder.is_dir() else (given, False)
    if not serve.model:
        raise ConfigError(
            "nobody says which model to start; give its folder with --model, or write "
            f'[backends.{backend}.serve] with model = "..."',
            file=file,
        )
    folder = world / serve.model
    return (str(folder.resolve()), True) if folder.is_dir() else (serve.model, False)


def _address(
    settings: VllmSettings, backend: str, host: str | None, port: int | None
) -> tuple[str, int]:
    parts = urlsplit(settings.addresses[0])
    own = parts.hostname or ""
    if host is None and not _is_local(own):
        raise ConfigError(
            f"the server of backend {backend!r} is on {own!r}, and this command starts one on "
            "this machine; run it there, or give --host and --port"
        )
    host = host or ("127.0.0.1" if own == "localhost" else own)
    return host, port if port is not None else parts.port or 8000


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _flags(
    settings: VllmSettings, serve: ServeSettings, adapters: Sequence[AdapterManifest]
) -> list[str]:
    flags: list[str] = []
    if serve.max_model_len is not None:
        flags += ["--max-model-len", str(serve.max_model_len)]
    if serve.dtype is not None:
        flags += ["--dtype", serve.dtype]
    if settings.priority:
        flags += ["--scheduling-policy", "priority"]
    if adapters and settings.adapters == "auto":
        wanted = serve.max_loras or settings.max_loras or min(len(adapters), MAX_SLOTS)
        largest = max(manifest.rank for manifest in adapters)
        flags += [
            "--enable-lora",
            *("--max-loras", str(wanted)),
            *("--max-cpu-loras", str(max(wanted, len(adapters)))),
            *("--max-lora-rank", str(next(rank for rank in RANKS if rank >= largest))),
        ]
    return flags


def _environ(settings: VllmSettings, serve: ServeSettings, *, is_folder: bool) -> dict[str, str]:
    environ = {
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        # `python -m` would take a folder named vllm beside the log for the real one.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if is_folder:
        environ["HF_HUB_OFFLINE"] = "1"
    key = os.environ.get(settings.api_key_env) if settings.api_key_env else None
    if key:
        # Not as an argument: everybody on the machine can read those.
        environ["VLLM_API_KEY"] = key
    return {**environ, **serve.env}
