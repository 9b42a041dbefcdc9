"""The endpoints for a mod that only wants a text for a prompt, over a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from palaver.chain.backend import Finish, Health, ModelInfo
from palaver.errors import ConfigError
from palaver.testing.scripted import ScriptedBackend
from palaver.turn import context
from palaver_luanti.bridge import LuantiBridge

GUIDE = (
    'You are NPC \'Vlad\' located at (0,10,0).\nCurrent context: {"mood":"friendly"}\n'
    "What do you say to the player?"
)

Answer = tuple[int, Any]


class Mod:
    """A mod that only wants a text for a prompt."""

    def __init__(self, game: Any) -> None:
        self.palaver = game.palaver
        self.backend = game.palaver.backend
        self._game = game

    async def ask(
        self, path: str = "/infer", body: Any = None, *, method: str = "POST", **more: Any
    ) -> Answer:
        """Send a body, and return status and answer."""
        answer: Answer = await self._game.send(body, path=path, method=method, **more)
        return answer


Opener = Callable[..., AbstractAsyncContextManager[Mod]]


@pytest.fixture
def asked(opened: Any) -> Opener:
    """A function that runs a server with the bridge, for `async with`."""

    @asynccontextmanager
    async def run(**more: Any) -> AsyncIterator[Mod]:
        async with opened(**more) as game:
            yield Mod(game)

    return run


@pytest.fixture
async def mod(asked: Opener) -> AsyncIterator[Mod]:
    """A mod with a server that says "Good evening."."""
    async with asked() as mod:
        yield mod


async def test_guide(mod: Mod) -> None:
    """The prompt of the guide is answered by the NPC it names, as something that happens."""
    status, answer = await mod.ask(body={"prompt": GUIDE})
    assert status == 200
    assert answer["text"] == "Good evening."
    assert answer["served_by"] == "local"
    (request,) = mod.backend.requests
    assert request.turn.persona.id == "vampire"
    assert request.turn.cue == GUIDE
    assert request.turn.text == ""
    assert "What do you say" in request.messages[-1].content


async def test_player_speaks(mod: Mod) -> None:
    """What a player says is text, and NPC, persona, player and seed are passed on."""
    body = {"prompt": "Who are you?", "npc": "v1", "persona": "vampire", "player": "sam", "seed": 7}
    assert (await mod.ask(body=body))[0] == 200
    turn = mod.backend.requests[0].turn
    assert (turn.text, turn.cue, turn.npc.id, turn.persona.id) == (
        "Who are you?",
        None,
        "v1",
        "vampire",
    )
    assert turn.player is not None
    assert (turn.player.id, turn.seed, turn.intent) == ("sam", 7, "question")


async def test_remembers(mod: Mod, monkeypatch: pytest.MonkeyPatch) -> None:
    """The NPC knows at the next prompt what was said at the last one."""
    monkeypatch.setattr(context, "RECALL_S", 20)
    for prompt in ("I am Sam.", "Who am I?"):
        await mod.ask(body={"prompt": prompt, "persona": "vampire", "player": "sam"})
    (past,) = mod.backend.requests[1].turn.history
    assert (past.said, past.reply) == ("I am Sam.", "Good evening.")


@pytest.mark.parametrize(
    ("body", "persona"),
    [
        ({"prompt": "Hello, Brains!"}, "zombie"),
        ({"prompt": "hello vampire"}, "vampire"),
        ({"prompt": "Vlad, have you seen Brains?"}, "vampire"),
        ({"prompt": "Hi.", "npc": "ZOMBIE"}, "zombie"),
        ({"prompt": "Hi Vlad.", "npc": "guard_7"}, "vampire"),
        ({"prompt": "Hi.", "persona": "brains"}, "zombie"),
    ],
)
async def test_who_is_meant(mod: Mod, body: dict[str, str], persona: str) -> None:
    """A persona is found by id or name, in the fields or in the prompt."""
    assert (await mod.ask(body=body))[0] == 200
    assert mod.backend.requests[0].turn.persona.id == persona


async def test_known_npc(mod: Mod) -> None:
    """An NPC that is there keeps its persona, whoever the prompt names."""
    await mod.ask(body={"prompt": "Hi.", "npc": "n1", "persona": "zombie"})
    await mod.ask(body={"prompt": "Hi Vlad.", "npc": "n1"})
    assert [request.turn.persona.id for request in mod.backend.requests] == ["zombie", "zombie"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_any_method(mod: Mod, method: str) -> None:
    """An engine whose HTTP client is stuck with a method is understood."""
    assert (await mod.ask(body={"prompt": "Vlad?"}, method=method))[0] == 200
    assert (await mod.ask("/info", {}, method=method))[0] == 200


@pytest.mark.parametrize(
    "raw",
    [
        b'{"prompt": "Vlad?", "seed": 20.0, "player": null, "npc": 12.0, "extra": null}',
        b'{"prompt": "Vl\\u0061d?\n", "seed": null}',
        '{"prompt": "Vlad? \u00fc \\ud83d\\ude00"}'.encode(),
    ],
)
async def test_the_engines_json(mod: Mod, raw: bytes) -> None:
    """Floats for integers, null for empty tables and line breaks in strings are taken."""
    status, answer = await mod.ask(raw=raw)
    assert (status, answer["text"]) == (200, "Good evening.")


async def test_form_content_type(mod: Mod) -> None:
    """The engine may call its JSON a form, as it does by default; nobody else may."""
    form = "application/x-www-form-urlencoded"
    body = {"prompt": "Vlad?"}
    assert (await mod.ask(body=body, Content_Type=form))[0] == 200
    assert (await mod.ask(body=body, Content_Type=form, User_Agent="Luanti/5.15.2 (x)"))[0] == 200
    status, answer = await mod.ask(body=body, Content_Type=form, User_Agent="Mozilla/5.0")
    assert status == 400
    assert "extra_headers" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("raw", "advice"),
    [
        (b"", "`prompt` is missing"),
        (b"null", "`prompt` is missing"),
        (b"{}", "`prompt` is missing"),
        (b'{"prompt": ""}', "`prompt`"),
        (b'{"prompt": 5}', "`prompt`"),
        (b'{"prompt": "' + b"x" * 4_001 + b'"}', "4000"),
        (b'{"prompt": "Vlad?", "seed": 1.5}', "`seed`"),
        (b'{"prompt": "Vlad?", "seed": -1}', "`seed`"),
        (b'{"prompt": "Vlad?", "npc": {}}', "`npc`"),
        (b'{"prompt": "Vlad?", "npc": true}', "`npc`"),
        (b"[1, 2]", "no object"),
        (b"prompt=Hello", "write_json"),
        (b"[" * 20_000, "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b'{"prompt": "Hello there."}', "This world has: vampire, zombie"),
        (b'{"prompt": "Hi", "persona": "vampyre"}', "vampire"),
    ],
)
async def test_bad_input(mod: Mod, raw: bytes, advice: str) -> None:
    """Whatever cannot be used is answered with 400 and what to send."""
    status, answer = await mod.ask(raw=raw)
    assert status == 400, answer
    assert advice in answer["error"]["message"]
    assert answer["detail"] == answer["error"]["message"]
    assert mod.backend.calls == []
    assert (await mod.ask(body={"prompt": "Vlad?"}))[0] == 200


async def test_get(mod: Mod) -> None:
    """GET on /infer says to use POST."""
    status, answer = await mod.ask(method="GET", body={"prompt": "Vlad?"})
    assert status == 400
    assert "POST" in answer["error"]["message"]


async def test_too_large(mod: Mod) -> None:
    """A body beyond the server's limit is refused before it is read."""
    status, answer = await mod.ask(raw=b'{"prompt": "' + b" " * 70_000 + b'"}')
    assert status == 413
    assert answer["error"]["message"]


