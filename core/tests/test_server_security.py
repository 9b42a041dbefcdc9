"""Who may connect, as what, and how much one client may store."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import ssl
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from palaver.client import connect
from palaver.config.models import Server as ServerSettings
from palaver.errors import ConfigError, ConnectionLost, ServerError
from palaver.server.hub import PLAYER_SESSIONS
from palaver.server.security import check_binding
from palaver.testing.server import RunningServer, running_server


def token(secret: str, role: str = "engine", player: str | None = None) -> dict[str, Any]:
    """Return a `[[server.tokens]]` entry."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return {"role": role, "sha256": digest} | ({"player": player} if player else {})


TOKENS = {"server.tokens": [token("engine key"), token("ada's key", "player", "ada")]}


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8765", True),
        ("localhost:1", True),
        ("LOCALHOST", True),
        ("[::1]:8765", True),
        ("evil.example", False),
        ("evil.example:8765", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.", False),
        ("0.0.0.0", False),
        ("", False),
        ("[::1", False),
        ("localhost:80:80", False),
        ("localhost@evil.example", False),
    ],
)
async def test_host(host: str, allowed: bool, palaver_server: RunningServer) -> None:
    """Only names in server.hosts reach this server, so that no page can rebind its own to it."""
    async with aiohttp.ClientSession() as client:
        for path in ("/v1/info", "/v1"):
            url = palaver_server.http_url + path
            async with client.get(url, headers={"Host": host}) as answer:
                assert (answer.status != 403) is allowed, (path, answer.status)
                if not allowed:
                    error = (await answer.json())["error"]
                    assert error["code"] == "unauthorized"
                    assert "server.hosts" in error["message"]
        # Probes come by whatever address the machine has.
        probe = palaver_server.http_url + "/healthz"
        async with client.get(probe, headers={"Host": host}) as answer:
            assert answer.status == 200
        page = {"Host": host, "Origin": "https://evil.example"}
        async with client.get(probe, headers=page) as answer:
            assert answer.status == 403


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://play.example.org", True),
        ("HTTPS://PLAY.example.org", True),
        ("https://evil.example", False),
        ("https://play.example.org.evil.example", False),
        ("http://play.example.org", False),
        ("https://play.example.org:444", False),
        ("http://localhost:8765", False),
        ("null", False),
        ("", False),
    ],
)
async def test_origin(origin: str | None, allowed: bool, palaver_world: Path) -> None:
    """A web page may connect only if its Origin is in server.origins."""
    overrides = {"server.origins": ["https://play.example.org/"]}
    async with running_server(palaver_world, overrides=overrides) as palaver:
        if allowed:
            engine = await palaver.engine(origin=origin)
            await engine.start()
            return
        with pytest.raises(InvalidStatus) as caught:
            await palaver.engine(headers={"Origin": origin or ""})
        assert caught.value.response.status_code == 403
        body = b"Origin" in (caught.value.response.body or b"")
        assert body


async def test_no_page_by_default(palaver_server: RunningServer) -> None:
    """Without server.origins no web page may connect, not even one of this machine."""
    with pytest.raises(InvalidStatus):
        await palaver_server.engine(origin=palaver_server.http_url)


