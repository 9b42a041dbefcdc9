"""A world from a stranger is data until its owner trusts it, exactly as it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendSettings, BackendType
from palaver.config.load import load_settings
from palaver.errors import ConfigError, TrustError
from palaver.server.security import check_binding
from palaver.testing.scripted import ScriptedBackend
from palaver.world.trust import TrustStore, restrict_untrusted, world_hash, world_settings


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A world with a plugin and settings."""
    folder = tmp_path / "world"
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "moon.py").write_text("x = 1\n")
    (folder / "palaver.toml").write_text("")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> TrustStore:
    """An empty list of trusted worlds."""
    return TrustStore(tmp_path / "config" / "trusted.json")


def test_trust_is_bound_to_what_could_do_harm(world: Path, store: TrustStore) -> None:
    """Another persona changes nothing; another plugin, or one line of it, ends the trust."""
    assert not store.is_trusted(world)
    store.trust(world)
    assert store.is_trusted(world)
    (world / "personas").mkdir()
    (world / "personas" / "a.md").write_text("hello")
    assert store.is_trusted(world)
    (world / "plugins" / "moon.py").write_text("x = 2\n")
    assert not store.is_trusted(world)
    assert store.has_changed(world)
    store.trust(world)
    (world / "moderation").mkdir()
    (world / "moderation" / "insult.txt").write_text("knave\n")
    assert store.is_trusted(world), "words to look for do no harm"
    (world / "moderation" / "except.txt").write_text("knave\n")
    assert not store.is_trusted(world)
    store.trust(world)
    assert store.revoke(world)
    assert not store.is_trusted(world)
    assert not store.revoke(world)


def test_hashes_of_moved_bytes_differ(world: Path) -> None:
    """What one file loses and the next one wins is not the same world."""
    before = world_hash(world)
    (world / "plugins" / "moon.py").write_text("x = ")
    (world / "plugins" / "moon2.py").write_text("1\n")
    assert world_hash(world) != before


def test_the_list_is_the_users_own(world: Path, store: TrustStore) -> None:
    """Nobody else may read or change it."""
    store.trust(world)
    assert store.file.stat().st_mode & 0o777 == 0o600


def test_only_files_are_read(world: Path, store: TrustStore) -> None:
    """A device, a pipe or a folder with the name of a plugin does not stop the server."""
    os.mkfifo(world / "plugins" / "pipe.py")
    (world / "plugins" / "zero.py").symlink_to("/dev/zero")
    (world / "plugins" / "folder.py").mkdir()
    store.trust(world)
    assert store.is_trusted(world)


def test_a_broken_list_is_an_error(world: Path, store: TrustStore) -> None:
    """It is not taken for an empty one, and says what to do."""
    store.trust(world)
    store.file.write_text("{")
    with pytest.raises(TrustError, match="mend it, or remove it"):
        store.is_trusted(world)
    store.file.write_text("[]")
    with pytest.raises(TrustError, match="remove it and trust worlds anew"):
        store.is_trusted(world)


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        ({"type": "vllm", "urls": ["http://127.0.0.1:8000"]}, True),
        ({"type": "vllm", "urls": ["http://localhost:8000", "http://[::1]:1"]}, True),
        ({"type": "static"}, True),
        ({"type": "vllm", "urls": ["http://127.0.0.1:1", "http://10.0.0.8:8000"]}, False),
        ({"type": "vllm", "url": "http://127.0.0.1.evil.example"}, False),
        ({"type": "vllm", "url": "http://127.0.0.1@evil.example/"}, False),
        ({"type": "cloud", "provider": "openai", "model": "m"}, False),
        ({"type": "vllm", "url": "http://127.0.0.1", "api_key_env": "HOME"}, False),
        ({"type": "vllm", "extra": {"deep": ["http://evil.example"]}}, False),
        ({"type": "other", "host": "evil.example:8000"}, False),
        ({"type": "foo", "server": "evil.example:80"}, False),
        ({"type": "foo", "server": "[2001:db8::1]:80/v1"}, False),
        ({"type": "foo", "server": "127.0.0.1:80"}, True),
        ({"type": "other", "host": "127.0.0.1:8000", "urls": ["localhost:1", "[::1]:2"]}, True),
    ],
    ids=[
        "loopback",
        "names",
        "none",
        "network",
        "name",
        "user",
        "provider",
        "key",
        "nested",
        "host",
        "unknown key",
        "unknown key, number",
        "unknown key, here",
        "here",
    ],
)
def test_addresses_and_keys_need_trust(table: dict[str, Any], kept: bool) -> None:
    """Only what stays on this machine and uses no key is left."""
    left, notes = restrict_untrusted({"backends": {"local": table}})
    assert ("local" in left["backends"]) is kept
    assert bool(notes) is not kept


def kind(name: str, *, addresses: frozenset[str] | None, instant: bool = False) -> BackendType:
    """Return a backend type."""
    create = lambda name, settings, context: ScriptedBackend(name)  # noqa: E731  # never called
    return BackendType(name, BackendSettings, create, instant=instant, addresses=addresses)


@pytest.mark.parametrize(
    ("type_", "table", "kept"),
    [
        (kind("foo", addresses=None), {}, False),
        (kind("foo", addresses=None, instant=True), {}, True),
        (kind("foo", addresses=frozenset()), {"model": "qwen:7"}, True),
        (kind("foo", addresses=frozenset()), {"more": ["http://evil.example"]}, False),
        (kind("foo", addresses=frozenset({"server"})), {"server": "evil.example"}, False),
        (kind("foo", addresses=frozenset({"server"})), {"server": {"a": "evil.example"}}, False),
        (kind("foo", addresses=frozenset({"server"})), {"server": "localhost:80"}, True),
    ],
)
def test_types_declare_their_addresses(
    type_: BackendType, table: dict[str, Any], kept: bool
) -> None:
    """A type that does not say what it talks to is not used by an untrusted world."""
    left, _ = restrict_untrusted({"backends": {"a": {"type": "foo", **table}}}, {"foo": type_})
    assert ("a" in left["backends"]) is kept


