"""T02 of residence.md 19: an employer's file with bad rows."""

from registry.employment import accounts, batches
from registry.employment.tables import EmploymentRow
from registry.exchange.tables import MessageRow
from registry.roles import Actor, Role
from tests.registry_bench import CLERK, City, city

OPERATOR = Actor.of("operator Fu", Role.EMPLOYER_OP)
HEAD = "name,id_no,sex,start_date,contract_kind,workplace_code27,remark"


def line(made: City, number: int, **changes: str) -> str:
    person = made.people[number]
    values = {
        "name": person.name, "id_no": person.citizen_id, "sex": str(person.sex),
        "start_date": "2007-05-07", "contract_kind": "FIXED", "workplace_code27": "", "remark": "",
    }  # fmt: skip
    return ",".join((values | changes).values())


def table(*lines: str) -> bytes:
    return "\n".join((HEAD, *lines)).encode()


def test_t02_a_batch_of_300_with_7_bad_rows() -> None:
    made = city(count=300)
    people = made.people
    good = people[0].citizen_id
    wrong_check = good[:17] + ("0" if good[17] != "0" else "1")
    wrong_day = good[:10] + "0230" + good[14:]
    bad = {
        10: ({"id_no": wrong_check}, "E-CID-CHECK", "id_no"),
        20: ({"id_no": wrong_day}, "E-CID-DATE", "id_no"),
        30: ({"start_date": "soon"}, "E-DATE", "start_date"),
        40: ({"start_date": "2007-09-01"}, "E-DATE-FUTURE", "start_date"),
        50: ({"sex": "男" if people[50].sex == 2 else "女"}, "E-CID-SEX", "id_no"),
        60: ({"name": ""}, "E-NAME", "name"),
        70: ({"workplace_code27": "440308003001010000100201075"}, "E-AC-CHECK", "workplace_code27"),
    }
    lines = [line(made, number, **bad.get(number, ({},))[0]) for number in range(300)]
    with made.db.write() as tx:
        accounts.admit_operator(tx, made.employers[0], OPERATOR, CLERK)
        answer = batches.import_hires(tx, made.clock, made.employers[0], table(*lines), OPERATOR)
        assert (answer.rows, answer.accepted, answer.repeated) == (300, 293, 0)
        told = [(error.row, error.code, error.column) for error in answer.errors]
        assert told == [
            (number + 2, code, column) for number, (_, code, column) in sorted(bad.items())
        ]
        assert all(error.message_zh and error.message_en for error in answer.errors)
        before = tx.query(MessageRow).count()
        again = batches.import_hires(tx, made.clock, made.employers[0], table(*lines), OPERATOR)
        assert (again.accepted, again.repeated, len(again.errors)) == (0, 293, 7)
        assert tx.query(MessageRow).count() == before
        assert tx.query(EmploymentRow).count() == 293
