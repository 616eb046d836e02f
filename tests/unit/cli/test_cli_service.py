"""``citycard service``: a service comes to life at the prompt, item by item; the default answer is no."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import service
from cli.output import EXIT_NO
from core.errors import CityError, Rejected
from registry.services.gate import COUNTED, Item
from runtime.services import build
from runtime.settings import Settings

OFFICE, OWNER = "He:pilot_office", "Lai:service_owner"
OFFICES = (("pilot office", OFFICE), ("Public library", OWNER))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    build(Settings(data=tmp_path)).close()
    return tmp_path


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(service.app, [*words, "--data", str(data)])


def answer(data: Path, *words: str) -> dict[str, object]:
    done = run(data, *words, "--json")
    if isinstance(done.exception, CityError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_six_areas_are_listed_and_none_runs_by_itself(data: Path) -> None:
    rows = answer(data, "list")["services"]
    assert {row["area"] for row in rows} == {
        "labour", "rental", "education", "medical", "family_planning", "public",
    }  # fmt: skip
    assert {row["state"] for row in rows} == {"-"}
    assert all("OWNER" in row["open"] for row in rows)


def test_a_service_goes_live_only_item_by_item_and_by_two_organisations(data: Path) -> None:
    assert answer(data, "propose", "library", "--as", OWNER)["state"] == "PROPOSED"
    answer(data, "advance", "library", "--to", "review", "--as", OFFICE)
    with pytest.raises(Rejected, match="E-IMMATURE"):
        answer(data, "advance", "library", "--to", "sandbox", "--as", OFFICE)
    for item in set(Item) - COUNTED:
        answer(
            data,
            "close",
            "library",
            "--item",
            item,
            "--evidence",
            "minutes of 8 June",
            "--as",
            OFFICE,
        )
    with pytest.raises(Rejected, match="E-SIGNATURES"):
        answer(data, "advance", "library", "--to", "sandbox", "--as", OFFICE)
    for step in ("sandbox", "limited", "live"):
        for organisation, who in OFFICES:
            answer(data, "sign", "library", "--to", step, "--for", organisation, "--as", who)
        answer(
            data,
            "advance",
            "library",
            "--to",
            step,
            "--at",
            "440308003",
            "--as",
            OFFICE,
            "--id",
            step,
        )
    (row,) = [one for one in answer(data, "list")["services"] if one["service"] == "library"]
    assert (row["state"], row["open"]) == ("LIVE", "none")
    again = answer(data, "advance", "library", "--to", "live", "--at", "440308003", "--as", OFFICE,
                   "--id", "live")  # fmt: skip
    assert again["state"] == "LIVE"  # the same id once more: the same answer, no second step
    assert run(data, "faults").exit_code == 0


def test_a_wrong_word_is_a_usage_error_and_an_unknown_service_is_not_found(data: Path) -> None:
    assert run(data, "advance", "library", "--to", "heaven", "--as", OFFICE).exit_code == 2
    assert (
        run(data, "close", "library", "--item", "LUCK", "--evidence", "x", "--as", OFFICE).exit_code
        == 2
    )
    with pytest.raises(CityError, match="E-SERVICE"):
        answer(data, "propose", "casino", "--as", OWNER)
    assert EXIT_NO == 1
