"""Errors as problem documents (RFC 9457), from the same fault catalogue as every other text.

Every answer that is no success is one: `code` is stable, `message_zh` and `message_en` say what to tell a person,
`category` says whose turn it is (residence.md 5.5), `trace_id` finds the line in our log.
"""

import secrets
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from core.errors import (
    CityError,
    DeviceFault,
    EvidenceMismatch,
    NotAllowed,
    NotFound,
    Rejected,
    Unavailable,
)
from core.faults import explain

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"
TRACE_BYTES = 8
MAX_NAMED = 20
CATEGORIES: dict[type[CityError], str] = {
    NotAllowed: "not_authorised",
    EvidenceMismatch: "conflict",
    DeviceFault: "provider_down",
    Unavailable: "provider_down",
    Rejected: "business_reject",
    NotFound: "business_reject",
}
_log = structlog.get_logger()


class Problem(BaseModel):
    """What every refusal looks like."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    category: str
    message_zh: str
    message_en: str
    trace_id: str
    facts: dict[str, str | int]


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": HTTPStatus(status).phrase}
    for status in (401, 403, 404, 409, 422, 503)
}
"""For the OpenAPI document of a route that asks who is there."""


def language(request: Request) -> str:
    """ "zh" when the caller prefers Chinese, else "en"."""
    wanted = request.query_params.get("lang") or request.headers.get("accept-language", "")
    return "zh" if wanted.lower().startswith("zh") else "en"


def document(
    error: CityError, status: int = 0, lang: str = "en", category: str = ""
) -> JSONResponse:
    """A problem document. `status` and `category` where they are not those of the error's class."""
    said = {which: explain(error, which) for which in ("zh", "en")}
    status, trace_id = status or error.http_status, secrets.token_hex(TRACE_BYTES)
    _log.info("api.refused", code=error.code, status=status, trace_id=trace_id)
    headers = (
        {"Retry-After": RETRY_AFTER_SECONDS} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    )
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        Problem(
            type=f"urn:citycard:fault:{error.code}",
            title=said[lang][0],
            status=status,
            detail=said[lang][1],
            code=error.code,
            category=category or _category(error),
            message_zh=said["zh"][0],
            message_en=said["en"][0],
            trace_id=trace_id,
            facts=error.facts,
        ).model_dump(),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def _category(error: CityError) -> str:
    found = (name for kind, name in CATEGORIES.items() if isinstance(error, kind))
    return next(found, "internal")


def install(app: FastAPI) -> None:
    """Every refusal becomes a problem document, also the framework's own; a bug says so, and is raised on."""

    @app.exception_handler(CityError)
    def problem(request: Request, error: CityError) -> JSONResponse:
        return document(error, lang=language(request))

    @app.exception_handler(RequestValidationError)
    def wrong_form(request: Request, error: RequestValidationError) -> JSONResponse:
        """Names the fields and what is wrong with them, never what was in them."""
        named = {_place(one["loc"]): str(one["type"]) for one in error.errors()[:MAX_NAMED]}
        fault = Rejected("E-REQUEST", "", fields=", ".join(named), **named)
        return document(fault, 422, language(request), "bad_request")

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> JSONResponse:
        fault = NotFound("E-NO-ROUTE") if error.status_code == 404 else Rejected("E-METHOD")
        return document(fault, error.status_code, language(request), "bad_request")

    @app.exception_handler(Exception)
    def bug(request: Request, error: Exception) -> JSONResponse:
        _log.error("api.bug", kind=type(error).__name__)
        return document(CityError("E-INTERNAL"), 500, language(request), "internal")


def _place(loc: tuple[int | str, ...]) -> str:
    """``body.applicant.name``, ``header.idempotency-key``."""
    return ".".join(str(part) for part in loc).lower()