@pytest.mark.parametrize(
    ("host", "open_to_all"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("[::1]", False),
        ("localhost", False),
        ("127.1.2.3", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.168.1.5", True),
        ("game.example.org", True),
        ("", True),
    ],
)
def test_binding_needs_tokens(host: str, open_to_all: bool) -> None:
    """An address that other machines reach is refused without tokens, and the error says why."""
    settings = ServerSettings(host=host)
    if not open_to_all:
        check_binding(settings)
        return
    with pytest.raises(ConfigError, match="tokens") as caught:
        check_binding(settings)
    assert caught.value.key == "server.host"
    check_binding(ServerSettings.model_validate({"host": host, "tokens": [token("x")]}))


async def test_tokens_from_the_environment(palaver_world: Path) -> None:
    """A token may stand in an environment variable; one that is not set is an error on start."""
    overrides = {"server.tokens": [{"role": "engine", "env": "GAME_TOKEN"}]}
    with pytest.raises(ConfigError, match="GAME_TOKEN"):
        async with running_server(palaver_world, overrides=overrides):
            pass


async def test_a_player_through_the_client(palaver_world: Path) -> None:
    """The client tells a player why something is not allowed."""
    async with running_server(palaver_world, overrides=TOKENS) as palaver:
        async with connect(palaver.url, token="engine key") as engine:
            await engine.upsert_npc("vlad", persona="vampire")
        async with connect(palaver.url, token="ada's key") as ada:
            turn = await ada.say("vlad", "Good evening", player="ada")
            assert await turn.text() == "Good evening."
            with pytest.raises(ServerError, match="ada") as caught:
                await ada.say("vlad", "I am Bob", player="bob")
            assert caught.value.code == "unauthorized"
            with pytest.raises(ServerError, match="engine's token"):
                await ada.upsert_npc("mina", persona="vampire")
        with pytest.raises(ServerError, match="token") as refused:
            async with connect(palaver.url, token="guess"):
                pass
        assert refused.value.code == "unauthorized"


async def test_another_token_does_not_find_a_session(palaver_world: Path) -> None:
    """A session id is of no use with another valid token."""
    async with running_server(palaver_world, overrides=TOKENS) as palaver:
        engine = await palaver.ready(token="engine key")
        thief = await palaver.engine()
        answer = await thief.resume(engine.session, 0, token="ada's key")
        assert answer["type"] == "session.reset"
        assert answer["session"] != engine.session
        await engine.ping()


async def test_session_ids_are_random(palaver_server: RunningServer) -> None:
    """Session ids have 128 bits and tell nothing about each other."""
    found = {(await palaver_server.ready()).session for _ in range(20)}
    assert len(found) == 20
    assert all(len(bytes.fromhex(session)) == 16 for session in found)


async def test_http_asks_for_the_token_too(palaver_world: Path) -> None:
    """HTTP needs `Authorization: Bearer`, except for the health of the process."""
    async with (
        running_server(palaver_world, overrides=TOKENS) as palaver,
        aiohttp.ClientSession(palaver.http_url) as client,
    ):
        body = {"npc": "vlad", "persona": "vampire", "text": "Hi", "player": "ada"}
        for header in ({}, {"Authorization": "Bearer guess"}, {"Authorization": "engine key"}):
            async with client.post("/v1/turns", json=body, headers=header) as answer:
                assert answer.status == 401
                assert (await answer.json())["error"]["code"] == "unauthorized"
            async with client.get("/v1/info", headers=header) as answer:
                assert answer.status == 401
            async with client.get("/healthz", headers=header) as answer:
                assert answer.status == 200
        good = {"Authorization": "bearer engine key"}
        async with client.post("/v1/turns", json=body, headers=good) as answer:
            assert answer.status == 200
        ada = {"Authorization": "Bearer ada's key"}
        plain = {"npc": "vlad", "text": "Hi", "player": "ada"}
        async with client.post("/v1/turns", json=plain, headers=ada) as answer:
            assert answer.status == 200
        for more in (
            {"player": "bob"},
            {"player": None},
            {"persona": "vampire"},
            {"tier": "boss"},
            {"facts": {"gold": 1}},
            {"text": None, "cue": "A king enters."},
            {"speaker": "mina"},
            {"audience": ["mina"]},
            {"priority": "background"},
            {"npc": "nobody"},
        ):
            async with client.post("/v1/turns", json={**plain, **more}, headers=ada) as answer:
                assert answer.status == (404 if "npc" in more else 401), more


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-made certificate for 127.0.0.1, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command, which makes the certificate, is not installed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=palaver test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    return cert, key


async def test_tls(palaver_world: Path, certificate: tuple[Path, Path]) -> None:
    """With a certificate everything is wss:// and https://, and others are not believed."""
    cert, key = certificate
    overrides = {"server.tls_cert": cert, "server.tls_key": key}
    trusting = ssl.create_default_context(cafile=cert)
    async with running_server(palaver_world, overrides=overrides) as palaver:
        assert palaver.url.startswith("wss://")
        async with connect(palaver.url, ssl=trusting) as client:
            await client.upsert_npc("vlad", persona="vampire")
            assert await (await client.say("vlad", "Hello")).text() == "Good evening."
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{palaver.http_url}/healthz", ssl=trusting) as answer:
                assert answer.status == 200
        with pytest.raises(ConnectionLost, match="certificate"):
            async with connect(palaver.url):
                pass
        with pytest.raises(ConnectionLost):
            async with connect(palaver.url.replace("wss:", "ws:")):
                pass


async def test_tls_files_that_are_no_certificate(palaver_world: Path, tmp_path: Path) -> None:
    """A certificate that cannot be used is an error on start that names the setting."""
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("this is no certificate", encoding="utf-8")
    overrides = {"server.tls_cert": nothing, "server.tls_key": nothing}
    with pytest.raises(ConfigError, match="certificate") as caught:
        async with running_server(palaver_world, overrides=overrides):
            pass
    assert caught.value.key == "server.tls_cert"


async def test_a_port_that_is_taken(palaver_world: Path, palaver_server: RunningServer) -> None:
    """A port that another program uses is an error that says what to do."""
    overrides = {"server.port": palaver_server.server.port}
    with pytest.raises(ConfigError, match="--port"):
        async with running_server(palaver_world, overrides=overrides):
            pass


async def test_what_one_client_may_store(palaver_world: Path) -> None:
    """NPCs, players, facts and actions are bounded, and what breaks a bound changes nothing."""
    bounds = {"npcs": 2, "players": 1, "facts": 3, "fact_bytes": 50, "actions": 1}
    overrides = {f"limits.{name}": value for name, value in bounds.items()}
    async with (
        running_server(palaver_world, overrides=overrides) as palaver,
        connect(palaver.url) as client,
    ):
        for npc in ("a", "b", "a"):
            await client.upsert_npc(npc, persona="vampire", facts={"x": 1})
        await client.upsert_player("ada")
        with pytest.raises(ServerError, match=r"limits\.npcs") as caught:
            await client.upsert_npc("c", persona="vampire")
        assert caught.value.code == "too_large"
        with pytest.raises(ServerError, match=r"limits\.players"):
            await client.upsert_player("bob")
        # One who only speaks is not kept, so it needs no room.
        await (await client.say("a", "Hello", player="bob")).done()
        assert set(palaver.gateway.games["default"].players) == {"ada"}
        with pytest.raises(ServerError, match=r"limits\.facts"):
            await client.update_facts({"y": 1, "z": 1, "w": 1}, npc="a")
        with pytest.raises(ServerError, match=r"limits\.fact_bytes"):
            await client.update_facts({"y": "x" * 100}, player="ada")
        with pytest.raises(ServerError, match="flatter"):
            await client.update_facts({"y": [[[[[[[1]]]]]]]})
        with pytest.raises(ServerError, match=r"limits\.actions"):
            await client.set_actions([{"name": "bow"}, {"name": "wave"}])
        await client.remove_npc("b")
        await client.upsert_npc("c", persona="zombie")
        assert palaver.gateway.games["default"].npcs["a"].facts == {"x": 1}


async def test_games_are_bounded(palaver_world: Path) -> None:
    """A client cannot make the server hold more and more games, but those that left make room."""
    async with (
        running_server(palaver_world, overrides={"limits.games": 3}) as palaver,
        AsyncExitStack() as stack,
    ):
        for n in range(2):
            await stack.enter_async_context(connect(palaver.url, game=f"game {n}"))
        for n in range(5):
            async with connect(palaver.url, game=f"short {n}"):
                assert len(palaver.gateway.games) <= 3
        await stack.enter_async_context(connect(palaver.url, game="game 2"))
        with pytest.raises(ServerError, match=r"limits\.games") as caught:
            async with connect(palaver.url, game="one more"):
                pass
        assert caught.value.code == "overloaded"
        assert caught.value.retryable
        async with (
            aiohttp.ClientSession(palaver.http_url) as client,
            client.post(
                "/v1/turns", json={"npc": "a", "persona": "vampire", "text": "", "game": "more"}
            ) as answer,
        ):
            assert answer.status == 503
        async with connect(palaver.url, game="game 1"):
            pass


async def test_a_player_opens_no_game_over_http(palaver_world: Path) -> None:
    """A player's token cannot make games, which are bounded; its engine has to join first."""
    async with (
        running_server(palaver_world, overrides=TOKENS) as palaver,
        aiohttp.ClientSession(palaver.http_url) as http,
    ):
        ada = {"Authorization": "Bearer ada's key"}
        for n in range(3):
            body = {"npc": "vlad", "text": "Hi", "player": "ada", "game": f"game {n}"}
            async with http.post("/v1/turns", json=body, headers=ada) as answer:
                assert answer.status == 401
                assert "is not open" in (await answer.json())["error"]["message"]
        assert palaver.gateway.games == {}


async def test_a_player_makes_no_room_for_itself(palaver_world: Path) -> None:
    """Who may not join ends nobody's session, nor does a full server end another token's."""
    overrides = {**TOKENS, "limits.sessions": 2}
    async with running_server(palaver_world, overrides=overrides) as palaver:
        engines = [await palaver.ready(token="engine key") for _ in range(2)]
        for engine in engines:
            await engine.ping()
            engine.cut()
        hub = palaver.server.hub
        async with asyncio.timeout(10):
            while len(hub._expiries) < 2:  # noqa: ASYNC110  # the server tells nobody
                await asyncio.sleep(0)
        for game in ("nobody's", "default"):
            with pytest.raises(ServerError):
                async with connect(palaver.url, token="ada's key", game=game):
                    pass
        again = await palaver.engine()
        answer = await again.resume(engines[0].session, engines[0].last_seq, token="engine key")
        assert answer["type"] == "session.resumed"
        # Its own that is cut off makes room for an engine.
        await palaver.ready(token="engine key")


async def test_a_player_has_few_sessions(palaver_world: Path) -> None:
    """One player cannot take all the sessions there are."""
    async with (
        running_server(palaver_world, overrides=TOKENS) as palaver,
        AsyncExitStack() as stack,
    ):
        await palaver.ready(token="engine key")
        for _ in range(PLAYER_SESSIONS):
            await stack.enter_async_context(connect(palaver.url, token="ada's key"))
        with pytest.raises(ServerError, match="a player has at most") as caught:
            async with connect(palaver.url, token="ada's key"):
                pass
        assert caught.value.code == "overloaded"
        await palaver.ready(token="engine key")


async def test_http_turns_have_a_rate(palaver_world: Path) -> None:
    """Each token asks as often as a session may send, and none uses up another's."""
    overrides = {**TOKENS, "limits.messages_per_s": 0.01}
    async with (
        running_server(palaver_world, overrides=overrides) as palaver,
        aiohttp.ClientSession(palaver.http_url) as http,
    ):
        body = {"npc": "vlad", "persona": "vampire", "text": "Hi", "player": "ada"}
        status = []
        for secret in ("engine key", "engine key", "ada's key"):
            headers = {"Authorization": f"Bearer {secret}"}
            async with http.post("/v1/turns", json=body, headers=headers) as answer:
                status.append(answer.status)
            body.pop("persona", None)
        assert status == [200, 429, 200]


BRIDGE = """\
from aiohttp import web
from palaver import hookimpl
from palaver.server.security import GATE

class Who:
    name = "who"
    def routes(self, gateway):
        async def who(request):
            return web.Response(text=request.app[GATE].bearer(request).role)
        return [web.get("/who", who)]
    async def start(self, gateway): ...
    async def close(self): ...

@hookimpl
def palaver_register_bridges(register):
    register(Who())
"""


async def test_bridges_ask_the_servers_gate(palaver_world: Path) -> None:
    """A bridge knows tokens as the server does, without reading the settings once more."""
    (palaver_world / "plugins").mkdir()
    (palaver_world / "plugins" / "who.py").write_text(BRIDGE)
    async with (
        running_server(palaver_world, overrides=TOKENS) as palaver,
        aiohttp.ClientSession(palaver.http_url) as http,
    ):
        for secret, role in (("engine key", "engine"), ("ada's key", "player")):
            async with http.get("/who", headers={"Authorization": f"Bearer {secret}"}) as answer:
                assert await answer.text() == role
        async with http.get("/who") as answer:
            assert answer.status == 401
