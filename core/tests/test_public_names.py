"""What `palaver` exports is there, and importing it costs next to nothing."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import palaver


@pytest.mark.parametrize("name", palaver.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """A name in `__all__` can be imported."""
    assert getattr(palaver, name) is not None


def test_public_names_are_complete() -> None:
    """What is imported lazily is in `__all__`, and nothing else is."""
    assert set(palaver.__all__) == {*palaver._HOME, "__version__"}
    assert set(palaver.__all__) <= set(dir(palaver))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = palaver.nonsense


def test_importing_palaver_imports_nothing_heavy() -> None:
    """The command line and plugins start quickly because of this."""
    code = "import sys, palaver, palaver.hookspecs; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"aiohttp", "pydantic", "rich", "websockets", "jinja2", "asyncio"}
    assert heavy.isdisjoint(out.stdout.split())


def test_modules_say_what_they_export() -> None:
    """Every name in a module's `__all__` exists."""
    for info in pkgutil.walk_packages(palaver.__path__, "palaver."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{info.name} has no {name}"
