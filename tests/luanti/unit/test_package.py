"""The mod as a package: what ContentDB, the settings menu and translators read."""

from __future__ import annotations

import json
import re
import runpy
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from unit.world import MOD, World

LINE = re.compile(r"^llm_agent\.(\w+) \([^)]+\) (string|int|float|bool) ?(.*)$")


def conf() -> dict[str, str]:
    """What stands in mod.conf."""
    pairs = (line.split("=", 1) for line in (MOD / "mod.conf").read_text().splitlines() if line)
    return {key.strip(): value.strip() for key, value in pairs}


def test_mod_conf_says_what_it_is() -> None:
    """Name, title, description, author and the oldest engine are there; nothing is required."""
    found = conf()
    assert found["name"] == "llm_agent"
    assert found["min_minetest_version"] == "5.6"
    assert found["depends"] == ""
    assert all(found[key] for key in ("title", "description", "author", "optional_depends"))


def test_content_db_is_told_the_truth() -> None:
    """Licences are named, and so is that machines helped."""
    cdb = json.loads((MOD / ".cdb.json").read_text())
    assert (cdb["type"], cdb["license"], cdb["media_license"]) == ("MOD", "Apache-2.0", "CC0-1.0")
    assert cdb["ai_disclosure"] == "ASSISTED"
    assert cdb["title"] == conf()["title"]


def test_every_setting_is_in_the_menu_with_its_default() -> None:
    """settingtypes.txt and the code agree on names and defaults, and each has an explanation."""
    lines = (MOD / "settingtypes.txt").read_text().splitlines()
    menu = {}
    for i, line in enumerate(lines):
        match = LINE.match(line)
        if match:
            menu[match[1]] = match[3].split()[0] if match[3] else ""
            assert lines[i - 1].startswith("#"), f"{match[1]} is not explained"
    settings = World(empty=True).mod.settings
    known = {key: value for key, value in settings.items() if not callable(value)}
    known.update(examples=True, game="")
    assert set(menu) == set(known)
    for name, value in known.items():
        text = str(value).lower() if isinstance(value, bool) else value
        assert menu[name] == (f"{text:g}" if isinstance(text, float | int) else text), name


def test_the_readme_names_what_there_is() -> None:
    """Every field of a definition and every function of the API is in the manual."""
    readme = (MOD / "README.md").read_text()
    world = World(empty=True)
    for field in world.mod.npcs.fields:
        if field not in ("mood",):
            assert f"`{field}`" in readme, field
    for name in world.api:
        assert f"llm_agent.{name}" in readme, name
    assert "secure.http_mods = llm_agent" in readme


def test_the_readmes_lua_runs() -> None:
    """Every piece of Lua in the manual does what it says."""
    world = World(empty=True)
    world.lua.execute("""
        actions, herd = {}, {}
        llm_agent.register_action = function(name, def) actions[name] = def end
        mobs = {register_mob = function(_, name, def) herd[name] = def end}
        my_mod = {open_gate = function() end}
    """)
    pieces = re.findall(r"```lua\n(.*?)```", (MOD / "README.md").read_text(), re.DOTALL)
    assert len(pieces) == 3
    for piece in pieces:
        world.lua.execute(piece)
    found = world.lua.globals()
    assert world.mod.npcs.get("innkeeper").name == "Marta"
    assert "llm_agent:egg_innkeeper" in set(world.stub["items"])
    assert found.actions.open_gate.run(None, None, world.table({}), None) == (
        True,
        "the gate is open",
    )
    world.npc("shepherd")
    mob = world.stub.mob("my_mod:shepherd", world.pos(0, 0, 0), found.herd["my_mod:shepherd"])
    mob.entity.after_activate(mob.entity)
    assert world.mod.npcs.object("shepherd") is not None
    assert not world.logged("warning")


def test_pictures_and_model_are_what_the_script_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Textures can be made again from their source, to the byte."""
    drawn = runpy.run_path(str(MOD / "util" / "draw.py"))
    for folder in ("textures", "models"):
        (tmp_path / folder).mkdir()
    monkeypatch.setitem(drawn["main"].__globals__, "HERE", tmp_path)
    drawn["main"]()
    for folder in ("textures", "models"):
        ours = sorted(file.name for file in (MOD / folder).iterdir())
        assert ours == sorted(file.name for file in (tmp_path / folder).iterdir())
        for name in ours:
            # What zlib makes of the same picture may differ from one release to the next.
            if name.endswith(".obj"):
                assert (MOD / folder / name).read_bytes() == (tmp_path / folder / name).read_bytes()


def test_media_names_begin_with_the_mods() -> None:
    """Media of all mods share one name space."""
    for folder in ("textures", "models"):
        for file in (MOD / folder).iterdir():
            assert re.fullmatch(r"llm_agent_[a-zA-Z0-9_.-]+", file.name)


def test_the_screenshot_is_three_by_two() -> None:
    """ContentDB wants 3:2, at least 300 x 200."""
    data = (MOD / "screenshot.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert width >= 300
    assert width * 2 == height * 3
    assert len(data) < 300_000


def test_translations_are_complete() -> None:
    """The template has every text of the mod, and German has them all, with the same parameters."""
    script = runpy.run_path(str(MOD / "util" / "template.py"))
    keys = set(script["said"]())
    assert set(script["read"](MOD / "locale" / "template.txt")) == keys, "run util/template.py"
    german = script["read"](MOD / "locale" / "llm_agent.de.tr")
    assert set(german) == keys
    for key, text in german.items():
        assert text, f"{key!r} is not translated"
        assert sorted(re.findall(r"@\d", key)) == sorted(re.findall(r"@\d", text))


def test_what_is_handed_out_has_no_tools_in_it() -> None:
    """`git archive` leaves out what players do not need."""
    tracked = subprocess.run(
        ["git", "check-attr", "export-ignore", "--", "util", ".luacheckrc", "init.lua"],
        cwd=MOD, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tracked.returncode != 0:
        pytest.skip(f"no git checkout here: {tracked.stderr.strip() or sys.platform}")
    assert tracked.stdout.splitlines() == [
        "util: export-ignore: set",
        ".luacheckrc: export-ignore: set",
        "init.lua: export-ignore: unspecified",
    ]
