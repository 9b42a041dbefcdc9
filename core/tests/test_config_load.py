"""Settings come in the stated order, and every mistake is answered with the nearest right thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendSettings, BackendType
from palaver.config.load import load_settings, parse_backend
from palaver.config.toml_lines import TomlLines
from palaver.errors import ConfigError
from palaver.testing.scripted import ScriptedBackend


def load(tmp_path: Path, text: str, **options: Any) -> Any:
    """Load settings from a file with this text."""
    file = tmp_path / "palaver.toml"
    file.write_text(text, "utf-8")
    return load_settings(file, **options)


def test_defaults_need_no_file() -> None:
    """With nothing at all, the shipped tiers and the loopback address are there."""
    settings = load_settings(None)
    assert settings.server.host == "127.0.0.1"
    assert set(settings.tiers) == {"grunt", "elite", "boss", "story"}


def test_the_order_is_flag_environment_file_default(tmp_path: Path) -> None:
    """Each source comes before the next."""
    text = "[server]\nport = 1\n[limits]\nturns = 2\nqueue = 3\n"
    environ = {"PALAVER_SERVER__PORT": "10", "PALAVER_LIMITS__TURNS": "20"}
    settings = load(tmp_path, text, environ=environ, overrides={"server.port": 100})
    assert settings.server.port == 100
    assert settings.limits.turns == 20
    assert settings.limits.queue == 3
    assert settings.limits.sessions == 1_000


def test_a_tier_changes_single_keys_of_the_shipped_one(tmp_path: Path) -> None:
    """What the file does not say stays as it was shipped."""
    tier = load(tmp_path, "[tiers.elite]\nmax_tokens = 7\n").tiers["elite"]
    assert tier.max_tokens == 7
    assert tier.chain == ["local", "fast", "premium", "static"]
    assert tier.first_token_s("fast") == 0.9
    assert tier.first_token_s("another") == 0.5


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """A world names its files from where it is, whatever folder the server is started in."""
    text = (
        '[server]\ntls_cert = "tls/a.pem"\ntls_key = "/etc/b.pem"\n[memory]\npath = "m.sqlite3"\n'
    )
    settings = load(tmp_path, text)
    assert settings.server.tls_cert == tmp_path / "tls" / "a.pem"
    assert settings.server.tls_key == Path("/etc/b.pem")
    assert settings.memory.path == tmp_path / "m.sqlite3"
    asked = load(tmp_path, text, overrides={"memory.path": "other.sqlite3"})
    assert asked.memory.path == Path("other.sqlite3"), "a flag is relative to the folder one is in"


def test_variables_that_are_no_settings_are_left_alone(tmp_path: Path) -> None:
    """A token or folder may live in a variable of the same prefix."""
    environ = {"PALAVER_TOKEN": "x", "PALAVER_CONFIG_DIR": "/tmp", "PALAVER_DEFAULT_TIER": "grunt"}
    assert load(tmp_path, "", environ=environ).default_tier == "grunt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[tiers.elite]\n\nchian = []\n",
            ":3: tiers.elite.chian: no such setting; did you mean `chain`?",
        ),
        ("[sever]\nport = 1\n", ":1: sever: no such setting; did you mean `server`?"),
        ('[server]\nport = "x"\n', ":2: server.port: is 'x', but must be a whole number"),
        ("[server\n", ":1: this is not TOML: "),
        ("a = \n", ":1: this is not TOML: "),
        ("[server]\nhost = here\n", ":2: this is not TOML: Invalid value; put texts in quotes"),
        ("[tiers.guard]\nmemory = 2\n", ":1: tiers.guard.chain: is missing; add `chain`, a list"),
        (
            "[tiers.elite]\nfirst_token_ms = {local = 'a'}\n",
            ":2: tiers.elite.first_token_ms.local: ",
        ),
        ('[[server.tokens]]\nrole = "engine"\n', "give either `env` or `sha256`"),
        ('[server]\ntls_cert = "a.pem"\n', "give both `tls_cert` and `tls_key`"),
    ],
    ids="key table type header value quotes missing nested token tls".split(),
)
def test_a_mistake_names_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    """A typo is an error with its place and the nearest right name."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "palaver.toml") in str(caught.value)
    assert message in str(caught.value)


def test_a_mistake_in_a_variable_names_the_variable() -> None:
    """The error does not send anybody to a file."""
    with pytest.raises(ConfigError, match=r"did you mean `port`\? \(from the variable PALAVER"):
        load_settings(None, environ={"PALAVER_SERVER__PROT": "1"})


