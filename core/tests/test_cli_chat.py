"""`palaver chat`: talking in the terminal, the way an engine does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from palaver.cli.chat.commands import completions
from palaver.messages import TurnDone, server_message

Cli = Callable[..., Result]


def say(cli: Cli, world: str, text: str, *more: str) -> Result:
    """Say one thing to the vampire."""
    result = cli("chat", world, "--npc", "vampire", "--say", text, *more)
    assert result.exit_code == 0, result.output
    return result


def test_say_prints_the_answer_only(cli: Cli, trusted: str) -> None:
    """With --say the answer alone goes to stdout, and the trail to stderr."""
    result = say(cli, trusted, "Hello.")
    assert result.stdout == "Good evening, Player.\n"
    assert result.stderr.startswith("local (script-1) served ")
    assert "first words" in result.stderr


def test_no_trail(cli: Cli, trusted: str) -> None:
    """--no-trail leaves stderr empty."""
    assert say(cli, trusted, "Hello.", "--no-trail").stderr == ""


def test_json_prints_the_messages(cli: Cli, trusted: str) -> None:
    """With --json each message of the turn is a line, and the last is turn.done."""
    result = say(cli, trusted, "feel", "--json")
    messages = [server_message(json.loads(line)) for line in result.stdout.splitlines()]
    assert next(message.type for message in messages) == "turn.emotion"
    done = messages[-1]
    assert isinstance(done, TurnDone)
    assert done.text == "Come in."
    assert result.stderr == ""


def test_facts_player_and_tier(cli: Cli, trusted: str) -> None:
    """Facts, the player's name and the tier of the command line reach the NPC."""
    more = ["--fact", "hunger=9", "--fact", "player.rank=duke", "--tier", "grunt"]
    assert say(cli, trusted, "facts", *more).stdout == "{'hunger': 9} duke grunt\n"
    assert say(cli, trusted, "Hello.", "--player", "Ada").stdout == "Good evening, Ada.\n"


def test_cue(cli: Cli, trusted: str) -> None:
    """With --cue something happens instead of being said."""
    result = cli("chat", trusted, "--npc", "zombie", "--cue", "You feel a draught.")
    assert result.stdout == "Come in.\n"


def test_it_remembers_until_it_is_fresh(cli: Cli, trusted: str) -> None:
    """What was said is remembered from one call to the next, but not with --fresh."""
    assert say(cli, trusted, "Hello.").stdout == "Good evening, Player.\n"
    assert say(cli, trusted, "remember", "--fresh").stdout == "I remember [].\n"
    assert say(cli, trusted, "remember", "--game", "other").stdout == "I remember [].\n"
    assert say(cli, trusted, "remember").stdout == "I remember ['Good evening, Player.'].\n"


def test_names_and_beginnings_are_understood(cli: Cli, trusted: str) -> None:
    """--npc takes the persona, the character's name, or the beginning of one."""
    for name in ("vampire", "Vlad", "vla", "VAMP"):
        assert cli("chat", trusted, "--npc", name, "--say", "x").exit_code == 0


def test_an_unknown_npc(cli: Cli, trusted: str) -> None:
    """A name that nobody has is an error that names the nearest one."""
    result = cli("chat", trusted, "--npc", "vampyre", "--say", "x")
    assert result.exit_code == 1
    assert "did you mean `vampire`?" in result.stderr


def test_an_unknown_tier(cli: Cli, trusted: str) -> None:
    """What the server refuses is one line."""
    result = cli("chat", trusted, "--npc", "vampire", "--say", "x", "--tier", "bos")
    assert result.exit_code == 1
    assert "there is no tier 'bos'" in result.stderr


def test_control_characters_are_not_printed(cli: Cli, trusted: str) -> None:
    """A reply cannot rename the window or move the cursor."""
    assert "\x1b" not in say(cli, trusted, "escape").stdout


def test_the_trail_tells_of_failures(cli: Cli, trusted: str) -> None:
    """The trail says who failed, why, and who spoke instead."""
    result = say(cli, trusted, "fail")
    assert result.stdout == "The night is over.\n"
    assert "local failed" in result.stderr
    assert "(is down) → last_words served" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--say", "x"],
        ["--npc", "vampire", "--say", "x", "--cue", "y"],
        ["--npc", "vampire", "--json"],
        ["world", "--url", "ws://127.0.0.1:1"],
        ["--npc", "vampire", "--say", "x", "--set", "nonsense"],
        ["--npc", "vampire", "--say", "x", "--fact", "nonsense"],
    ],
    ids=["say to whom", "say and cue", "json of a talk", "two worlds", "set", "fact"],
)
def test_contradictions(cli: Cli, arguments: list[str]) -> None:
    """A command line that makes no sense is a usage error."""
    result = cli("chat", *arguments)
    assert result.exit_code == 2
    assert "Usage: palaver chat" in result.stderr


