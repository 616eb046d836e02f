"""The web shell over a small city: pages in both languages, problem documents, events, pictures."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from runtime.services import Services, build
from runtime.settings import Settings
from tests.floor_bench import Centre, centre

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    made = build(Settings(data=tmp_path))
    yield made
    made.close()


@pytest.fixture
def floor(services: Services) -> Centre:
    """One card made and one blank spoiled."""
    city = centre(services.db, people=2)
    city.order(0)
    city.attach("S1")
    batch = city.release()
    city.issue(batch, "S1", 5)
    city.spoil(city.claim())
    city.make(city.claim())
    return city


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(create_app(services)) as made:
        yield made


def test_the_page_speaks_both_languages(client: TestClient, floor: Centre) -> None:
    english, chinese = client.get("/?lang=en").text, client.get("/?lang=zh").text
    assert '<html lang="en">' in english
    assert '<html lang="zh-CN">' in chinese
    assert "opening = good + spoiled + remaining" in english
    assert "期初 = 合格 + 废卡 + 结存" in chinese


def test_the_board_shows_the_stock_equation_as_it_is(client: TestClient, floor: Centre) -> None:
    stock = client.get("/api/board").json()["proofs"][0]
    lines = {line["name"]: line["value"] for line in stock["lines"]}
    assert lines["spoiled"] == "1"
    assert lines["good"] == "1"
    assert lines["difference"] == "0"
    assert stock["mark"] == "good"


def test_an_empty_installation_has_a_page_too(client: TestClient) -> None:
    assert "No card has been made yet." in client.get("/?lang=en").text


def test_events_are_read_by_position(client: TestClient, floor: Centre) -> None:
    first = client.get("/api/events", params={"limit": 3}).json()
    rest = client.get(
        "/api/events", params={"after": first[-1]["seq"], "kind": "card.bound"}
    ).json()
    assert [event["seq"] for event in first] == [1, 2, 3]
    assert {event["kind"] for event in rest} == {"card.bound"}
    assert rest[0]["sentence"]


def test_errors_are_problem_documents_in_the_callers_language(client: TestClient) -> None:
    answer = client.get("/api/cards/07001000000102", headers={"Accept-Language": "zh-CN"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "E-CARD"
    assert any("一" <= char <= "鿿" for char in answer.json()["title"])
    assert client.get("/api/cards/abc").status_code == 422
    assert client.get("/api/summary").json()["code"] == "RUN-NOT-ENDED"


def test_a_picture_is_found_by_the_card_serial_only(
    client: TestClient, floor: Centre, services: Services, tmp_path: Path
) -> None:
    serial = client.get("/api/board").json()["cards"][0]["card_serial"]
    chip = client.get(f"/api/cards/{serial}").json()["chip_serial"]
    assert client.get(f"/api/cards/{serial}/front.png").json()["code"] == "CARD-NO-PICTURE"
    folder = tmp_path / "pictures" / chip
    folder.mkdir(parents=True)
    (folder / "front.png").write_bytes(PNG)
    assert client.get(f"/api/cards/{serial}/front.png").content == PNG
    assert client.get(f"/api/cards/{serial}/..%2fcity.png").status_code in (404, 422)


def test_health_says_whether_the_database_answers(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_every_route_is_documented(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/api/board", "/api/events", "/api/cards/{card_serial}", "/api/summary"} <= set(paths)
    routes = [route for path in paths.values() for route in path.values()]
    assert all(route.get("description") for route in routes)
    writes = [route for path in paths.values() for verb, route in path.items() if verb != "get"]
    named = [{one["name"] for one in route["parameters"]} for route in writes]
    assert all("Idempotency-Key" in names for names in named)
    assert all(route["security"] and "409" in route["responses"] for route in writes)
