import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from palaver.cli import main
from palaver.errors import ConfigError
from palaver.testing.fake_vllm_lab import free_port
from palaver.world.trust import TrustStore
from palaver_vllm.serve import log as logs
from palaver_vllm.serve.commands import run_down
from palaver_vllm.serve.plan import key_names, make_plan, state_folder
from palaver_vllm.serve.process import call
from palaver_vllm.serve.state import State, birth, read_states, write_state

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="vLLM does not run on Windows")

PERSONA = """\
---
name: Valerius
adapter: vampire@1
last_words: The night has no words for you.
---
{% block identity %}You are a vampire.{% endblock %}
"""
SERVER = '''\
"""Behaves on the command line as vLLM does, and serves the fake."""
import argparse, asyncio, os, sys
from palaver.testing.fake_vllm import FakeVllm
parser = argparse.ArgumentParser()
for flag in ("model", "served-model-name", "host"):
    parser.add_argument("--" + flag)
parser.add_argument("--port", type=int)
parser.add_argument("--enable-lora", action="store_true")
for flag in ("max-loras", "max-cpu-loras", "max-lora-rank", "max-model-len"):
    parser.add_argument("--" + flag, type=int, default=1)
parser.add_argument("--enable-prefix-caching", action="store_true")
args = parser.parse_args()
def say(text):
    print("(APIServer pid=1) INFO 11-21 20:02:00 [core.py:58] " + text, flush=True)
say("Initializing a V1 LLM engine")
print("environ", {name: os.environ.get(name) for name in (
    "HF_HUB_OFFLINE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK")})
if "broken" in args.model:
    print("ValueError: the KV cache is too small for max_model_len", file=sys.stderr)
    sys.exit(1)
async def main():
    async with FakeVllm(model=args.served_model_name, root=args.model, port=args.port,
                        max_lora_rank=args.max_lora_rank, api_key=os.environ.get("VLLM_API_KEY")):
        say("Application startup complete.")
        await asyncio.Event().wait()
if "slow" in args.model:
    import time
    time.sleep(60)
asyncio.run(main())
'''


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A world with a backend that serves a model of its own, and two adapters."""
    folder = tmp_path / "game"
    for name in ("personas", "adapters", "models/tiny", "models/broken", "models/slow"):
        (folder / name).mkdir(parents=True)
    (folder / "personas" / "vampire.md").write_text(PERSONA)
    for name, base, rank in (("vampire", "tiny", 8), ("zombie", "tiny", 20), ("elf", "llama", 8)):
        weights = folder / "weights" / name
        weights.mkdir(parents=True)
        (weights / "adapter_config.json").write_text(json.dumps({"r": rank}))
        (folder / "adapters" / f"{name}@1.toml").write_text(
            f'name = "{name}"\nversion = "1"\nbase = "{base}"\nrank = {rank}\n'
            f'path = "../weights/{name}"\n'
        )
    (folder / "palaver.toml").write_text(
        f'[backends.local]\ntype = "vllm"\nurl = "http://127.0.0.1:{free_port()}"\n'
        '[backends.local.serve]\nmodel = "models/tiny"\nmax_model_len = 512\n'
    )
    package = tmp_path / "stand-in" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for part in (package, *list(package.parents)[:2]):
        (part / "__init__.py").touch()
    (package / "api_server.py").write_text(SERVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stand-in"))
    monkeypatch.setenv("PALAVER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    TrustStore().trust(folder)
    return folder


def palaver(*args: str) -> Result:
    """Run `palaver` inside this process."""
    return CliRunner().invoke(main, args)


def palaver_process(*args: str) -> subprocess.Popen[str]:
    """Run `palaver` as a person does."""
    return subprocess.Popen(
        [sys.executable, "-m", "palaver", *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def down(world: Path) -> Iterator[None]:
    """Whatever a test started is taken down at its end."""
    yield
    run_down(state_folder(str(world)), None)


def flags(command: list[str]) -> Mapping[str, str]:
    """Return the flags of a command line with their values."""
    return {
        flag: value for flag, value in zip(command, [*command[1:], ""], strict=True) if "--" in flag
    }


def test_plans_what_the_world_needs(world: Path) -> None:
    """Model, address and adapters of the world become flags; adapters of other bases do not."""
    plan = make_plan(str(world))
    found = flags(list(plan.command))
    assert found["--model"] == str(world / "models" / "tiny")
    assert found["--served-model-name"] == plan.served == "tiny"
    assert found["--max-model-len"] == "512"
    assert found["--enable-lora"]
    assert (found["--max-loras"], found["--max-cpu-loras"]) == ("2", "2")
    assert found["--max-lora-rank"] == "32"
    assert "--enable-prefix-caching" in found
    assert found["--port"] == plan.url.rpartition(":")[2]
    assert plan.environ["HF_HUB_OFFLINE"] == "1"
    assert [manifest.id for manifest in plan.left_out] == ["elf@1"]


def test_a_model_from_the_hub_is_no_folder(world: Path) -> None:
    """The name of a model on the Hub is passed on, and the Hub is not switched off."""
    plan = make_plan(str(world), model="org/llama")
    assert plan.served == "org/llama"
    assert "HF_HUB_OFFLINE" not in plan.environ
    assert [manifest.id for manifest in plan.adapters] == ["elf@1"]


def test_an_untrusted_world_starts_no_model_of_its_own(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments for a server need trust; without it only what the person gives is used."""
    monkeypatch.setenv("PALAVER_CONFIG_DIR", str(tmp_path / "other"))
    with pytest.raises(ConfigError, match="give its folder with --model"):
        make_plan(str(world))
    plan = make_plan(str(world), model=str(world / "models" / "tiny"))
    assert "palaver trust" in plan.notes[0]


