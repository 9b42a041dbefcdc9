"""Watching a world: a saved file is live on the next turn, a broken one is reported.

Reading happens in a thread, and the new snapshot replaces the old one in one step: a turn that
runs keeps the world it began with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import watchfiles

from palaver.errors import WorldError
from palaver.world.loader import load_world
from palaver.world.world import World

__all__ = ["WorldStore"]

log = logging.getLogger("palaver.world")

SETTLE_MS = 100
"""Editors save in several steps: changes this close together are one, in milliseconds."""
ENDINGS = frozenset({".md", ".j2", ".csv", ".yaml", ".yml", ".toml"})
AGAIN_S = 5.0
"""Pause before watching again after the watcher failed, in seconds."""


class WorldStore:
    """The world as it is now.

    Args:
        world: As it was read first.
        template_folders: Folders with base templates, which are watched too.
        on_change: Called with each new snapshot.

    Attributes:
        current: The snapshot that new turns use.
    """

    def __init__(
        self,
        world: World,
        template_folders: Sequence[Path] = (),
        *,
        on_change: Callable[[World], None] | None = None,
    ) -> None:
        self.current = world
        self._template_folders = tuple(template_folders)
        self._on_change = on_change
        self._reported: set[str] = set()
        self._report(world)

    async def reload(self) -> World:
        """Read the world again; what is broken stays as it was. Returns the new snapshot."""
        try:
            world = await asyncio.to_thread(
                load_world,
                self.current.folder,
                self._template_folders,
                trusted=self.current.trusted,
                previous=self.current,
                name=self.current.name,
            )
        except WorldError as err:
            log.error("the world cannot be read, the last good one serves on: %s", err)
            return self.current
        self.current = world
        self._report(world)
        if self._on_change is not None:
            self._on_change(world)
        return world

    async def watch(self) -> None:
        """Reload whenever a file changes, until it is cancelled."""
        folders = [self.current.folder, *self._template_folders]
        while True:
            try:
                async for changes in watchfiles.awatch(
                    *(folder for folder in folders if folder.is_dir()),
                    watch_filter=_is_ours,
                    step=SETTLE_MS,
                    rust_timeout=1_000,
                    yield_on_timeout=False,
                ):
                    await self.reload()
                    names = sorted({Path(path).name for _, path in changes})
                    log.info("read again: %s", ", ".join(names[:10]))
            except OSError as err:
                log.warning("the world cannot be watched: %s; trying again", err)
            await asyncio.sleep(AGAIN_S)

    def _report(self, world: World) -> None:
        """Log each problem once, and once more when it is mended."""
        now = {str(problem) for problem in world.problems}
        for problem in sorted(now - self._reported):
            log.error("%s", problem)
        for mended in sorted(self._reported - now):
            log.info("mended: %s", mended)
        self._reported = now


def _is_ours(_change: object, path: str) -> bool:
    return Path(path).suffix in ENDINGS and "data" not in Path(path).parts[-2:-1]
