"""A player with a window, on a screen that nobody sees, and pictures of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from harness.game import Game, lua_string
from harness.players import client_command
from harness.waiting import LIMIT_S, end, wait_for

__all__ = ["Picture", "Screen"]

WIDTH, HEIGHT = 1024, 640
SETTINGS = f"""\
screen_w = {WIDTH}
screen_h = {HEIGHT}
fps_max = 15
fps_max_unfocused = 15
enable_shaders = false
enable_sound = false
enable_minimap = false
enable_clouds = false
video_driver = opengl
viewing_range = 40
autosave_screensize = false
keymap_chat = KEY_KEY_T
"""


class Picture:
    """A picture of the screen.

    Args:
        path: Its PNG file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def colours(self, area: str = f"{WIDTH}x{HEIGHT}+0+0") -> int:
        """Return how many different colours there are.

        Args:
            area: In which part, as `WIDTHxHEIGHT+LEFT+TOP`.
        """
        return int(self._ask(area, "%k"))

    def differs(self, other: Picture, area: str = f"{WIDTH}x{HEIGHT}+0+0") -> int:
        """Return how many pixels of a part differ from another picture."""
        command = ["compare", "-metric", "AE", "-extract", area]
        done = subprocess.run(
            [*command, str(self.path), str(other.path), "null:"],
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        return int(float(done.stderr.split()[0]))

    def _ask(self, area: str, what: str) -> str:
        done = subprocess.run(
            ["convert", str(self.path), "-crop", area, "-format", what, "info:"],
            capture_output=True, text=True, timeout=LIMIT_S, check=True,
        )  # fmt: skip
        return done.stdout.strip()


class Screen:
    """A player with a window in a game; use it in a `with` block.

    Args:
        game: The game.
        name: The player's name.
        tmp_path: Where the client's folders go.
        pictures: Where pictures go.
    """

    def __init__(self, game: Game, name: str, tmp_path: Path, pictures: Path) -> None:
        self.game, self.name = game, name
        self._folder = tmp_path / f"screen-{name}"
        self._folder.mkdir()
        pictures.mkdir(parents=True, exist_ok=True)
        self._pictures = pictures
        self._xvfb: subprocess.Popen[Any] | None = None
        self._client: subprocess.Popen[Any] | None = None
        self._environ: dict[str, str] = {}

    def __enter__(self) -> Screen:
        """Join, and wait until there is a window."""
        try:
            self._open_display()
            self._join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End client and screen."""
        for process in (self._client, self._xvfb):
            if process:
                end(process)

    def _open_display(self) -> None:
        reading, writing = os.pipe()
        with os.fdopen(reading) as display:
            self._xvfb = subprocess.Popen(
                ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{WIDTH}x{HEIGHT}x24"],
                pass_fds=[writing], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            os.close(writing)
            number = display.readline().strip()
        assert number, "Xvfb did not start"
        self._environ = {
            "HOME": str(self._folder),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "DISPLAY": f":{number}",
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }

    def _join(self) -> None:
        settings = self._folder / "client.conf"
        settings.write_text(SETTINGS, encoding="utf-8")
        log = self._folder / "output.txt"
        with log.open("wb") as output:
            self._client = subprocess.Popen(
                client_command(self.game, self.name, settings),
                cwd=self._folder, env=self._environ, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.game.wait(f"core.get_player_by_name({lua_string(self.name)}) and true")
        window = wait_for(
            lambda: self._x("search", "--onlyvisible", "--name", "Minetest|Luanti").split(),
            lambda: f"a window:\n{log.read_text()[-2000:]}",
        )[0]
        # Without the focus no key arrives.
        self._x("windowfocus", window)

    def _x(self, *arguments: str) -> str:
        done = subprocess.run(
            ["xdotool", *arguments],
            env=self._environ, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        return done.stdout

    def key(self, *names: str) -> None:
        """Press keys, one after the other, such as `t`, `Return` or `Escape`."""
        for name in names:
            self._x("key", "--delay", "80", name)

    def write(self, text: str) -> None:
        """Type a text."""
        self._x("type", "--delay", "40", text)

    def click(self, button: int, at: tuple[int, int] | None = None) -> None:
        """Press a button of the mouse: 1 left, 3 right.

        Args:
            button: Which.
            at: Where on the screen, or None for where it is.
        """
        if at:
            self._x("mousemove", str(at[0]), str(at[1]))
        self._x("mousedown", str(button))
        # A press shorter than a picture is not seen at 15 pictures a second.
        self._x("sleep", "0.2", "mouseup", str(button))

    def picture(self, name: str) -> Picture:
        """Take a picture of the screen."""
        path = self._pictures / f"{name}.png"
        subprocess.run(
            ["import", "-window", "root", str(path)],
            env=self._environ, timeout=LIMIT_S, check=True, capture_output=True,
        )  # fmt: skip
        return Picture(path)

    def wait_picture(self, name: str, *, like: Picture, pixels: int, area: str) -> Picture:
        """Take pictures until one differs from an earlier one, and return that.

        Args:
            name: Its name.
            like: The earlier one.
            pixels: How many pixels have to differ.
            area: In which part of it.
        """
        found: list[Picture] = []

        def look() -> bool:
            found[:] = [self.picture(name)]
            return found[0].differs(like, area) >= pixels

        wait_for(look, f"the picture {name} to change", every_s=0.3)
        return found[0]