def test_a_server_elsewhere_is_not_started_here(world: Path) -> None:
    """A backend on another machine is an error that says where to run the command."""
    toml = world / "palaver.toml"
    toml.write_text('[backends.local]\ntype = "vllm"\nurl = "http://gpu.example:8000"\n')
    TrustStore().trust(world)
    with pytest.raises(ConfigError, match=r"is on 'gpu\.example'"):
        make_plan(str(world), model="org/llama")


@pytest.mark.usefixtures("down")
def test_up_status_down(world: Path) -> None:
    """`up` starts a server with the adapters loaded, `status` shows it, `down` ends it."""
    process = palaver_process("vllm", "up", str(world))
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "tiny is ready at http://127.0.0.1:" in out
    assert "adapters: vampire@1, zombie@1" in out
    assert "adapter elf@1 is for 'llama'" in err
    (row,) = json.loads(palaver("vllm", "status", str(world), "--json").stdout)
    assert row["state"] == "ready"
    assert row["models"] == ["tiny", "vampire@1", "zombie@1"]
    assert "'HF_HUB_OFFLINE': '1'" in Path(row["log"]).read_text()
    assert birth(row["pid"]) is not None
    again = palaver("vllm", "up", str(world))
    assert again.exit_code == 1
    assert "runs already" in again.stderr
    assert "Stopped the server" in palaver("vllm", "down", str(world)).stdout
    assert birth(row["pid"]) is None
    assert call(row["url"], "/health")[0] == 0
    assert "No server was started" in palaver("vllm", "status", str(world)).stdout


def test_a_server_that_dies_says_why(world: Path) -> None:
    """When vLLM ends before it is ready the end of its log and what to do are shown."""
    done = palaver("vllm", "up", str(world), "--model", str(world / "models" / "broken"))
    assert done.exit_code == 1
    assert "ended with code 1" in done.stderr
    assert "the KV cache is too small" in done.stderr
    assert "max_model_len" in done.stderr.rpartition("What to do:")[2]
    assert read_states(state_folder(str(world))) == []


def test_a_server_that_takes_too_long_is_ended(world: Path) -> None:
    """After the time-out nothing of the server is left."""
    done = palaver(
        "vllm", "up", str(world), "--model", str(world / "models" / "slow"), "--timeout", "1.5"
    )
    assert done.exit_code == 1
    assert "was not ready after" in done.stderr
    assert read_states(state_folder(str(world))) == []


def test_missing_vllm_says_how_to_get_it(world: Path, tmp_path: Path) -> None:
    """Without vLLM the message names package and option."""
    (tmp_path / "stand-in" / "vllm").rename(tmp_path / "stand-in" / "other")
    python = tmp_path / "python"
    # No site packages: whatever is installed here, that Python has no vLLM.
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    done = palaver("vllm", "up", str(world), "--python", str(python))
    assert done.exit_code == 1
    assert "pip install vllm" in done.stderr
    assert "--python" in done.stderr


@pytest.mark.usefixtures("down")
def test_foreground_ends_with_ctrl_c(world: Path) -> None:
    """With --foreground Ctrl-C takes the server down."""
    process = palaver_process("vllm", "up", str(world), "--foreground")
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Stop it with Ctrl-C" in line:
            break
    (state,) = read_states(state_folder(str(world)))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, (lines, out, err)
    assert not state.is_alive()
    assert read_states(state_folder(str(world))) == []


def test_down_does_not_touch_a_stranger(world: Path) -> None:
    """A process that only has the same number is left alone."""
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        state = State("local", other.pid, "1", "http://127.0.0.1:1", "tiny", "x.log")
        write_state(state_folder(str(world)), state)
        assert "was not running any more" in palaver("vllm", "down", str(world)).stdout
        assert other.poll() is None
    finally:
        other.communicate()


def test_a_world_cannot_say_what_was_started_for_it(world: Path) -> None:
    """A note that came with a world gets no signal sent and no key, trusted or not."""
    other = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        (world / "data").mkdir(exist_ok=True)
        born = birth(other.pid) or ""
        forged = State("local", other.pid, born, "http://127.0.0.1:1", "tiny", "x.log")
        write_state(world / "data", forged)
        assert "No server was started" in palaver("vllm", "down", str(world)).stdout
        assert "No server was started" in palaver("vllm", "status", str(world)).stdout
        assert other.poll() is None
        assert birth(other.pid) == born
    finally:
        other.communicate()
    toml = world / "palaver.toml"
    toml.write_text('[backends.local]\ntype = "vllm"\napi_key_env = "HOME"\n')
    assert key_names(str(world)) == {}
    TrustStore().trust(world)
    assert key_names(str(world)) == {"local": "HOME"}


def test_a_process_that_ended_is_not_alive() -> None:
    """A process is known by its birth until it ends, also as long as nobody has waited for it."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = birth(process.pid)
    assert born
    process.kill()
    deadline = time.monotonic() + 10
    while birth(process.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert birth(process.pid) is None
    process.communicate()


def test_reads_the_log_for_people(tmp_path: Path) -> None:
    """The last words are without time and source, and drawings are skipped."""
    log = tmp_path / "vllm.log"
    log.write_text(
        "(EngineCore pid=7) INFO 11-21 20:02:00 [gpu_worker.py:1] Loading weights took 3 s\n"
        "(APIServer pid=1) INFO 11-21 20:02:01 [utils.py:2]        \u2588\u2588 \u2584\u2584 |\n"
        "Loading safetensors:  50%|#####     |\n\n"
    )
    assert logs.last_words(log) == "Loading weights took 3 s"
    assert logs.last_words(tmp_path / "none") == ""
    assert "INFO 11-21" in logs.failure(log)
    assert logs.advice(log) == "see the log for the reason"
