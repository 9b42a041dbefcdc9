"""Plugins as code: importing one file, and seeing what is wrong before a hook is called."""

from __future__ import annotations

import hashlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from palaver import hookspecs
from palaver.errors import PluginError
from palaver.hints import did_you_mean

__all__ = ["hook_problem", "import_file", "in_words"]

MAX_FILE_BYTES = 1_000_000
PREFIX = "palaver_"
# Their results are used as they are, and a coroutine is never None: it would always win.
_PLAIN = ("palaver_filter", "palaver_prompt", "palaver_register_", "palaver_route")


def import_file(file: Path) -> ModuleType:
    """Import one file under a name of its own, so that two worlds do not meet.

    What runs is what stands in the file: compiled code beside it (`__pycache__`), which could
    come with a stranger's world and which nobody reads before trusting it, is neither used nor
    written.

    Raises:
        PluginError: It is too large.
    """
    with file.open("rb") as stream:
        source = stream.read(MAX_FILE_BYTES + 1)
    if len(source) > MAX_FILE_BYTES:
        raise PluginError(str(file), f"is larger than {MAX_FILE_BYTES:,} bytes")
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    name = f"_palaver_world_{digest}_{file.stem}"
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module
    try:
        exec(compile(source, str(file), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def hook_problem(module: Any) -> str | None:
    """Return what is wrong with a plugin's functions that look like hooks, or None."""
    known = [name for name in vars(hookspecs) if name.startswith(PREFIX)]
    for name, value in vars(module).items():
        if not name.startswith(PREFIX) or not callable(value):
            continue
        marked = getattr(value, "palaver_impl", None) is not None
        if marked and name not in known:
            return f"there is no hook {name}{did_you_mean(name, known)}"
        if name in known and not marked:
            return f"{name} is not marked; put @hookimpl above it (from palaver import hookimpl)"
        if marked and name.startswith(_PLAIN) and inspect.iscoroutinefunction(value):
            return f"{name} must not wait; write `def` instead of `async def`"
        if marked and (problem := _argument_problem(name, value)):
            return problem
    return None


def _argument_problem(name: str, value: Any) -> str | None:
    """Return what is wrong with the arguments of a hook; pluggy's own words are for its authors."""
    allowed = list(inspect.signature(getattr(hookspecs, name)).parameters)
    for argument in inspect.signature(value).parameters.values():
        if argument.default is inspect.Parameter.empty and argument.name not in allowed:
            hint = did_you_mean(argument.name, allowed, otherwise="it has")
            return f"{name} has no argument `{argument.name}`{hint}"
    return None


def in_words(err: BaseException) -> str:
    """Return an exception with the file and line it came from, for the plugin's author."""
    where = ""
    traceback = err.__traceback__
    while traceback is not None:
        file = Path(traceback.tb_frame.f_code.co_filename)
        if file.suffix == ".py" and "palaver" not in file.parts[-2:-1]:
            where = f" ({file.name}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    if isinstance(err, SyntaxError) and err.filename:
        return f"{type(err).__name__}: {err.msg} ({Path(err.filename).name}:{err.lineno})"
    if isinstance(err, SystemExit):
        return f"it ends the program when it is imported{where}"
    return f"{type(err).__name__}: {err}{where}"
