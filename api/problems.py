"""Errors as problem documents (RFC 9457), from the same fault catalogue as every other text."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from core.errors import CityError
from core.faults import explain

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"


def language(request: Request) -> str:
    """ "zh" when the caller prefers Chinese, else "en"."""
    wanted = request.query_params.get("lang") or request.headers.get("accept-language", "")
    return "zh" if wanted.lower().startswith("zh") else "en"


def install(app: FastAPI) -> None:
    """Turn the six errors into problem documents; anything else stays a bug (500)."""

    @app.exception_handler(CityError)
    def problem(request: Request, error: CityError) -> JSONResponse:
        title, action = explain(error, language(request))
        headers = {"Retry-After": RETRY_AFTER_SECONDS} if error.http_status == 503 else {}
        return JSONResponse(
            {
                "type": f"urn:citycard:fault:{error.code}",
                "title": title,
                "status": error.http_status,
                "detail": action,
                "code": error.code,
                "facts": error.facts,
            },
            status_code=error.http_status,
            media_type=MEDIA_TYPE,
            headers=headers,
        )