async def test_too_slow(asked: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that does not end in time is 504, and its generation is given up."""
    # The first word has to be out in this time, also where the machine is busy.
    monkeypatch.setenv("PALAVER_LUANTI_INFER_MS", "3000")
    never = asyncio.Event()
    async with asked(backend=ScriptedBackend("local", ["Well, ", never])) as mod:
        status, answer = await mod.ask(body={"prompt": "Vlad?"})
        assert status == 504
        assert "PALAVER_LUANTI_INFER_MS" in answer["detail"]
        call = mod.backend.calls[0]
        async with asyncio.timeout(10):
            await call.ended.wait()
        assert call.closed_early


async def test_slow_first_word(asked: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no backend says anything in time, the last words come before the limit."""
    monkeypatch.setenv("PALAVER_LUANTI_INFER_MS", "5000")
    never = asyncio.Event()
    async with asked(backend=ScriptedBackend("local", [never])) as mod:
        status, answer = await mod.ask(body={"prompt": "Vlad?"})
        assert (status, answer["text"]) == (200, "The night is over.")
        assert answer["served_by"] == "last_words"


async def test_many(asked: Opener) -> None:
    """Beyond the limit of turns in flight a prompt is refused at once, with 503."""
    go = asyncio.Event()
    async with asked(
        backend=ScriptedBackend("local", [go, "Yes.", Finish()]), overrides={"limits.turns": 3}
    ) as mod:
        waiting = [
            asyncio.create_task(
                mod.ask(body={"prompt": "Hi.", "npc": f"n{n}", "persona": "zombie"})
            )
            for n in range(3)
        ]
        await mod.backend.called(3)
        status, answer = await mod.ask(body={"prompt": "Vlad?"})
        assert (status, answer["error"]["retryable"]) == (503, True)
        go.set()
        assert [status for status, _ in await asyncio.gather(*waiting)] == [200] * 3


async def test_page_in_a_browser(mod: Mod) -> None:
    """A web page in the player's browser gets nothing."""
    status, _ = await mod.ask(body={"prompt": "Vlad?"}, Origin="https://evil.example")
    assert status == 403
    status, _ = await mod.ask(body={"prompt": "Vlad?"}, Host="evil.example")
    assert status == 403
    assert mod.backend.calls == []


TOKENS = {
    "server.tokens": [
        {"role": "engine", "env": "PALAVER_TEST_ENGINE"},
        {"role": "player", "player": "sam", "env": "PALAVER_TEST_PLAYER"},
    ]
}


async def test_tokens(asked: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tokens are used, the engine's is needed."""
    monkeypatch.setenv("PALAVER_TEST_ENGINE", "secret")
    monkeypatch.setenv("PALAVER_TEST_PLAYER", "other")
    async with asked(overrides=TOKENS, token="secret") as mod:

        async def status(**headers: str) -> tuple[int, int]:
            one = await mod.ask(body={"prompt": "Vlad?"}, **headers)
            two = await mod.ask("/info", **headers)
            return one[0], two[0]

        assert await status() == (401, 401)
        assert await status(Authorization="Bearer wrong") == (401, 401)
        assert await status(Authorization="Bearer other") == (401, 401)
        assert await status(Authorization="Bearer secret") == (200, 200)


async def test_info(asked: Opener) -> None:
    """/info tells the version, the personas, the backends with their models, and who speaks."""
    backend = ScriptedBackend("local", "Yes.", models=[ModelInfo("tiny"), ModelInfo("vampire@1")])
    async with asked(backend=backend) as mod:
        status, info = await mod.ask("/info", method="GET", raw=b"")
        assert status == 200
        assert info["server"]["name"] == "palaver"
        assert info["personas"] == {"vampire": "Vlad", "zombie": "Brains"}
        assert info["active"] == {"backend": "local", "model": "tiny"}
        assert info["backends"]["local"] == {
            "type": "scripted",
            "ok": True,
            "detail": "plays its script",
            "models": ["tiny", "vampire@1"],
        }
        assert info["infer_ms"] == 5_000


class Hanging(ScriptedBackend):
    """Never says how it is."""

    async def health(self) -> Health:
        await asyncio.Event().wait()
        raise AssertionError


class Broken(ScriptedBackend):
    """Has a bug, and a key that nobody should see."""

    async def health(self) -> Health:
        raise RuntimeError("sk-secret")


@pytest.mark.parametrize("kind", [Hanging, Broken])
async def test_info_of_a_bad_backend(
    asked: Opener, monkeypatch: pytest.MonkeyPatch, kind: type[ScriptedBackend]
) -> None:
    """A backend that hangs or fails is told as such, and nothing of its error."""
    monkeypatch.setattr("palaver_luanti.info.ASK_S", 0.05)
    async with asked(backend=kind("local", "Yes.")) as mod:
        _, info = await mod.ask("/info")
        assert info["backends"]["local"]["ok"] is False
        assert info["active"] == {"backend": None, "model": None}
        assert "secret" not in json.dumps(info)


@pytest.mark.parametrize("value", ["soon", "0", "-5", "1e9", ""])
def test_bad_limit(value: str) -> None:
    """A limit that is no time is an error that says what to write."""
    with pytest.raises(ConfigError, match="such as 5000"):
        LuantiBridge(environ={"PALAVER_LUANTI_INFER_MS": value})
