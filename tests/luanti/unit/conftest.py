"""The mod under LuaJIT, beside a stand-in for the engine; see `luanti_stub`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

# Only `tox -e luanti` has lupa; elsewhere there is nothing to run here.
MISSING = importlib.util.find_spec("lupa") is None
collect_ignore_glob = ["test_*.py"] if MISSING else []

sys.path.insert(0, str(Path(__file__).parent))

if not MISSING:
    import pytest
    from luanti_stub.engine import Engine, Request

    class Talk(Engine):
        """An engine with helpers for turns."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self.done: list[Any] = []
            self.events: list[tuple[str, str, str]] = []

        def connect(self, session: str = "s1") -> Request:
            """Let the mod open its session."""
            self.step()
            opening = self.requests[-1]
            assert "start" in opening.body
            opening.answer(session=session, fresh=True)
            self.step()
            return opening

        def ask(self, npc: str = "mira", text: str = "Hello.", **more: Any) -> Any:
            """Start a turn; what happens to it is noted."""
            wish = self.table_from({"npc": npc, "text": text, "player": "ada"} | more)
            wish["on_text"] = lambda turn, shown: self.events.append((turn.id, "text", shown))
            wish["on_action"] = lambda turn, message: self.events.append(
                (turn.id, "action", message["name"] or "")
            )
            wish["on_emotion"] = lambda turn, message: self.events.append(
                (turn.id, "emotion", message["name"] or "")
            )
            wish["on_done"] = self._done
            turn = self.A.turns.start(wish)
            assert turn.id, turn
            return turn

        def _done(self, turn: Any) -> None:
            self.done.append(turn)
            self.events.append((turn.id, "done", turn.by))

        def last(self, kind: str) -> Request:
            """Return the newest request with a message of that type."""
            return next(one for one in reversed(self.requests) if kind in one.sent)

        def stats(self) -> dict[str, Any]:
            """Return what the mod has counted."""
            found = self.deep(self.A.stats.snapshot())
            assert isinstance(found, dict)
            return found

        def state(self) -> dict[str, Any]:
            """Return how the connection stands."""
            found = self.deep(self.A.link.state())
            assert isinstance(found, dict)
            return found

    @pytest.fixture
    def talk() -> Talk:
        """A game with a connection to Palaver."""
        game = Talk()
        game.connect()
        return game

    @pytest.fixture
    def game() -> type[Talk]:
        """Makes games; see `Engine` for what can be set."""
        return Talk

    @pytest.fixture
    def parts() -> Any:
        """The private table of the mod."""
        return Talk().A
