"""A chat in the terminal, line by line."""

from __future__ import annotations

from palaver.cli.chat.commands import completions, perform
from palaver.cli.chat.people import Person
from palaver.cli.chat.picture import picture
from palaver.cli.chat.screen import COLOURS, Screen, trail_line
from palaver.cli.chat.talk import Said, Talk
from palaver.cli.chat.terminal import Terminal
from palaver.cli.output import plain
from palaver.errors import PalaverError, ServerError
from palaver.messages import TurnAction, TurnDelta, TurnDone, TurnEmotion

__all__ = ["ChatSession"]

CALM = ("neutral", "")
"""Emotions that are not worth a word."""


class ChatSession:
    """Asks for lines, says them, shows the replies.

    Args:
        talk: The conversation.
        screen: Where it is shown.
        terminal: Where lines come from.
        show_trail: Whether each reply is followed by its trail.
        show_timeline: Whether that is a timeline.

    Attributes:
        last_done: How the last reply ended, or None.
    """

    def __init__(
        self,
        talk: Talk,
        screen: Screen,
        terminal: Terminal,
        *,
        show_trail: bool,
        show_timeline: bool = False,
    ) -> None:
        self.talk = talk
        self.screen = screen
        self.terminal = terminal
        self.show_trail = show_trail
        self.show_timeline = show_timeline
        self.last_done: TurnDone | None = None
        self.over = False

    def complete(self, line: str) -> list[str]:
        """Return what the last word of a line can be completed to."""
        facts = list(self.talk.facts()) if self.talk.npc is not None else []
        return completions(line, [person.id for person in self.talk.people.all], facts)

    def run(self) -> None:
        """Talk until the end.

        Raises:
            KeyboardInterrupt: Ctrl-C at the prompt.
            ConnectionLost: The server went away.
        """
        while not self.over:
            line = self.terminal.ask("> ", "bold")
            if line is None:
                return
            said: Said | None = Said(line)
            if line.startswith("/"):
                said = self._perform(line)
            if said is not None:
                self._answer(said)

    def _perform(self, line: str) -> Said | None:
        try:
            return perform(self, line)
        except ServerError as err:
            self._trouble(err)
            return None

    def offer(self) -> None:
        """Show who there is to talk to."""
        people = self.talk.people.all
        number = len(str(len(people)))
        width = max(len(person.id) for person in people)
        for index, person in enumerate(people, 1):
            head = f"  {index:>{number}}  "
            name = self.screen.styled(f"{person.id:<{width}}", "bold", self.colour(person))
            self.screen.line(f"{head}{name}  {plain(person.name)}")

    def choose(self) -> bool:
        """Let the person choose whom to talk to; returns whether they did."""
        if len(self.talk.people.all) == 1:
            self.talk.choose("1")
            return True
        self.offer()
        while (line := self.terminal.ask("Whom do you talk to? (number or name) ")) is not None:
            if line.strip() in ("/quit", "/exit"):
                break
            if not line.strip():
                continue
            try:
                self.talk.choose(line)
            except LookupError as err:
                self.screen.line(str(err.args[0]), "yellow")
                continue
            return True
        return False

    def greet(self, hint: str = "") -> None:
        """Say whom they are talking to now, and what else they may want to know."""
        npc = self.talk.npc
        assert npc is not None
        name = self.screen.styled(plain(npc.name), "bold", self.colour(npc))
        more = " " + self.screen.styled(hint, "dim") if hint else ""
        self.screen.line(f"You are talking to {name}.{more}")

    def colour(self, person: Person) -> str:
        """Return the colour of somebody's name: the same one each time."""
        people = self.talk.people.all
        index = people.index(person) if person in people else len(people)
        return COLOURS[index % len(COLOURS)]

    def _answer(self, said: Said) -> None:
        try:
            self._show(said)
        except ServerError as err:
            self._trouble(err)

    def _trouble(self, err: ServerError) -> None:
        """Show what the server refuses; the chat goes on unless the server is gone."""
        if err.code == "connection_lost":
            raise err
        self.screen.line(plain(err.message), "yellow")

    def _show(self, said: Said) -> None:
        npc = self.talk.npc
        if npc is None:
            raise PalaverError("nobody was chosen to talk to; give --npc")
        self.screen.name(npc.name, self.colour(npc))
        done: TurnDone | None = None
        try:
            for event in self.talk.say(said):
                if isinstance(event, TurnDelta):
                    self.screen.say(event.text)
                elif isinstance(event, TurnEmotion):
                    if event.name not in CALM:
                        self.screen.aside(f"({event.name})")
                elif isinstance(event, TurnAction):
                    values = ", ".join(f"{key}={value}" for key, value in event.args.items())
                    self.screen.aside(f"[{event.name}{f': {values}' if values else ''}]")
                elif isinstance(event, TurnDone):
                    done = event
                    if event.status == "cancelled":
                        self.screen.aside("(you interrupt)")
        finally:
            self.screen.end()
        self.last_done = done or self.last_done
        if done is not None and self.show_timeline:
            self.explain(done)
        elif done is not None and self.show_trail:
            self.screen.line(f"  {trail_line(done)}", "dim")

    def explain(self, done: TurnDone) -> None:
        """Show a reply's trail on a timeline."""
        self.screen.raw(picture(done, self.screen, self.talk.cache_note(done.turn)))
