"""A real vLLM server with the tiny model, started by our own code, for all tests of this folder."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import palaver_prompts
from palaver.chain.backend import BackendContext, BackendType
from palaver.testing.fake_vllm_lab import free_port
from palaver.testing.server import RunningServer, running_server
from palaver.world.loader import load_world
from palaver.world.trust import TrustStore
from palaver_vllm import palaver_register_backends
from palaver_vllm.backend import VllmBackend
from palaver_vllm.config import VllmSettings
from palaver_vllm.serve.plan import state_folder
from palaver_vllm.serve.process import call
from palaver_vllm.serve.state import State, read_states

TINY = Path(
    os.environ.get("PALAVER_TEST_TINY") or Path(__file__).parents[1] / "models" / "tiny"
).resolve()
PYTHON = os.environ.get("PALAVER_TEST_VLLM_PYTHON", sys.executable)
KEY_ENV = "PALAVER_TEST_VLLM_KEY"
KEY = "a key for tests"
READY_S = 300.0
SETTINGS = """\
[server]
detect = false

[backends.local]
type = "vllm"
url = "http://127.0.0.1:{port}"
model = "tiny"
api_key_env = "{key_env}"
load_wait_ms = 200

[backends.local.serve]
model = "base"
dtype = "bfloat16"
max_loras = 4
# The CPU build dies when the prompt of a seeded request is prefilled in more than one chunk.
args = ["--enforce-eager", "--no-enable-chunked-prefill"]
env = {{ VLLM_CPU_KVCACHE_SPACE = "1" }}

# A busy machine without a graphics card may take its time.
[tiers.grunt]
chain = ["local", "static"]
first_text_ms = 20000
first_token_ms = 19000
stall_ms = 10000
total_ms = 60000
max_tokens = 60

[tiers.elite]
chain = ["local", "static"]
first_text_ms = 20000
first_token_ms = 19000
stall_ms = 10000
total_ms = 60000
max_tokens = 60
"""


def _reason() -> str | None:
    """Return why the real server cannot be tested here, or None."""
    if not (TINY / "base" / "config.json").is_file():
        return f"the tiny model is not in {TINY}; `tox -e tiny` makes it"
    look = "import importlib.util, sys; sys.exit(not importlib.util.find_spec('vllm'))"
    if subprocess.run([PYTHON, "-c", look], check=False, timeout=60).returncode:
        return "vLLM is not installed here; `tox -e vllm` installs it"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder, and skip it where there is no vLLM."""
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    reason = _reason() if here else None
    for item in here:
        item.add_marker(pytest.mark.vllm)
        item.add_marker(pytest.mark.timeout(READY_S + 300))
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


class RealServer:
    """The server of the world, which tests may kill; started as a person starts it.

    Attributes:
        world: The world it is started for.
        url: Where it listens.
        output: What `palaver vllm up` said.
    """

    def __init__(self, world: Path, url: str) -> None:
        self.world, self.url = world, url
        self.output = ""
        # Once: it finds the world through all plugins, and a kill must not wait for that.
        self._folder = state_folder(str(world))

    def _states(self) -> list[State]:
        return [state for state in read_states(self._folder) if state.is_alive()]

    def palaver(self, *args: str) -> str:
        """Run a command for the world and return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "palaver", "vllm", *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_S + 60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ensure(self) -> None:
        """Start it, unless it runs."""
        if not self._states():
            limit = ("--timeout", str(READY_S))
            self.output = self.palaver("up", str(self.world), "--python", PYTHON, *limit)

    def stop(self) -> str:
        """End it and return what the command said."""
        return self.palaver("down", str(self.world))

    def kill(self) -> None:
        """End it without a warning, workers and all, and at once."""
        for state in self._states():
            os.killpg(state.pid, signal.SIGKILL)

    async def call(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask it something."""
        return await asyncio.to_thread(call, self.url, path, body=body, key=KEY, limit_s=30)

    async def metric(self, name: str) -> float:
        """Return one of its metrics."""
        _, text = await self.call("/metrics")
        values = [
            float(line.split()[-1]) for line in str(text).splitlines() if line.startswith(name)
        ]
        assert values, f"no metric {name}"
        return sum(values)

    async def running(self) -> int:
        """Return how many generations run."""
        return int(await self.metric("vllm:num_requests_running"))

    async def unload(self, adapter: str) -> None:
        """Let it forget the name of an adapter."""
        await self.call("/v1/unload_lora_adapter", {"lora_name": adapter})


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the Body Broker with the tiny model and its adapters."""
    folder = tmp_path_factory.mktemp("real") / "broker"
    shipped = Path(palaver_prompts.__file__).parent / "worlds" / "body-broker"
    shutil.copytree(shipped, folder)
    # The manifests' paths lead one folder up, to the weights.
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    text = SETTINGS.format(port=free_port(), key_env=KEY_ENV)
    (folder / "palaver.toml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALAVER_CONFIG_DIR", str(folder.parent / "config"))
        patch.setenv(KEY_ENV, KEY)
        TrustStore().trust(folder)
        yield folder


@pytest.fixture(scope="session")
def _one_server(world: Path) -> Iterator[RealServer]:
    url = tomllib.loads((world / "palaver.toml").read_text())["backends"]["local"]["url"]
    server = RealServer(world, url)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(_one_server: RealServer) -> RealServer:
    """The real server, running."""
    _one_server.ensure()
    return _one_server


@pytest.fixture
async def make_backend(world: Path, server: RealServer) -> AsyncIterator[Any]:
    """Make backends of settings, closed at the end."""
    snapshot = await asyncio.to_thread(load_world, world, trusted=True)
    made: list[VllmBackend] = []

    def make(**settings: Any) -> VllmBackend:
        settings = {"url": server.url, "api_key_env": KEY_ENV, **settings}
        context = BackendContext(world, lambda: snapshot.adapters, lambda _line: None)
        made.append(VllmBackend("local", VllmSettings(type="vllm", **settings), context))
        return made[-1]

    yield make
    for backend in made:
        await backend.close()


@asynccontextmanager
async def _palaver(world: Path, **overrides: Any) -> AsyncIterator[RunningServer]:
    types: list[BackendType] = []
    palaver_register_backends(types.append)
    environ = {"PALAVER_PLUGINS": "static,prompts"}
    async with running_server(
        world, backend_types=types, environ=environ, overrides=overrides
    ) as running:
        yield running


@pytest.fixture
async def palaver(world: Path, server: RealServer) -> AsyncIterator[RunningServer]:
    """A whole Palaver on the real server."""
    async with _palaver(world) as running:
        yield running


@pytest.fixture
async def long_winded(world: Path, server: RealServer) -> AsyncIterator[RunningServer]:
    """A whole Palaver whose characters do not stop by themselves."""
    extra = {"backends.local.extra_body": {"ignore_eos": True}}
    async with _palaver(world, **extra) as running:
        yield running
