"""Tables in, files and papers out: bad rows are refused one by one, the same facts give the same bytes."""

import csv
import io
import itertools
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from core.errors import EvidenceMismatch, NotAllowed, Rejected
from core.events import EventRow
from personalization import (
    batches,
    destruction,
    exports,
    kpi,
    orders,
    paper_intake,
    plastic,
    shift,
    trace,
)
from personalization.documents import code128, papers
from personalization.paper_intake import Folder
from personalization.states import Place
from registry.points.places import by_code
from registry.residence import cards
from registry.residence.domain import State
from registry.residence.tables import ApplicationRow
from registry.roles import Actor, Role
from registry.settlers import clerk_at
from tests.floor_bench import (
    KEEPER,
    OFFICER,
    OTHER_KEEPER,
    START,
    SUPERVISOR,
    Centre,
    copied_centre,
)

CLERK = clerk_at(by_code("001"))
AUDITOR = Actor.of("auditor Shi", Role.AUDITOR)
HOURS = timedelta(hours=1)


@dataclass
class Table:
    """A point's table and its folder of portraits."""

    town: Centre
    folder: Path
    rows: list[dict[str, str]]

    def add(self, number: int, photo: bytes | None = None, **changes: str) -> None:
        settler = self.town.settled[number]
        person = settler.resident
        name = f"{len(self.rows)}.jpg"
        (self.folder / name).write_bytes(person.portrait() if photo is None else photo)
        row = {
            "citizen_id": person.citizen_id, "name": person.name, "sex": str(person.sex),
            "ethnic": str(person.ethnic), "household_address": person.household_address,
            "address_code": settler.home.code, "basis": "EMPLOYMENT", "point": "001",
            "photo": name, "fee_receipt": "R-1", "profile": orders.PROFILE,
        }  # fmt: skip
        self.rows.append({**row, **changes})

    def csv(self) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(paper_intake.REQUIRED))
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue().encode()

    def send(self) -> paper_intake.Imported:
        return paper_intake.take_in(
            self.town.db, self.town.clock, self.csv(), Folder(self.folder), CLERK
        )


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(copied_centre(people=12), tmp_path, [])


def picture(jpeg: bytes, turn: int = 0, exif: int = 1, scale: int = 1) -> bytes:
    """A portrait turned, marked as turned, or made larger."""
    image = Image.open(io.BytesIO(jpeg)).rotate(turn, expand=True)
    image = image.resize((image.width * scale, image.height * scale))
    marks = Image.Exif()
    marks[paper_intake.EXIF_ORIENTATION] = exif
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=95 if scale > 1 else 85, dpi=(350, 350), exif=marks)
    return packed.getvalue()


def gigapixels(jpeg: bytes) -> bytes:
    """A portrait whose frame header says 65,000 by 65,000."""
    at = jpeg.index(b"\xff\xc0") + 5  # marker, length, precision; then height and width
    return jpeg[:at] + (65_000).to_bytes(2, "big") * 2 + jpeg[at + 4 :]


def test_bad_rows_are_refused_with_their_reason_and_the_others_go_on(table: Table) -> None:
    portrait = table.town.settled[3].resident.portrait()
    cid = table.town.settled[1].resident.citizen_id
    wrong = cid[:-1] + ("0" if cid[-1] != "0" else "1")
    table.add(0)
    table.add(1, citizen_id=wrong)
    table.add(2, name="王\U000e0001")
    table.add(3, photo=picture(portrait, turn=90))
    table.add(4, photo=picture(portrait, exif=6))
    table.add(5, photo=picture(portrait, scale=4))
    table.add(0)  # the same person again
    table.add(6, profile="permit-9")
    table.add(7, basis="FRIENDSHIP")
    table.add(8, photo=b"not a picture" * 1000)
    table.add(9, fee_receipt="")
    table.add(10, sex="x")
    table.add(3, photo=gigapixels(portrait))
    table.add(11)
    table.rows[-4]["photo"] = "../secret.jpg"
    done = table.send()
    assert (done.rows, done.accepted, done.repeated) == (14, 2, 0)
    assert {(error.row, error.column, error.code) for error in done.errors} == {
        (3, "citizen_id", "E-CID-CHECK"),
        (4, "name", "A-GLYPH"),
        (5, "photo", "E-PHOTO-DIM"),
        (6, "photo", "W-PHOTO-TURNED"),
        (7, "photo", "E-PHOTO-SIZE"),
        (8, "*", "E-DUP-APP"),
        (9, "profile", "W-PROFILE"),
        (10, "basis", "W-BASIS"),
        (11, "photo", "E-PHOTO-MODE"),
        (12, "photo", "W-PHOTO-FILE"),
        (13, "ethnic", "W-NUMBER"),
        (14, "photo", "E-PHOTO-MODE"),
    }
    assert all(error.message_en and error.message_zh for error in done.errors)
    with table.town.db.read() as tx:
        states = [row.state for row in tx.query(ApplicationRow)]
        assert states == [State.ACCEPTED, State.ACCEPTED]


