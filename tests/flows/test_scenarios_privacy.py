"""T25: after the main job nothing that is written, printed or logged holds a person's number, name or telephone."""

import json
import logging
import re
from pathlib import Path

import pytest
from sqlalchemy import select

from core import events
from core.db import Database
from registry import synthetic
from registry.residence.tables import PersonRow
from runtime.demo.city import Options
from runtime.demo.run import run_demo

TEXTS = {".json", ".jsonl", ".log", ".md", ".txt", ".csv", ".html"}
BINARY = {".db", ".db-wal"}
PEOPLE = 3


def of_a_person(text: str, people: list[tuple[str, str, str]]) -> list[str]:
    """Which kinds of personal data of these people a text holds; a name counts when it stands alone."""
    return [
        kind
        for citizen_id, name, phone in people
        for kind, found in (
            ("number", citizen_id in text),
            ("telephone", bool(phone) and phone in text),
            ("name", re.search(f"(?<!\\w){re.escape(name)}(?!\\w)", text) is not None),
        )
        if found
    ]


def test_the_scan_itself_notices() -> None:
    people = [("994300198502130012", "张伟", "10012345678")]
    assert of_a_person("id 994300198502130012", people) == ["number"]
    assert of_a_person('{"holder": "张伟", "tel": "10012345678"}', people) == ["telephone", "name"]
    assert of_a_person("994300********0012 张*", people) == []


@pytest.mark.slow
def test_t25_log_scan_for_personal_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    report = run_demo(Options(tmp_path / "run", cards=PEOPLE, reader="direct"))
    out = Path(report["out"])
    (path,) = out.glob("*.db")
    people = [
        (one.citizen_id, one.name, one.phone)
        for one in synthetic.residents(PEOPLE + 1, report["seed"])
    ]
    db = Database(f"sqlite:///{path}")
    seq, texts = 0, {"log": caplog.text, "printed": "".join(capfd.readouterr())}
    with db.read() as tx:
        assert len(tx.scalars(select(PersonRow)).all()) == len(people)
        while page := events.after(tx, seq):
            for one in page:
                data = json.dumps(dict(one.data), ensure_ascii=False)
                texts[f"event {one.seq}"] = f"{one.subject} {one.actor} {data} {one.sentence()}"
            seq = page[-1].seq
    db.close()
    files = [one for one in out.rglob("*") if one.is_file() and one.suffix in TEXTS]
    texts |= {str(one.relative_to(out)): one.read_text("utf-8") for one in files}
    texts |= {
        str(one.relative_to(out)): one.read_bytes().decode("utf-8", "replace")
        for one in out.rglob("*")
        if one.suffix in BINARY
    }
    assert len(files) >= 1
    assert len(texts) > 50
    found = {where: kinds for where, text in texts.items() if (kinds := of_a_person(text, people))}
    assert found == {}
