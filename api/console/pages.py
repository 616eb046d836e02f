"""The console page and the board inside it, drawn on the server."""

import tomllib
from collections.abc import Callable
from functools import cache
from importlib import resources

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from api.deps import City, Language
from runtime.board import Board, gather

router = APIRouter(include_in_schema=False)


@cache
def _words() -> dict[str, dict[str, str]]:
    return tomllib.loads(resources.files("api.locale").joinpath("console.toml").read_text("utf-8"))


def translator(lang: str) -> Callable[[str], str]:
    """Looks a key up in the console's words; a missing key is a bug and raises KeyError."""
    words = _words()

    def translate(key: str) -> str:
        return words[key][lang]

    return translate


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("api.console"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _draw(name: str, lang: str, board: Board) -> str:
    return _templates().get_template(name).render(t=translator(lang), lang=lang, board=board)


@router.get("/", response_class=HTMLResponse)
def console(city: City, lang: Language) -> str:
    """The whole page."""
    return _draw("page.html", lang, gather(city, lang))


@router.get("/console/board", response_class=HTMLResponse)
def board(city: City, lang: Language) -> str:
    """The board alone, fetched again whenever the stream says that something changed."""
    return _draw("board.html", lang, gather(city, lang))
