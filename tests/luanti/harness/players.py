"""Players: the real client without a window, with a client-side mod that chats and listens."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness.game import Game, lua_string
from harness.programs import find_client
from harness.waiting import LIMIT_S, end, wait_for

__all__ = ["Player", "client_command"]

HERE = Path(__file__).parent
SETTINGS = """\
video_driver = null
viewing_range = 10
enable_sound = false
enable_minimap = false
enable_shaders = false
enable_post_processing = false
enable_client_modding = true
fps_max = 20
fps_max_unfocused = 20
"""
MARK = "[bot] "
ESCAPE = re.compile(r"\x1b(?:\([^)]*\)|.)")
"""What the engine puts around colours and texts to translate."""


def client_command(game: Game, name: str, settings: Path) -> list[str]:
    """Return the command with which a player joins a game."""
    client = find_client()
    assert client is not None
    return [
        *(client, "--config", str(settings), "--go"),
        *("--address", "127.0.0.1", "--port", str(game.port)),
        *("--name", name, "--password", "secret"),
    ]


class Player:
    """A player in a game, who is there when the `with` block begins and gone when it ends.

    Args:
        game: The game.
        name: The player's name.
        tmp_path: Where the client's folders go.
    """

    def __init__(self, game: Game, name: str, tmp_path: Path) -> None:
        self.game, self.name = game, name
        folder = Path(tempfile.mkdtemp(prefix=f"client-{name}-", dir=tmp_path))
        mods = folder / ".minetest" / "clientmods"
        mods.mkdir(parents=True)
        shutil.copytree(HERE / "bot", mods / "bot")
        (mods / "mods.conf").write_text("load_mod_bot = true\n", encoding="utf-8")
        (folder / "client.conf").write_text(SETTINGS, encoding="utf-8")
        self._folder = folder
        self._output = folder / "output.txt"
        self.process: subprocess.Popen[Any]

    def __enter__(self) -> Player:
        """Join, and wait until server and client both know it."""
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                client_command(self.game, self.name, self._folder / "client.conf"),
                cwd=self._folder,
                # A home of its own: nothing of whoever runs the tests is read or changed.
                env={"HOME": str(self._folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(
                lambda: any("ready" in note for note in self._notes()) or self._is_gone(),
                lambda: f"{self.name} to join:\n{self.output[-3000:]}\n{self.game.log[-2000:]}",
            )
            assert not self._is_gone(), f"{self.name} could not join:\n{self.output}"
            self.game.wait(f"core.get_player_by_name({lua_string(self.name)}) and true")
        except BaseException:
            end(self.process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the client."""
        end(self.process)

    def _is_gone(self) -> bool:
        return self.process.poll() is not None

    @property
    def output(self) -> str:
        """What the client printed so far."""
        return self._output.read_text("utf-8", "replace")

    def _notes(self) -> list[dict[str, Any]]:
        rows = [row.partition(MARK)[2] for row in self.output.splitlines() if MARK in row]
        text = "".join(row[:-1] + ("\n" if row.endswith("$") else "") for row in rows)
        # The last note may be half written.
        return [json.loads(note) for note in text.split("\n")[:-1]]

    @property
    def heard(self) -> list[str]:
        """The chat lines on the player's screen so far, without colours."""
        return [ESCAPE.sub("", note["heard"]) for note in self._notes() if "heard" in note]

    def say(self, text: str) -> None:
        """Type a line into the chat."""
        self._tell(f"@bot say {text}")

    def leave(self) -> None:
        """Leave the game, and wait until the server has noticed."""
        self._tell("@bot leave")
        self.game.wait(f"core.get_player_by_name({lua_string(self.name)}) == nil")

    def cut(self) -> None:
        """Pull the plug; the server notices when it has not heard of the client for long."""
        self.process.kill()
        self.process.wait(LIMIT_S)

    def wait_heard(self, part: str, times: int = 1) -> list[str]:
        """Wait until chat lines with a text in them came that often, and return those lines."""
        wait_for(
            lambda: sum(part in line for line in self.heard) >= times,
            lambda: f"{self.name} to hear {part!r}; heard: {self.heard}\n{self.game.log[-2000:]}",
        )
        return [line for line in self.heard if part in line]

    def _tell(self, line: str) -> None:
        name = lua_string(self.name)
        self.game.lua(f"core.chat_send_player({name}, {lua_string(line)})")
