"""Employers: accounts, files with bad rows, drafts, lateness, inspections, feeds (residence.md 8)."""

import io
from datetime import date, timedelta

import pytest
from openpyxl import Workbook

from core.errors import NotAllowed, NotFound, Rejected
from registry.employment import accounts, batches, feeds, inspections, lateness
from registry.employment import service as employment
from registry.employment.tables import EmploymentRow
from registry.exchange.tables import MessageRow
from registry.imports import MAX_ROWS
from registry.roles import Actor, Role
from tests.registry_bench import CLERK, City, city

OPERATOR = Actor.of("operator Fu", Role.EMPLOYER_OP)
STRANGER = Actor.of("operator Gu", Role.EMPLOYER_OP)
INSPECTOR = Actor.of("inspector Hu", Role.LABOUR_INSPECTOR)
HEAD = "name,id_no,sex,start_date,contract_kind,workplace_code27,remark"
APRIL = date(2007, 4, 2)


def town() -> City:
    made = city(count=12)
    with made.db.write() as tx:
        accounts.admit_operator(tx, made.employers[0], OPERATOR, CLERK)
    return made


def line(made: City, number: int, start: str = "2007-05-07", **changes: str) -> str:
    person = made.people[number]
    values = {
        "name": person.name, "id_no": person.citizen_id, "sex": str(person.sex),
        "start_date": start, "contract_kind": "FIXED", "workplace_code27": "", "remark": "",
    }  # fmt: skip
    return ",".join((values | changes).values())


def table(*lines: str) -> bytes:
    return "\n".join((HEAD, *lines)).encode()


def messages(tx) -> int:
    return tx.query(MessageRow).count()


def test_all_or_nothing_takes_nothing() -> None:
    made = town()
    data = table(line(made, 0), line(made, 1, start_date="x"))
    with pytest.raises(Rejected, match="E-BATCH"), made.db.write() as tx:
        batches.import_hires(tx, made.clock, made.employers[0], data, OPERATOR, True)
    with made.db.read() as tx:
        assert tx.query(EmploymentRow).count() == 0


def test_an_xlsx_file_with_real_dates_and_numbers() -> None:
    made = town()
    book = Workbook()
    sheet = book.active
    sheet.append(HEAD.split(","))
    for number in range(3):
        person = made.people[number]
        sheet.append(
            [person.name, person.citizen_id, person.sex, date(2007, 5, 7), "FIXED", "", ""]
        )
    sheet.append([])
    packed = io.BytesIO()
    book.save(packed)
    with made.db.write() as tx:
        answer = batches.import_hires(
            tx, made.clock, made.employers[0], packed.getvalue(), OPERATOR
        )
        assert (answer.rows, answer.accepted, answer.errors) == (3, 3, ())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "E-FILE"),
        (b"\xff\xfe\x00", "E-FILE"),
        (b"PK\x03\x04 not a zip", "E-FILE"),
        (b"name,id_no\n", "E-FILE-HEAD"),
        ((HEAD + ",religion\n").encode(), "E-FILE-HEAD"),
        (b"x" * (5 * 1024 * 1024 + 1), "E-FILE-SIZE"),
        (table(*["a,b,,2007-05-07,,,"] * (MAX_ROWS + 1)), "E-FILE-SIZE"),
    ],
)
def test_a_file_that_is_no_table_is_refused_as_a_whole(data: bytes, code: str) -> None:
    made = town()
    with made.db.write() as tx, pytest.raises(Rejected) as refusal:
        batches.import_hires(tx, made.clock, made.employers[0], data, OPERATOR)
    assert refusal.value.code == code


def test_leavers_by_file_and_twice() -> None:
    made = town()
    data = f"id_no,end_date,end_reason\n{made.people[0].citizen_id},2007年5月7日,2\n".encode()
    unknown = f"id_no,end_date,end_reason\n{made.people[5].citizen_id},2007-05-07,02\n".encode()
    with made.db.write() as tx:
        hire(made, tx, 0)
        first = batches.import_leavers(tx, made.clock, made.employers[0], data, OPERATOR)
        assert (first.accepted, first.errors) == (1, ())
        row = tx.query(EmploymentRow).one()
        assert (row.end, row.end_reason) == (date(2007, 5, 7), "02")
        again = batches.import_leavers(tx, made.clock, made.employers[0], data, OPERATOR)
        assert (again.accepted, again.repeated) == (0, 1)
        other = batches.import_leavers(tx, made.clock, made.employers[0], unknown, OPERATOR)
        assert [error.code for error in other.errors] == ["E-RECORD"]


def hire(made: City, tx, number: int, start: date = APRIL, employer: int = 0) -> str:
    person = made.people[number]
    return employment.hire(
        tx, made.clock, made.employers[employer], person.citizen_id, person.name, start
    )