def test_all_mistakes_are_told(tmp_path: Path) -> None:
    """The first in the file is the error; the others go with it, in the order of lines."""
    text = "[limits]\nturns = 0\n\n[server]\nprot = 1\n[plugins]\nblok = []\n[[server.tokens]]\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text + 'role = "engin"\nenv = "X"\n')
    errors = [caught.value, *caught.value.others]
    assert [(error.line, error.key) for error in errors] == [
        (2, "limits.turns"),
        (5, "server.prot"),
        (7, "plugins.blok"),
        (9, "server.tokens[0].role"),
    ]
    assert [error.problem.partition("did you mean ")[2] for error in errors[1:]] == [
        "`port`?",
        "`block`?",
        "`engine`?",
    ]


@pytest.mark.parametrize("name", ["PALAVER_SERVER_PORT", "PALAVER_LIMITS_HOOK_MS"])
def test_a_variable_that_is_almost_a_setting(name: str) -> None:
    """One `_` too few is an error, not a setting that silently does nothing."""
    right = name.replace("SERVER_", "SERVER__").replace("LIMITS_", "LIMITS__")
    with pytest.raises(ConfigError, match=rf"no variable {name}; did you mean {right}\?"):
        load_settings(None, environ={name: "1"})
    load_settings(None, environ={right: "1"})


def test_values_of_variables() -> None:
    """A variable holds a TOML value, or a text where it is none."""
    environ = {
        "PALAVER_SERVER__HOSTS": '["a", "b"]',
        "PALAVER_SERVER__HOST": "my.host",
        "PALAVER_SERVER__DETECT": "false",
        "PALAVER_TIERS__ELITE__FIRST_TOKEN_MS": "{ local = 5 }",
    }
    settings = load_settings(None, environ=environ)
    assert settings.server.hosts == ["a", "b"]
    assert settings.server.host == "my.host"
    assert settings.server.detect is False
    assert settings.tiers["elite"].first_token_ms == {"local": 5}
    assert settings.tiers["elite"].max_tokens == 120


def test_secrets_are_not_shown() -> None:
    """A value that may be a secret is not in the error."""
    with pytest.raises(ConfigError) as caught:
        load_settings(None, overrides={"server.tokens": [{"role": "engine", "sha256": "hunter2"}]})
    assert "64 hexadecimal digits" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are named as such."""
    file = tmp_path / "palaver.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(file)


def test_a_backends_table_is_checked_by_its_type(tmp_path: Path) -> None:
    """The key of a backend's own setting is looked for among those of its type."""

    class Own(BackendSettings):
        url: str

    kind = BackendType("own", Own, lambda name, settings, context: ScriptedBackend(name))
    file = tmp_path / "palaver.toml"
    file.write_text('[backends.local]\ntype = "own"\nulr = "x"\n')
    with pytest.raises(ConfigError) as caught:
        parse_backend("local", {"type": "own", "url": "x", "ulr": "x"}, kind, file=file)
    assert str(caught.value).endswith(
        "palaver.toml:3: backends.local.ulr: no such setting; did you mean `url`?"
    )
    parsed = parse_backend("local", {"type": "own", "url": "x"}, kind)
    assert parsed.chars_per_token == 4.0


def test_lines_of_keys() -> None:
    """Tables, arrays of tables, dotted and quoted keys, inline tables; not what texts hold."""
    lines = TomlLines(
        "a = 1\n[b]\nc.d = 2\n'e f' = 3\n[[g]]\nh = 1\n[[g]]\nh = 2 # h = 9\n"
        'text = """\nh = 3\n[i]\n"""\n[j."k.l"]\nm = { n = "o = 4", p = 5 }\n'
    )
    found = {
        ("a",): 1,
        ("b",): 2,
        ("b", "c", "d"): 3,
        ("b", "e f"): 4,
        ("b", "nothing"): 2,
        ("g", 0, "h"): 6,
        ("g", 1, "h"): 8,
        ("g", 1, "text"): 9,
        ("j", "k.l", "m", "p"): 14,
        ("i",): None,
        ("o",): None,
    }
    assert {path: lines.find(path) for path in found} == found


def test_the_default_tier_has_to_exist(tmp_path: Path) -> None:
    """A turn of a persona that names no tier must not find out first."""
    with pytest.raises(ConfigError, match="there is no tier 'elit'; did you mean `elite`"):
        load(tmp_path, 'default_tier = "elit"\n')
