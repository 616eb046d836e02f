"""The console in a real browser: it draws, it is live, it greys when the stream dies, it fits a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.services import Services, build
from runtime.settings import Settings
from tests.browser.chromium import ARTEFACTS, page, serving
from tests.floor_bench import Centre, centre

pytestmark = pytest.mark.browser
LIVE = (
    "document.getElementById('link').textContent === document.getElementById('link').dataset.live"
)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    made = build(Settings(data=tmp_path))
    yield made
    made.close()


@pytest.fixture
def floor(services: Services) -> Centre:
    city = centre(services.db, people=2)
    city.order(0, 1)
    city.attach("S1")
    city.issue(city.release(), "S1", 5)
    return city


def test_the_board_follows_the_floor_without_a_reload(services: Services, floor: Centre) -> None:
    with serving(services) as address, page() as shown:
        shown.goto(f"{address}/?lang=zh")
        shown.wait_for_function(LIVE)
        assert shown.locator(".card").count() == 0
        made = floor.make(floor.claim())
        shown.wait_for_selector(f"#card-{made.card_serial}")
        ARTEFACTS.mkdir(exist_ok=True)
        shown.screenshot(path=ARTEFACTS / "console-zh.png", full_page=True)


@pytest.mark.slow
def test_a_dead_stream_greys_the_board(services: Services, floor: Centre) -> None:
    with page() as shown:
        with serving(services) as address:
            shown.goto(f"{address}/?lang=en")
            shown.wait_for_function(LIVE)
        shown.wait_for_selector("body.stale")
        assert shown.locator("#link").text_content().startswith("no news since")


@pytest.mark.parametrize(("lang", "width"), [("zh", 1280), ("en", 390)])
def test_nothing_scrolls_sideways(services: Services, floor: Centre, lang: str, width: int) -> None:
    floor.make(floor.claim())
    with serving(services) as address, page(width=width) as shown:
        shown.goto(f"{address}/?lang={lang}")
        shown.wait_for_function(LIVE)
        assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