def test_operators_see_their_own_employer_only_and_no_full_numbers() -> None:
    made = town()
    with made.db.write() as tx:
        record = hire(made, tx, 0)
        (listed,) = accounts.worker_list(tx, made.clock, made.employers[0], OPERATOR)
        assert (
            listed.citizen_id
            == made.people[0].citizen_id[:6] + "********" + (made.people[0].citizen_id[-4:])
        )
        for act in (
            lambda: accounts.worker_list(tx, made.clock, made.employers[0], STRANGER),
            lambda: accounts.own_record(tx, record, STRANGER),
            lambda: accounts.confirm_list(tx, made.clock, made.employers[1], OPERATOR),
            lambda: batches.import_hires(tx, made.clock, made.employers[1], table(), OPERATOR),
        ):
            with pytest.raises(NotAllowed, match="E-ROLE"):
                act()
        employment.end(tx, made.clock, record, date(2007, 5, 7), "01")
        assert accounts.worker_list(tx, made.clock, made.employers[0], OPERATOR) == []
        (own,) = accounts.records_of(tx, made.people[0].citizen_id)
        assert own.end == date(2007, 5, 7)


def test_zero_is_declared_only_by_an_empty_list() -> None:
    made = town()
    with made.db.write() as tx:
        accounts.declare_zero(tx, made.clock, made.employers[0], OPERATOR)
        hire(made, tx, 0)
        with pytest.raises(Rejected, match="E-NOT-ZERO"):
            accounts.declare_zero(tx, made.clock, made.employers[0], OPERATOR)
        assert lateness.missing_employers(tx, made.today) == sorted(made.employers[1:])


def test_a_draft_is_no_report_and_a_refused_submission_stops_no_clock() -> None:
    made = town()
    person = made.people[0]
    values = {"name": person.name, "id_no": person.citizen_id, "start_date": "2007-05-08"}
    with made.db.write() as tx:
        draft = batches.save_draft(tx, made.clock, made.employers[0], values, OPERATOR)
        bad = batches.save_draft(
            tx, made.clock, made.employers[0], values | {"id_no": "1"}, OPERATOR
        )
        assert batches.reminders(tx, made.clock) == []
        typed_on = values | {"occupation": "welder"}
        for _ in range(2):  # saved again: still the one draft, with what stands in it now
            assert (
                batches.save_draft(tx, made.clock, made.employers[0], typed_on, OPERATOR) == draft
            )
        made.go_to(date(2007, 5, 9))
        assert [left for _, _, left in batches.reminders(tx, made.clock)] == [2, 2]
        made.go_to(date(2007, 5, 12))
        with pytest.raises(Rejected, match="E-CID-LEN"):
            batches.submit_draft(tx, made.clock, bad, OPERATOR)
        record = batches.submit_draft(tx, made.clock, draft, OPERATOR)
        assert batches.submit_draft(tx, made.clock, draft, OPERATOR) == record
        assert tx.get_one(EmploymentRow, record).occupation == "welder"
        assert batches.save_draft(tx, made.clock, made.employers[0], typed_on, OPERATOR) == draft
        (late,) = lateness.late_list(tx, date(2007, 5, 1), date(2007, 5, 31))
        assert (late.what, late.late) == ("HIRED", 1)  # deadline 11 May
        assert [day for day, _, _ in batches.reminders(tx, made.clock)] == [bad]


def test_corrections_replace_and_repeat_without_effect() -> None:
    made = town()
    with made.db.write() as tx:
        record = hire(made, tx, 0)
        employment.correct(tx, made.clock, record, date(2007, 4, 9))
        sent = messages(tx)
        employment.correct(tx, made.clock, record, date(2007, 4, 9))
        employment.end(tx, made.clock, record, date(2007, 5, 7), "03")
        employment.end(tx, made.clock, record, date(2007, 5, 7), "03")
        assert messages(tx) == sent + 1
        with pytest.raises(Rejected, match="E-ENDED"):
            employment.end(tx, made.clock, record, date(2007, 5, 6), "03")
        with pytest.raises(Rejected, match="E-DATE-ORDER"):
            employment.correct(tx, made.clock, record, date(2007, 5, 7), date(2007, 5, 6), "01")


def test_a_swapped_person_is_noticed() -> None:
    made = town()
    with made.db.write() as tx:
        hire(made, tx, 0)
        first, second = made.people[:2]
        with pytest.raises(Rejected, match="E-NAME-OTHER"):
            employment.hire(tx, made.clock, made.employers[1], first.citizen_id, second.name, APRIL)


