"""`[plugins.NAME]`: a table that belongs to a plugin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from palaver.errors import ConfigError
from palaver.startup import prepare
from palaver.testing.server import running_server
from palaver.world.trust import TrustStore

PLUGIN = """\
from pydantic import BaseModel, ConfigDict, Field

from palaver import hookimpl
from palaver.plugins import PluginSettings


class MoonSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    phase: str = Field(default="full", description="The phase.")


class Moon:
    name = "moon"
    phase = ""

    def routes(self, gateway):
        return ()

    async def start(self, gateway):
        self.phase = MoonSettings.model_validate(gateway.settings.plugins.of("moon")).phase

    async def close(self):
        pass


@hookimpl
def palaver_register_settings(register):
    register(PluginSettings("moon", MoonSettings))


@hookimpl
def palaver_register_bridges(register):
    register(Moon())
"""


@pytest.fixture
def world(palaver_world: Path) -> Path:
    """A world with a plugin that has settings."""
    (palaver_world / "plugins").mkdir()
    (palaver_world / "plugins" / "moon.py").write_text(PLUGIN, encoding="utf-8")
    return palaver_world


def say(world: Path, text: str) -> int:
    """Append to `palaver.toml`; returns the line before."""
    toml = world / "palaver.toml"
    before = toml.read_text(encoding="utf-8")
    toml.write_text(f"{before}\n{text}", encoding="utf-8")
    return before.count("\n") + 1


async def test_a_plugin_reads_its_own_table(world: Path) -> None:
    """What stands in `[plugins.NAME]` reaches the plugin that declared it."""
    say(world, '[plugins.moon]\nphase = "new"\n')
    async with running_server(world) as palaver:
        (bridge,) = palaver.gateway.plugins.bridges
        assert bridge.phase == "new"  # type: ignore[attr-defined]  # the world's plugin


async def test_a_wrong_key_stops_the_start(world: Path) -> None:
    """A typo in a plugin's table is told with key, line and the nearest right one."""
    line = say(world, '[plugins.moon]\nfase = "new"\n')
    with pytest.raises(ConfigError) as caught:
        async with running_server(world):
            pass
    assert caught.value.key == "plugins.moon.fase"
    assert caught.value.line == line + 2
    assert "phase" in str(caught.value)


def test_check_tells_of_a_wrong_key(
    world: Path, cli: Callable[..., Result], cli_environ: dict[str, str]
) -> None:
    """`palaver check` names a wrong key of a plugin's table, and a table that nobody reads."""
    say(world, '[plugins.moon]\nfase = "new"\n[plugins.sun]\n')
    TrustStore(Path(cli_environ["PALAVER_CONFIG_DIR"]) / "trusted.json").trust(world)
    done = cli("check", str(world))
    assert done.exit_code == 1
    assert "plugins.moon.fase" in done.output
    assert "no plugin reads [plugins.sun]" in " ".join(done.output.split())


async def test_a_table_without_its_plugin_is_told(palaver_world: Path) -> None:
    """A table of a plugin that is not installed stops nothing, but is told."""
    say(palaver_world, "[plugins.sun]\nshines = true\n")
    trust = TrustStore(palaver_world.parent / "trusted.json")
    trust.trust(palaver_world)
    async with running_server(palaver_world) as palaver:
        assert palaver.gateway.settings.plugins.names == ["sun"]
    parts = await prepare(
        palaver_world,
        environ={"PALAVER_PLUGINS": ""},
        backend_types=[entry.type for entry in palaver.gateway.backends.values()],
        trust=trust,
    )
    assert "no plugin reads [plugins.sun]; is it installed?" in parts.notes


async def test_a_world_that_is_not_trusted_sets_nothing_of_a_plugin(world: Path) -> None:
    """Tables of plugins are left out where the world is not trusted."""
    say(world, '[plugins.moon]\nfase = "new"\n')
    async with running_server(world, trusted=False) as palaver:
        assert palaver.gateway.settings.plugins.names == []
