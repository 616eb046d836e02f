"""How much a request may carry. Said before the body is read, so that nobody fills the memory with it."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import document
from core.errors import Rejected

MAX_BODY = 96 * 1024  # a portrait of 40 KB in base64 and the rest of an application


class BodyLimit:
    """Refuses bodies above `MAX_BODY`, and those that do not say how long they are (the server holds the rest
    to what they said)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            if b"transfer-encoding" in headers:
                return _refuse(411, "E-BODY-LENGTH")(scope, receive, send)
            if int(headers.get(b"content-length", b"0")) > MAX_BODY:
                return _refuse(413, "E-BODY-SIZE")(scope, receive, send)
        return self._app(scope, receive, send)


def _refuse(status: int, code: str) -> ASGIApp:
    return document(Rejected(code, limit=MAX_BODY), status)