def test_the_same_table_twice_changes_nothing(table: Table) -> None:
    table.add(0)
    table.add(1)
    assert table.send().accepted == 2
    again = table.send()
    assert (again.accepted, again.repeated, again.errors) == (0, 2, ())


def test_a_table_with_another_header_is_refused_as_a_whole(table: Table) -> None:
    table.add(0)
    with pytest.raises(Rejected, match="E-FILE-HEAD"):
        paper_intake.take_in(
            table.town.db, table.town.clock, table.csv().replace(b"profile", b"colour"),
            Folder(table.folder), CLERK,
        )  # fmt: skip


# -- files out -----------------------------------------------------------------------------------------


def test_work_orders_travel_with_a_manifest(town: Centre) -> None:
    number = town.release()
    with town.db.write() as tx:
        file = exports.work_orders(tx, town.clock, number, OFFICER)
        event = tx.query(EventRow).filter_by(kind="file.exported").one()
        manifest = json.loads(file.splitlines()[-1])["manifest"]
        assert json.loads(event.data)["sha256"] == manifest["sha256"]
        names = [settler.resident.name for settler in town.settled]
        assert not any(name in file.decode() for name in names)
    other = copied_centre(ordered=0)  # the same register, nothing ordered yet
    with other.db.write() as tx:
        for settled in range(3):
            other.approve(tx, settled)
        taken = exports.take_work_orders(tx, other.clock, file, OFFICER)
        assert (taken.created, taken.known, taken.errors) == (3, 0, ())
        assert exports.take_work_orders(tx, other.clock, file, OFFICER).known == 3


def test_one_changed_byte_in_a_file_is_noticed(town: Centre) -> None:
    number = town.release()
    with town.db.write() as tx:
        file = exports.work_orders(tx, town.clock, number, OFFICER)
        with pytest.raises(EvidenceMismatch, match="W-FILE-DIGEST"):
            exports.take_work_orders(
                tx, town.clock, file.replace(b'"attempt":1', b'"attempt":2', 1), OFFICER
            )
        for junk in (b"", b"{}\n{}\n", b"not json\nx\n", file.replace(b"work-orders", b"others")):
            with pytest.raises(Rejected, match="W-FILE"):
                exports.take_work_orders(tx, town.clock, junk, OFFICER)
        with pytest.raises(NotAllowed, match="E-ROLE"):
            exports.take_work_orders(tx, town.clock, file, KEEPER)


def test_an_unknown_application_in_a_file_is_one_bad_line(town: Centre) -> None:
    number = town.release()
    with town.db.write() as tx:
        file = exports.work_orders(tx, town.clock, number, OFFICER)
    empty = copied_centre(ordered=0)
    with empty.db.write() as tx:
        empty.approve(tx, 0)
        taken = exports.take_work_orders(tx, empty.clock, file, OFFICER)
        assert taken.created == 1
        assert [error.code for error in taken.errors] == ["E-APPLICATION", "E-APPLICATION"]


def test_the_personalization_log_is_a_chain(town: Centre) -> None:
    town.issue(town.release(), "S1", 10)
    town.spoil(town.claim())
    made = town.run_all()
    with town.db.write() as tx:
        file = exports.card_log(tx, town.clock, START, START + HOURS, AUDITOR)
        lines = exports.read(file, exports.CARD_LOG)
        assert [line["sequence"] for line in lines] == [1, 2, 3, 4]
        assert lines[0]["result"] == "PR1"
        assert {line["card_serial"] for line in lines[1:]} == {card.card_serial for card in made}
        assert all(line["previous"] == before["hash"] for before, line in itertools.pairwise(lines))
        assert lines[0]["printer_serial"] == "P-S1"


