"""A reply's timeline inside a chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palaver.cli.chat.screen import Screen
    from palaver.messages import TurnDone

__all__ = ["picture"]


def picture(done: TurnDone, screen: Screen, cache: str | None = None) -> str:
    """Return a reply's timeline as it is written to a screen.

    Args:
        done: How the reply ended.
        screen: Where it will be written.
        cache: What the dialogue cache made of it, if that is known.
    """
    # Rich is only needed by those who look.
    from palaver.cli.explaining import of_done
    from palaver.cli.timeline import PIPE_WIDTH, render
    from palaver.cli.timeline.screen import glyphs_for

    return render(
        of_done(done).model_copy(update={"cache": cache}),
        width=screen.width or PIPE_WIDTH,
        colour=screen.colour,
        glyphs=glyphs_for(screen.stream),
    )
