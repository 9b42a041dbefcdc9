"""Why a connection ended, in words, and whether there is any use in another attempt."""

from __future__ import annotations

from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI

from palaver.errors import ConnectionLost, ServerError

__all__ = ["FATAL", "Ended", "Gap", "explain"]

FATAL = {
    1008: "the server refuses this client",
    1009: "a message was larger than the server takes; send less at once",
    4400: "the server does not understand this client; use versions that fit each other",
    4401: "the server does not accept the token; give `connect` the right one",
    4409: "the session was resumed by another client; give each client a session of its own",
}
"""Close codes after which another attempt would end in the same way."""


class Gap(Exception):
    """A `seq` is missing: what was sent before it is lost, unless the session is resumed."""


class Ended(Exception):
    """There is no connection: why, and whether another attempt would end in the same way."""

    def __init__(self, error: ServerError, *, last: bool) -> None:
        super().__init__(str(error))
        self.error, self.last = error, last


def explain(error: Exception, url: str) -> Ended:
    """Say in words why there is no connection."""
    if isinstance(error, Ended):
        return error
    if isinstance(error, InvalidStatus):
        response = error.response
        said = (response.body or b"").decode("utf-8", "replace").strip()[:200]
        problem = f"{url} answers with HTTP status {response.status_code}: {said}"
        # 5xx and 429 may pass; the others say that this client is not wanted there.
        final = response.status_code < 500 and response.status_code != 429
        return Ended(ConnectionLost(problem), last=final)
    if isinstance(error, InvalidURI):
        return Ended(ConnectionLost(f"{url} is no ws:// or wss:// address"), last=True)
    if isinstance(error, ConnectionClosed):
        code = error.rcvd.code if error.rcvd else None
        if code in FATAL:
            said = f" ({error.rcvd.reason})" if error.rcvd and error.rcvd.reason else ""
            return Ended(ConnectionLost(f"{FATAL[code]}{said}"), last=True)
        return Ended(ConnectionLost(f"the connection ended: {error}"), last=False)
    if isinstance(error, Gap):
        return Ended(ConnectionLost(f"the connection lost something: {error}"), last=False)
    if isinstance(error, TimeoutError):
        silent = f"{url} does not answer in time"
        return Ended(ConnectionLost(silent), last=False)
    return Ended(
        ConnectionLost(f"cannot reach {url}: {error}; start the server with `palaver serve`"),
        last=False,
    )