def test_a_strangers_token_lets_nobody_in(world: Path) -> None:
    """Where other machines can reach the server, only tokens of whoever runs it count."""
    (world / "palaver.toml").write_text(
        f'[[server.tokens]]\nrole = "engine"\nsha256 = "{"0" * 64}"\n'
    )
    here, _ = world_settings(world, trusted=False)
    assert len(here.server.tokens) == 1
    for host in ("0.0.0.0", "::"):
        reached, notes = world_settings(world, trusted=False, overrides={"server.host": host})
        assert reached.server.tokens == []
        assert "tokens" in notes[0]
        with pytest.raises(ConfigError, match="once it is trusted"):
            check_binding(reached.server)
    own = {"PALAVER_SERVER__TOKENS": f'[{{role = "engine", sha256 = "{"1" * 64}"}}]'}
    mine, _ = world_settings(
        world, trusted=False, environ=own, overrides={"server.host": "0.0.0.0"}
    )
    assert [token.sha256 for token in mine.server.tokens] == ["1" * 64]
    for overrides in ({"server.host": "0.0.0.0"}, {"server.host": "::1"}):
        trusted, _ = world_settings(world, trusted=True, overrides=overrides)
        assert len(trusted.server.tokens) == 1


def test_an_untrusted_world_blocks_no_plugins(world: Path) -> None:
    """A stranger does not switch off what the operator installed."""
    (world / "palaver.toml").write_text('[plugins]\nblock = ["moderation"]\n')
    settings, notes = world_settings(world, trusted=False)
    assert settings.plugins.block == []
    assert notes == ["[plugins] block is left out"]


WEAK = """
[limits]
hook_ms = 600000
cache_bytes = 100000000000
[quality]
watch = false
[memory]
keep = 1000000000
[spend]
prices = "/etc/passwd"
usd_per_day = 1
[tiers.elite]
safety = "off"
checks = []
max_tokens = 40
[tiers.guard]
chain = ["static"]
safety = "strict"
checks = ["empty", "refusal", "leak", "language", "repeat"]
[tiers.boss]
safety = "normal"
checks = ["empty"]
[backends.local]
type = "vllm"
usd_per_m_prompt = 0
"""


def test_an_untrusted_world_weakens_nothing(world: Path) -> None:
    """What bounds, checks and watches stays as it is shipped; it may be stricter and smaller."""
    (world / "palaver.toml").write_text(WEAK)
    settings, notes = world_settings(world, trusted=False)
    shipped = load_settings(None, environ={})
    assert settings.limits == shipped.limits
    assert settings.quality == shipped.quality
    assert settings.memory == shipped.memory
    assert (settings.spend.prices, settings.spend.usd_per_day) == (None, 1)
    elite, boss, guard = (settings.tiers[name] for name in ("elite", "boss", "guard"))
    assert (elite.safety, elite.checks) == ("normal", shipped.tiers["elite"].checks)
    assert elite.max_tokens == 40
    assert boss == shipped.tiers["boss"]
    assert guard.safety == "strict"
    assert "usd_per_m_prompt" not in settings.backends["local"]
    assert notes == [
        "[backends.local] usd_per_m_prompt is left out",
        "[tiers.elite] checks, safety is left out",
        "[tiers.boss] checks, safety is left out",
        "[memory] keep is left out",
        "[spend] prices is left out",
        "[limits] cache_bytes, hook_ms is left out",
        "[quality] watch is left out",
    ]
    assert world_settings(world, trusted=True)[0].limits.hook_ms == 600_000


@pytest.mark.parametrize("text", ["tiers = 1", "limits = 1", "[tiers]\nelite = 1"])
def test_nonsense_is_said_to_be_nonsense(world: Path, text: str) -> None:
    """What is no table is an error of the settings, not of looking for harm."""
    (world / "palaver.toml").write_text(text)
    with pytest.raises(ConfigError):
        world_settings(world, trusted=False)


def test_an_untrusted_world_opens_no_door(world: Path) -> None:
    """It cannot choose the address, but its tokens are asked for."""
    (world / "palaver.toml").write_text(
        '[server]\nhost = "0.0.0.0"\norigins = ["http://x"]\nport = 5\n'
        '[[server.tokens]]\nrole = "engine"\nenv = "GAME_TOKEN"\n'
    )
    settings, notes = world_settings(world, trusted=False)
    assert settings.server.host == "127.0.0.1"
    assert settings.server.origins == []
    assert settings.server.port == 5
    assert len(settings.server.tokens) == 1
    assert notes == ["[server] host, origins is left out"]
    settings, notes = world_settings(world, trusted=True)
    assert (settings.server.host, notes) == ("0.0.0.0", [])


def test_environment_and_flags_are_whoever_runs_it(world: Path) -> None:
    """What does not come from the file needs no trust."""
    settings, notes = world_settings(
        world,
        trusted=False,
        environ={"PALAVER_SERVER__ORIGINS": '["http://a"]'},
        overrides={"server.host": "::1"},
    )
    assert settings.server.origins == ["http://a"]
    assert settings.server.host == "::1"
    assert notes == []
