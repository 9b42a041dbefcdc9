import pytest

from palaver_cloud.checks import problems
from palaver_cloud.config import CloudSettings

KEY = "sk-a-very-secret-key"


def told(environ: dict[str, str], **settings: str) -> list[str]:
    """Return what is said of a backend with these settings."""
    table = {"type": "cloud", "provider": "openai", "model": "base", **settings}
    return list(problems({"fast": CloudSettings.model_validate(table)}, environ))


@pytest.mark.parametrize("value", [None, "", " \n", "schlüssel", "a\nb"])
def test_a_key_that_cannot_be_used_is_told_by_its_variable(value: str | None) -> None:
    """Before anybody speaks, a backend without a key is named, with what to do."""
    environ = {} if value is None else {"OPENAI_API_KEY": value}
    (line,) = told(environ)
    assert line.startswith("backends.fast: the variable OPENAI_API_KEY ")
    assert line.endswith("set it and start again")
    assert told({"OPENAI_API_KEY": KEY}) == []


def test_a_key_in_the_open_is_told() -> None:
    """A key that would go unencrypted over a network is worth a line; on this machine it is not."""
    environ = {"TEST_CLOUD_KEY": KEY}
    (line,) = told(environ, url="http://models.example/v1", api_key_env="TEST_CLOUD_KEY")
    assert "unencrypted" in line
    assert KEY not in line
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://x.example"):
        assert told(environ, url=url, api_key_env="TEST_CLOUD_KEY") == []
    assert told(environ, url="http://models.example/v1") == []
    (line,) = told(environ, url="http://127.example/v1", api_key_env="TEST_CLOUD_KEY")
    assert "unencrypted" in line
