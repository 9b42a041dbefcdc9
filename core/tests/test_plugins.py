"""Plugins: found, loaded one by one, and named where they fail."""

from __future__ import annotations

import importlib.util
import logging
import marshal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from palaver import hookspecs
from palaver.hookcalls import resolve
from palaver.plugins import GROUP, PluginInfo, Plugins, make_plugin_manager

IMPORTS = """
from pathlib import Path
import click
from palaver import hookimpl
from palaver.chain.backend import BackendSettings, BackendType
"""
BACKENDS = """
@hookimpl
def palaver_register_backends(register):
    for name in {names}:
        register(BackendType(name, BackendSettings, None))
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package with an entry point, as pip would lay it down."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install_one(name: str, source: str, version: str = "1.2") -> None:
        (site / f"palaver_{name}.py").write_text(IMPORTS + source)
        info = site / f"palaver_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: palaver-{name}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = palaver_{name}\n")
        monkeypatch.delitem(sys.modules, f"palaver_{name}", raising=False)
        importlib.invalidate_caches()

    return install_one


def load(*names: str, **options: object) -> Plugins:
    """Load these packages and no others that may be installed."""
    return make_plugin_manager(environ={"PALAVER_PLUGINS": ",".join(names)}, **options)  # type: ignore[arg-type]  # passed on


def info(plugins: Plugins, name: str) -> PluginInfo:
    """Return the entry of a plugin."""
    (found,) = [one for one in plugins.infos if one.name == name]
    return found


def test_a_package(install: Install) -> None:
    """A package is listed with version, distribution and hooks, and what it registers is there."""
    install("one", BACKENDS.format(names=["echo"]))
    plugins = load("one")
    assert info(plugins, "one") == PluginInfo(
        "one", "1.2", "palaver-one", ("palaver_register_backends",)
    )
    assert list(plugins.backend_types) == ["echo"]
    assert plugins.problems == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("x = 1 / 0", "ZeroDivisionError: division by zero (palaver_bad.py:7)"),
        ("def broken(:", "SyntaxError: invalid syntax (palaver_bad.py:7)"),
        ("raise SystemExit", "it ends the program when it is imported"),
        (
            "@hookimpl\ndef palaver_turn_recieved(turn): ...",
            "there is no hook palaver_turn_recieved; did you mean `palaver_turn_received`?",
        ),
        ("def palaver_filter(turn): ...", "palaver_filter is not marked; put @hookimpl above it"),
        (
            "@hookimpl\nasync def palaver_route(turn, chain): ...",
            "palaver_route must not wait; write `def` instead of `async def`",
        ),
        (
            "@hookimpl\ndef palaver_route(turn, chian): ...",
            "palaver_route has no argument `chian`; did you mean `chain`?",
        ),
    ],
)  # fmt: skip
def test_one_that_cannot_be_loaded(
    install: Install, caplog: pytest.LogCaptureFixture, source: str, problem: str
) -> None:
    """It is named with distribution, version and reason; the rest goes on."""
    install("bad", "\n" + source)
    install("good", BACKENDS.format(names=["echo"]))
    plugins = load("bad", "good")
    assert problem in str(info(plugins, "bad").problem)
    assert plugins.problems == [f"plugin palaver-bad: {info(plugins, 'bad').problem}"]
    assert "plugin palaver-bad 1.2 was not loaded" in caplog.text
    assert list(plugins.backend_types) == ["echo"]
    assert not plugins.manager.has_plugin("bad")


def test_one_that_fails_to_register(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of what it registered is kept; the others' is."""
    install("bad", BACKENDS.format(names=["half"]) + "    raise ValueError('no')\n")
    install("good", BACKENDS.format(names=["echo"]))
    install("same", BACKENDS.format(names=["new", "echo"]))
    plugins = load("bad", "good", "same")
    assert list(plugins.backend_types) == ["echo"]
    assert "ValueError: no (palaver_bad.py:" in str(info(plugins, "bad").problem)
    assert "'echo' is the name of another plugin's backend type" in str(
        info(plugins, "same").problem
    )
    assert "plugin bad failed in palaver_register_backends" in caplog.text