def test_the_late_list_and_the_league_of_streets() -> None:
    made = town()
    with made.db.write() as tx:
        hire(made, tx, 0, date(2007, 5, 7))
        hire(made, tx, 1, date(2007, 5, 1))  # deadline 4 May, told on the 8th
        hire(made, tx, 2, date(2007, 5, 7), employer=1)
        late = lateness.late_list(tx, date(2007, 5, 1), date(2007, 5, 8))
        assert [(report.employer, report.late) for report in late] == [(made.employers[0], 4)]
        assert lateness.late_list(tx, APRIL, made.today, made.employers[1]) == []
        table = dict(lateness.league_table(tx, date(2007, 5, 1), date(2007, 5, 8)))
        assert sum(line.events for line in table.values()) == 3
        assert sum(line.on_time for line in table.values()) == 2


def test_an_inspection_finds_orders_and_escalates() -> None:
    made = town()
    with made.db.write() as tx:
        hire(made, tx, 0, date(2007, 5, 7))
        case = inspections.open_case(tx, made.clock, made.employers[0], INSPECTOR)
        due = inspections.count_heads(tx, made.clock, case, 3, INSPECTOR)
        assert due == made.today + timedelta(days=15)
        person = made.people[1]
        inspections.find_worker(
            tx, made.clock, case, person.citizen_id, person.name, date(2007, 5, 7), INSPECTOR
        )
        (late,) = lateness.late_list(tx, date(2007, 5, 1), made.today)
        assert late.by_inspection  # typed within three days, and late all the same
        assert inspections.close_case(tx, made.clock, case, 3, INSPECTOR) == "ESCALATED"
        with pytest.raises(Rejected, match="E-CLOSED"):
            inspections.close_case(tx, made.clock, case, 2, INSPECTOR)
        with pytest.raises(NotFound, match="E-CASE"):
            inspections.count_heads(tx, made.clock, "none", 1, INSPECTOR)


def test_the_riskiest_employer_comes_first() -> None:
    made = town()
    with made.db.write() as tx:
        hire(made, tx, 0, date(2007, 5, 7), employer=0)
        hire(made, tx, 1, date(2007, 4, 1), employer=1)
        ranked = inspections.ranking(tx, made.today)
        assert ranked[0].employer == made.employers[1]
        assert ranked[0].points > ranked[-1].points
        account = employment.open_account(tx, made.employers[0])
        assert inspections.risk(tx, account, made.today, 10_000).crowd == inspections.W_CROWD


def test_never_worked_here() -> None:
    made = town()
    with made.db.write() as tx:
        record = hire(made, tx, 0)
        case = inspections.dispute(tx, made.clock, record, "never heard of them")
        assert inspections.dispute(tx, made.clock, record, "again") == case
        inspections.decide_dispute(tx, made.clock, case, True, INSPECTOR)
        assert accounts.records_of(tx, made.people[0].citizen_id) == []
        with pytest.raises(Rejected, match="E-DECIDED"):
            inspections.decide_dispute(tx, made.clock, case, False, INSPECTOR)


# -- feeds (SD-13) -------------------------------------------------------------------------------------

FEED_HEAD = "line,code,reg_no,name,kind,address_code27,active\n"


def test_two_offices_and_one_list_of_employers() -> None:
    made = town()
    home = made.homes[0]
    gsj = FEED_HEAD + (
        f"1,PDY00001X,990308000042171,深圳海晖物流有限公司,ENTERPRISE,{home},Y\n"
        f"2,,990308000042172,东港珠宝有限公司,ENTERPRISE,{home},Y\n"
        f"3,,,盐海电子公司,ENTERPRISE,{home},Y\n"
        "4,,990308000042174,明星酒店,INDIVIDUAL,,N\n"
    )
    zjj = FEED_HEAD + (
        f"a,PDY00001-X,,海晖物流公司,ENTERPRISE,,Y\n"
        f"b,PDY000028,990308000042172,东港珠宝,ENTERPRISE,,Y\n"
        f"c,PDY042172,,深圳市盐海电子有限公司,ENTERPRISE,{home},Y\n"
        f"d,PDY000029,,永泰商贸,ENTERPRISE,,Y\n"
    )
    with made.db.write() as tx:
        first = feeds.load_feed(tx, feeds.GSJ, gsj.encode(), made.today)
        assert (first.accepted, first.errors) == (4, ())
        second = feeds.load_feed(tx, feeds.ZJJ, zjj.encode(), made.today)
        assert [(error.row, error.code) for error in second.errors] == [(5, "E-OC-CHECK")]
        feeds.load_feed(tx, feeds.GSJ, gsj.encode(), made.today)
        union = feeds.union(tx)
        assert (len(union.employers), union.by_code, union.by_reg_no, union.by_name) == (3, 1, 1, 1)
        assert {len(employer.sources) for employer in union.employers} == {2}
