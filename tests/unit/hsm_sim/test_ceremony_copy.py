"""A second copy of the log on another disk (R-41): it follows, and a broken one is an alarm and not a stop."""

import shutil

import pytest

from core.errors import Rejected
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.desk import keep_copy
from tests.ceremony_bench import City


def copied(city, folder):
    return (folder / "hsm-01.city.example.log.jsonl").read_bytes()


def alarms(city):
    return [event["body"]["what"] for event in city.hsm.log.events("limit")]


def test_every_line_goes_to_the_copy_from_the_next_start_on(tmp_path):
    city, folder = City(tmp_path / "hsm"), tmp_path / "usb"
    folder.mkdir()
    keep_copy(city.home, folder)
    city.restart()
    city.hold_all()
    city.hsm.close()
    assert copied(city, folder) == (city.home / "log.jsonl").read_bytes()


def test_a_broken_copy_is_an_alarm_and_not_a_stop(tmp_path):
    city, folder = City(tmp_path / "hsm"), tmp_path / "usb"
    keep_copy(city.home, folder)
    city.restart()
    assert alarms(city) == ["copy of the log"]
    city.hold_all()
    folder.mkdir()
    city.restart()
    assert copied(city, folder) == (city.home / "log.jsonl").read_bytes()
    shutil.rmtree(folder)
    city.hsm.log.append("config", {"sha256": "0" * 64})
    city.hsm.log.append("config", {"sha256": "1" * 64})
    assert len(alarms(city)) == 2
    trust = city.export(tmp_path / "bundle")
    city.hsm.close()
    assert verifier.verify(tmp_path / "bundle", trust).findings == []


def test_a_copy_that_tells_another_story_stays_as_it_is(tmp_path):
    city, folder = City(tmp_path / "hsm"), tmp_path / "usb"
    folder.mkdir()
    (folder / "hsm-01.city.example.log.jsonl").write_bytes(b"another story\n")
    keep_copy(city.home, folder)
    city.restart()
    assert alarms(city) == ["copy of the log"]
    assert copied(city, folder) == b"another story\n"
    city.hsm.log.close()
    for text in (b"{}", b"x", b'{"folder":1}'):
        (city.home / "copy.json").write_bytes(text)
        with pytest.raises(Rejected, match="LOG-COPY"):
            city.restart()