def test_a_setting_that_is_wrong(cli: Cli, trusted: str) -> None:
    """A broken --set is named with its key."""
    result = cli("chat", trusted, "--npc", "vampire", "--say", "x", "--set", "limits.turns=none")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: limits.turns: ")


def test_a_talk_over_a_pipe(cli: Cli, trusted: str) -> None:
    """Without a terminal, lines of stdin are said one after another until the input ends."""
    result = cli("chat", trusted, "--npc", "vampire", stdin="Hello.\n\n/facts hunger=2\nfacts\n")
    assert result.exit_code == 0
    assert "Vlad: Good evening, Player.\n" in result.stdout
    assert "Vlad: {'hunger': 2} None elite\n" in result.stdout
    assert result.stdout.count("Vlad: ") == 3
    assert "\x1b" not in result.stdout


def test_commands_of_the_talk(cli: Cli, trusted: str) -> None:
    """/help, /npc, /facts, /cue, /again, /trail and /quit do what they say."""
    lines = ["/help", "/npc zombie", "/npc bob", "/npc", "/facts hunger=many bats player.rank=duke"]
    lines += ["facts", "/again", "/cue feel", "/trail", "/cue", "/nonsense", "/facts nonsense"]
    lines += ["/quit", "not heard"]
    result = cli("chat", trusted, "--npc", "vampire", stdin="\n".join(lines))
    out = result.stdout
    assert result.exit_code == 0
    assert "change a fact" in out
    assert "You are talking to Brains." in out
    assert "there is no 'bob' in world" in out
    assert "  1  vampire  Vlad\n" in out
    assert '  hunger       "many bats"\n  player.rank  "duke"\n' in out
    assert out.count("Brains: {'hunger': 'many bats'} duke elite\n") == 2
    assert "Brains: (joy) Come in.\n  local" in out
    assert "The trail is hidden" in out
    assert "There is no /nonsense" in out
    assert "Write NAME=VALUE" in out
    assert "not heard" not in out


def test_the_choice(cli: Cli, trusted: str) -> None:
    """Without --npc it offers who there is, and takes a number or a name."""
    result = cli("chat", trusted, stdin="3\n2\nHello.\n")
    assert "there is no '3' in world; there are `vampire`, `zombie`" in result.stdout
    assert "You are talking to Brains." in result.stdout
    assert "Brains: Good evening" in result.stdout
    assert cli("chat", trusted, stdin="/quit\n").exit_code == 0


def test_one_persona_is_no_choice(cli: Cli, trusted: str) -> None:
    """Where there is one persona, it is the one."""
    (Path(trusted) / "personas" / "zombie.md").unlink()
    assert "You are talking to Vlad." in cli("chat", trusted, stdin="").stdout


def test_completion() -> None:
    """The tabulator completes commands, people and facts."""
    people, facts = ["vampire", "zombie"], ["hunger", "player.rank"]
    assert completions("/n", people, facts) == ["/npc "]
    assert completions("/npc v", people, facts) == ["vampire"]
    assert completions("/facts hunger=2 pl", people, facts) == ["player.rank="]
    assert completions("Hello v", people, facts) == []


def test_an_untrusted_world_says_so(cli: Cli, script_world: Path) -> None:
    """What a world lacks because nobody trusts it is said on stderr, with what to do."""
    (script_world / "palaver.toml").unlink()
    result = say(cli, str(script_world), "Hello.", "--set", "server.detect=false")
    assert result.stdout == "The night is over.\n"
    assert "its plugins do not run" in result.stderr
    assert "palaver trust" in result.stderr


def test_no_server_at_the_address(cli: Cli) -> None:
    """An address where nobody answers is named, with what to do."""
    result = cli("chat", "--url", "ws://127.0.0.1:1", "--npc", "x", "--say", "y")
    assert result.exit_code == 1
    assert "no server answers at ws://127.0.0.1:1" in result.stderr
    assert "palaver serve" in result.stderr
