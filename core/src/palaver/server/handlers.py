"""What each message of an open session does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from palaver import messages as m
from palaver.errors import ProtocolError
from palaver.server.frames import to_frame

if TYPE_CHECKING:
    from palaver.server.session import Session

__all__ = ["handle"]

log = logging.getLogger("palaver.session")


async def handle(session: Session, message: m.ClientMessage) -> str | None:
    """Do what a message asks for.

    Args:
        session: The session it came from.
        message: The message, checked.

    Returns:
        A frame to answer with at once, or None.

    Raises:
        ProtocolError: It cannot be done; the message says what to do.
    """
    if session.principal.role == "player":
        _check_player(session, message)
    result = _HANDLERS[type(message)](session, message)
    if result is None or isinstance(result, str):
        return result
    await result
    return None


def _check_player(session: Session, message: m.ClientMessage) -> None:
    """A player's token may only speak as that player, and change nothing of the game."""
    allowed = m.TurnStart | m.TurnCancel | m.TurnHeard | m.TurnFeedback | m.Ping | m.SessionEnd
    if isinstance(message, m.PlayerUpsert):
        if message.player == session.principal.player and not message.facts and not message.zone:
            return
    elif isinstance(message, m.TurnStart):
        own = message.player == session.principal.player
        if own and message.cue is None and message.speaker is None and not message.audience:
            if message.priority != "player":
                raise ProtocolError(
                    "unauthorized", "a player's turns have the priority `player`", turn=message.turn
                )
            return
        raise ProtocolError(
            "unauthorized",
            f"this token may only speak as the player {session.principal.player!r}, "
            "without `cue`, `speaker` and `audience`",
            turn=message.turn,
        )
    elif isinstance(message, allowed):
        return
    raise ProtocolError(
        "unauthorized", f"a player's token may not send {message.type}; use an engine's token"
    )


def _npc_upsert(session: Session, message: m.NpcUpsert) -> None:
    session.gateway.check_persona(message.persona)
    session.gateway.check_tier(message.tier)
    session.game.upsert_npc(
        message.npc,
        message.persona,
        tier=message.tier,
        zone=message.zone,
        facts=message.facts,
    )


def _npc_remove(session: Session, message: m.NpcRemove) -> None:
    session.game.npcs.pop(message.npc, None)


def _player_upsert(session: Session, message: m.PlayerUpsert) -> None:
    session.game.upsert_player(
        message.player,
        name=message.name,
        zone=message.zone,
        lang=message.lang,
        facts=message.facts,
    )


def _facts_update(session: Session, message: m.FactsUpdate) -> None:
    session.game.update_facts(
        npc=message.npc, player=message.player, set_=message.set, unset=message.unset
    )


def _actions_set(session: Session, message: m.ActionsSet) -> None:
    session.game.set_actions(message.npc, message.actions)


def _turn_start(session: Session, message: m.TurnStart) -> None:
    session.start_turn(message)


def _turn_cancel(session: Session, message: m.TurnCancel) -> None:
    session.cancel_turn(message.turn, message.heard)


def _turn_heard(session: Session, message: m.TurnHeard) -> None:
    session.heard_turn(message.turn)


def _turn_feedback(session: Session, message: m.TurnFeedback) -> None:
    # Players' words stay out of the log unless the operator asks for them.
    log.info("feedback on turn %r: %s", message.turn, message.kind)
    session.gateway.feedback(message.turn, session.info, message.kind, message.note)


def _action_result(session: Session, message: m.ActionResult) -> None:
    session.answer_action(message.turn, message.call, message.ok, message.message)


async def _save_mark(session: Session, message: m.SaveMark) -> None:
    game = session.game
    written = session.gateway.memory.mark(game.name, game.branch.save, message.save)
    # In the same step: what is remembered from here on belongs to the new branch.
    game.branch.save = message.save
    await written


def _ping(session: Session, message: m.Ping) -> str:
    return to_frame(m.Pong(nonce=message.nonce))


_HANDLERS: dict[type, Callable[[Session, Any], Awaitable[None] | str | None]] = {
    m.NpcUpsert: _npc_upsert,
    m.NpcRemove: _npc_remove,
    m.PlayerUpsert: _player_upsert,
    m.FactsUpdate: _facts_update,
    m.ActionsSet: _actions_set,
    m.TurnStart: _turn_start,
    m.TurnCancel: _turn_cancel,
    m.TurnHeard: _turn_heard,
    m.TurnFeedback: _turn_feedback,
    m.ActionResult: _action_result,
    m.SaveMark: _save_mark,
    m.Ping: _ping,
}
