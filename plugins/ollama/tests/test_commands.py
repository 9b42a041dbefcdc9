import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from palaver.cli.group import main
from palaver.cli.loops import LoopThread
from palaver.testing.fake_ollama import FakeModel, FakeOllama
from palaver.testing.fake_vllm_lab import free_port

LAYER = {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5aa3fc5ff", "total": 2019377376}
STEPS = (
    LAYER,
    {**LAYER, "completed": 241970},
    {**LAYER, "completed": 2019377376},
    {"status": "verifying sha256 digest"},
    {"status": "writing manifest"},
    {"status": "success"},
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeOllama]:
    """A fake Ollama beside the command, which has an event loop of its own."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PALAVER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    fake = FakeOllama()
    with LoopThread() as loop, loop.holding(fake):
        fake.pulls["llama3.2"] = STEPS
        yield fake


def palaver(*args: str) -> Result:
    """Run `palaver` inside this process."""
    return CliRunner().invoke(main, args, prog_name="palaver")


@pytest.fixture
def world(server: FakeOllama, palaver_world: Path) -> Path:
    """A world with a backend on the fake server."""
    (palaver_world / "palaver.toml").write_text(
        f'[backends.local]\ntype = "ollama"\nurl = "{server.url}"\nmodel = "llama3.2"\n'
    )
    return palaver_world


def test_pull_downloads_to_the_servers_of_a_world(server: FakeOllama, world: Path) -> None:
    """Each step is told once where there is no terminal, and then the model is there."""
    result = palaver("ollama", "pull", "llama3.2", str(world))
    assert result.exit_code == 0, result.output
    assert result.stdout == f"llama3.2 is ready at {server.url}.\n"
    assert result.stderr.splitlines() == [
        f"downloading llama3.2 to {server.url}",
        "pulling manifest",
        "pulling dde5aa3fc5ff (1.9 GiB)",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    assert "llama3.2:latest" in server.models


def test_pull_tells_programs_every_step(server: FakeOllama) -> None:
    """With --json each line is an object, and the last one says that it is done."""
    result = palaver("ollama", "pull", "llama3.2", "--url", server.url, "--json")
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events[2] == {
        "event": "progress",
        "status": "pulling dde5aa3fc5ff",
        "digest": "sha256:dde5aa3fc5ff",
        "total": 2019377376,
        "completed": 241970,
    }
    assert events[-1] == {"event": "done", "model": "llama3.2", "url": server.url}


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (None, "there is no model 'elf' to download"),
        ([{"error": "max retries exceeded: EOF"}], "run the command again to go on with it"),
        ([LAYER], "stopped telling of the download"),
        ([{"status": 7}], "what is no progress"),
    ],
)
def test_pull_says_why_it_failed(
    server: FakeOllama, steps: list[dict[str, object]] | None, words: str
) -> None:
    """A name that does not exist, and a download that breaks, say what to do."""
    if steps is not None:
        server.pulls["elf"] = steps
    result = palaver("ollama", "pull", "elf", "--url", server.url)
    assert result.exit_code == 1
    assert words in result.stderr


def test_pull_needs_a_server(server: FakeOllama) -> None:
    """Where nobody listens it says how a server is started; a bad address is a bad address."""
    result = palaver("ollama", "pull", "elf", "--url", f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "`ollama serve` starts it" in result.stderr
    result = palaver("ollama", "pull", "elf", "--url", "gpu")
    assert result.exit_code == 1
    assert "--url: write an address" in result.stderr


def test_bars_are_drawn_for_a_person(server: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal a layer has a bar with its size."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    result = palaver("ollama", "pull", "llama3.2", "--url", server.url)
    assert result.exit_code == 0, result.output
    assert "pulling dde5aa3fc5ff" in result.stderr
    assert "2.0/2.0 GB" in result.stderr


def test_status_shows_what_is_in_memory(server: FakeOllama, world: Path) -> None:
    """A model in memory has its size, its share of the graphics card, and an end."""
    result = palaver("ollama", "status", str(world))
    assert result.exit_code == 0, result.output
    assert "Ollama 0.12.6" in result.stdout
    assert "no model in memory (on disk: tiny:latest)" in result.stdout
    server.models["tiny:latest"] = FakeModel(size=2**31)
    # Loaded the way a turn would.
    loaded = palaver("doctor", str(world), "--set", 'backends.local.model="tiny"')
    assert "tiny" in loaded.stdout
    result = palaver("ollama", "status", str(world))
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("tiny:latest")]
    assert row.split("  ")[0] == "tiny:latest"
    assert "2.0 GiB (100%)" in row
    assert "4,096" in row
    assert row.rstrip().endswith("30 min")
    (told,) = json.loads(palaver("ollama", "status", str(world), "--json").stdout)
    assert (told["backend"], told["ok"], told["on_disk"]) == ("local", True, ["tiny:latest"])
    assert 0 < told["models"][0]["expires_in_s"] <= 1800


def test_status_of_a_server_that_is_away(server: FakeOllama) -> None:
    """It is told, and the exit code is 1."""
    url = f"http://127.0.0.1:{free_port()}"
    result = palaver("ollama", "status", "--url", url)
    assert result.exit_code == 1
    assert "cannot connect" in result.stdout
    result = palaver("ollama", "status", "--url", url, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["ok"] is False


def test_an_npc_speaks_through_it(server: FakeOllama, world: Path) -> None:
    """A turn goes all the way: persona, prompt, server, words."""
    server.replies = [["The ", "night", " is ", "long."]]
    result = palaver(
        "chat", str(world), "--npc", "vampire", "--say", "Good evening.",
        "--set", 'backends.local.model="tiny"', "--set", "tiers.elite.first_text_ms=20000",
        "--set", "tiers.elite.first_token_ms={local=15000}",
        "--set", "tiers.elite.total_ms=25000",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "The night is long."
    assert server.asked[0].body["options"]["num_predict"] == 120
    assert server.asked[0].last.endswith("Good evening.")


def test_starting_tells_of_backends_that_fight(server: FakeOllama, world: Path) -> None:
    """Whoever starts a world whose backends make a server swap models is told so."""
    with (world / "palaver.toml").open("a") as file:
        file.write(f'[backends.cheap]\ntype = "ollama"\nurl = "{server.url}"\nmodel = "tiny"\n')
    result = palaver("doctor", str(world))
    assert "share the server" in result.output