def test_worlds_and_templates(install: Install, tmp_path: Path) -> None:
    """Folders of templates and example worlds; one that is no folder is refused."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "hollow").mkdir()
    hook = "\n@hookimpl\ndef palaver_register_world(register):\n"
    here = f"Path({str(tmp_path)!r})"
    install(
        "worlds",
        f"{hook}    register.templates({here} / 'templates')\n"
        f"    register.world('hollow', {here} / 'hollow')\n",
    )
    install("bad", f"{hook}    register.world('gone', {here} / 'gone')\n")
    install("zwin", f"{hook}    register.world('hollow', {here} / 'templates')\n")
    plugins = load("worlds", "bad", "zwin")
    assert plugins.template_folders == [tmp_path / "templates"]
    assert plugins.worlds == {"hollow": tmp_path / "hollow"}
    assert "gone is no world folder" in str(info(plugins, "bad").problem)
    assert "'hollow' is the name of another plugin's world" in str(info(plugins, "zwin").problem)


def test_commands(install: Install) -> None:
    """Commands of plugins are collected when they are asked for."""
    hook = "\n@hookimpl\ndef palaver_register_commands(register):\n"
    install("one", f"{hook}    register(click.Command('hello'))\n")
    install("two", f"{hook}    register(click.Command('hello'))\n")
    plugins = load("one", "two")
    assert [command.name for command in plugins.commands()] == ["hello"]
    assert "'hello' is the name of another plugin's command" in str(info(plugins, "two").problem)


def test_blocked_and_left_out(install: Install) -> None:
    """Blocked plugins and those PALAVER_PLUGINS does not name are listed, but not imported."""
    install("one", "\nraise AssertionError('was imported')")
    install("two", "\nraise AssertionError('was imported')")
    plugins = load("one", block=["one"])
    assert info(plugins, "one").problem == "blocked in palaver.toml"
    assert info(plugins, "two").problem == "not named by PALAVER_PLUGINS"


def test_files_of_a_world(tmp_path: Path) -> None:
    """One-file plugins load from the folder that is given, and from none without it."""
    for world in ("first", "second"):
        folder = tmp_path / world / "plugins"
        folder.mkdir(parents=True)
        (folder / "moon.py").write_text(
            f"{IMPORTS}{BACKENDS.format(names=[world])}WORLD = {world!r}"
        )
        (folder / "_helper.py").write_text("raise AssertionError('is no plugin')")
        (folder / "bad.py").write_text("x = 1\nx = 1 / 0\n")
    first = load(world_plugins=tmp_path / "first" / "plugins")
    second = load(world_plugins=tmp_path / "second" / "plugins")
    assert list(first.backend_types) == ["first"]
    assert list(second.backend_types) == ["second"]
    assert info(first, "moon").source == str(tmp_path / "first" / "plugins" / "moon.py")
    assert str(info(first, "bad").problem).endswith("(bad.py:2)")
    assert [one.name for one in first.infos if not one.problem] == ["moon"]
    modules = [plugins.manager.get_plugin("moon") for plugins in (first, second)]
    assert [module.WORLD for module in modules if module] == ["first", "second"]
    assert "moon" not in sys.modules
    assert not (tmp_path / "first" / "plugins" / "__pycache__").exists()
    assert load().backend_types == {}


def test_compiled_code_is_not_run(tmp_path: Path) -> None:
    """Compiled code that came with a world, which nobody reads before trusting it, is not used."""
    file = tmp_path / "moon.py"
    file.write_text("X = 'as it is written'\n")
    cached = Path(importlib.util.cache_from_source(str(file)))
    cached.parent.mkdir()
    evil = compile("X = 'evil'", str(file), "exec")
    # Flag 1: by hash, unchecked. Python takes it whatever the source says.
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
    cached.write_bytes(header + marshal.dumps(evil))
    spec = importlib.util.spec_from_file_location("by_python_itself", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.X == "evil"
    plugin = load(world_plugins=tmp_path).manager.get_plugin("moon")
    assert plugin is not None
    assert plugin.X == "as it is written"


def test_a_file_of_the_name_of_a_package(install: Install, tmp_path: Path) -> None:
    """Two plugins cannot have one name; the second is named."""
    install("moon", "")
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "moon.py").write_text("")
    plugins = load("moon", world_plugins=folder)
    first, second = (one for one in plugins.infos if one.name == "moon")
    assert first.problem is None
    assert "another plugin is named 'moon'" in str(second.problem)


def test_every_hook_is_called_in_the_order_of_registration(
    install: Install, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With PALAVER_TRACE_HOOKS=1 each call of a plugin is logged with its result."""
    caplog.set_level(logging.INFO, "palaver.plugins")
    monkeypatch.setenv("PALAVER_TRACE_HOOKS", "1")
    install("one", BACKENDS.format(names=["echo"]))
    load("one")
    assert "hook palaver_register_backends: plugin one returned None" in caplog.text


def test_specs_say_all(install: Install) -> None:
    """A plugin can implement every hook with every argument."""
    specs = [name for name in vars(hookspecs) if name.startswith("palaver_")]
    source = ""
    for name in specs:
        arguments = ", ".join(getattr(hookspecs, name).__code__.co_varnames)
        source += f"\n@hookimpl\ndef {name}({arguments}): ...\n"
    install("all", source)
    assert sorted(info(load("all"), "all").hooks) == sorted(specs)


def test_the_core_is_always_there(install: Install, tmp_path: Path) -> None:
    """Nobody blocks Palaver's own hooks, and no plugin or file of a world takes their name."""
    install("palaver", BACKENDS.format(names=["echo"]))
    (tmp_path / "palaver.py").write_text(IMPORTS + BACKENDS.format(names=["other"]))
    plugins = load("palaver", block=["palaver"], world_plugins=tmp_path)
    calls = resolve(plugins.manager, "palaver_filter")
    assert [call.plugin for call in calls] == ["palaver"]
    assert plugins.backend_types == {}
    assert len(plugins.problems) == 2
    assert all("another plugin is named 'palaver'" in problem for problem in plugins.problems)