# -- papers --------------------------------------------------------------------------------------------


def test_code_128_has_the_check_character_of_the_standard() -> None:
    assert code128.values("PJJ123C") == [104, 48, 42, 42, 17, 18, 19, 35, 55, 106]
    assert len(set(code128.PATTERNS)) == 107
    assert {sum(map(int, pattern)) for pattern in code128.PATTERNS[:-1]} == {11}
    assert sum(code128.bars("A")) == 11 * 3 + 13
    for bad in ("", "é", "x" * 41):
        with pytest.raises(ValueError):
            code128.bars(bad)


def test_papers_have_the_same_bytes_for_the_same_facts(town: Centre) -> None:
    number = town.release()
    town.issue(number, "S1", 10)
    town.spoil(town.claim())
    town.run_all()
    with town.db.write() as tx:
        (card, *_) = trace.find(tx, number)[::-1]
        destruction.empty_box(tx, town.clock, "box-S1", [card.card], KEEPER, OTHER_KEEPER)
        batches.get(tx, number).state = "CLOSED"
        tx.flush()
        act = destruction.destroy(tx, town.clock, [card.card], "punched", KEEPER, OTHER_KEEPER)
        report = shift.report(tx, START - HOURS, START + HOURS)
        handed = next(one for one in trace.find(tx, number) if one.place == "EJECTED")
        assert handed.card_serial is not None
        with pytest.raises(Rejected, match="W-STATE"):
            papers.hand_over_receipt(tx, handed.card_serial, CLERK.name, False)
        plastic.by_serial(tx, handed.card_serial).place = Place.HANDED_OVER
        cards.by_serial(tx, handed.card_serial).issued_at = START
        made = {
            "receipt": lambda copy: papers.hand_over_receipt(
                tx, handed.card_serial, CLERK.name, True, copy
            ),
            "traveller": lambda copy: papers.traveller(tx, number, copy),
            "act": lambda copy: papers.destruction_act(tx, act, copy),
            "shift": lambda copy: papers.shift_report(report, copy),
            "box": lambda copy: papers.box_label("box-S1", "S1", "2007-06-18", ("1", "2"), copy),
        }
        for name, paper in made.items():
            first = paper(1)
            assert first.startswith(b"%PDF"), name
            assert paper(1) == first, name
            assert paper(2) != first, name


# -- figures -------------------------------------------------------------------------------------------


def test_the_figures_count_what_happened(town: Centre) -> None:
    town.issue(town.release(), "S1", 10)
    town.spoil(town.claim())
    town.run_all()
    with town.db.write() as tx:
        found = kpi.figures(tx, START, START + HOURS)
        assert (found.good, found.spoiled, found.yield_percent) == (3, 1, 75.0)
        assert found.spoil_by_code == {"PR1": 1}
        assert found.good_by_ribbon == {"R-1": 3}
        (station,) = found.stations
        assert (station.good, station.spoiled, station.cycle_median) == (3, 1, 38.0)
        assert station.per_scheduled_hour == pytest.approx(3)
        assert found.order_days_median is None
        assert kpi.figures(tx, START + HOURS, START + 2 * HOURS).yield_percent is None


def test_a_trace_tells_the_story_in_both_languages(town: Centre) -> None:
    town.issue(town.release(), "S1", 10)
    claim = town.claim()
    town.spoil(claim)
    card = town.make(town.claim())
    with town.db.read() as tx:
        found = trace.find(tx, claim.acc_no)
        assert [one.place for one in found] == ["EJECTED", "IN_REJECT"]
        assert trace.find(tx, f"R1{card.card_serial}") == found[:1]
        told, moments = trace.story(tx, card.chip_serial.lower())
        assert told == found[0]
        assert any("made at station S1" in moment.en for moment in moments)
        assert any("制成" in moment.zh for moment in moments)
        assert not any(
            settler.resident.name in moment.zh for settler in town.settled for moment in moments
        )
    assert SUPERVISOR.name
