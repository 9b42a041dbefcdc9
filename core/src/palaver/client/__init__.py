"""The Python client: an engine's side of the wire protocol.

    async with palaver.connect("ws://127.0.0.1:8765") as client:
        await client.upsert_npc("vlad", persona="vampire")
        turn = await client.say("vlad", "Good evening.", player="ada")
        async for event in turn:
            if isinstance(event, TurnDelta):
                print(event.text, end="", flush=True)

A cut is no error: the client connects again, resumes its session and goes on where it was. Only
what cannot be mended reaches the caller, as `ServerError` or `ConnectionLost`.
"""

from palaver.client.api import Client, connect
from palaver.client.turn import ClientTurn, TurnEvent

__all__ = ["Client", "ClientTurn", "TurnEvent", "connect"]
