"""Applications over HTTP: from the draft to the permit, sent twice, by the wrong person, with the wrong form."""

import base64
from datetime import timedelta

import pytest

from core import events
from core.errors import NotAllowed, Rejected
from registry.points import sign_in, training
from registry.residence.tables import ApplicationRow, PersonRow
from registry.roles import Role
from tests.unit.api.conftest import ADMIN, OFFICE, Door


def decide(door: Door, application: dict, **body: object):
    path = f"/applications/{application['acc_no']}/decision"
    return door.send("reviewer", "POST", path, {"row_version": application["row_version"], **body})


def test_from_an_employers_draft_to_a_permit(door: Door) -> None:
    draft = door.send("operator", "POST", "/applications", door.walk_in(0, point="001"))
    assert draft.status_code == 201
    saved = draft.json()
    assert (saved["state"], saved["acc_no"], saved["row_version"]) == ("DRAFT", None, 1)
    sent_in = door.send("operator", "POST", f"/applications/{saved['tracking']}/submit").json()
    assert (sent_in["state"], sent_in["row_version"]) == ("SUBMITTED", 2)
    waiting = door.send("clerk", "GET", "/applications?state=SUBMITTED").json()
    assert [one["tracking"] for one in waiting["applications"]] == [saved["tracking"]]
    body = {"tracking": saved["tracking"], "fee_receipt": "R-1"}
    accepted = door.send("clerk", "POST", "/points/001/accept", body).json()
    assert (accepted["state"], accepted["fee_fen"]) == ("ACCEPTED", 2_000)
    assert accepted["due_on"] == "2007-05-29"
    number = accepted["acc_no"]
    checked = door.send("clerk", "POST", f"/applications/{number}/check").json()
    assert checked["state"] == "IN_REVIEW"
    seen = door.send("reviewer", "GET", f"/applications/{number}/applicant?purpose=REVIEW").json()
    assert seen["citizen_id"][6:14] == "*" * 8
    approved = decide(door, checked, verdict="APPROVE").json()
    assert (approved["state"], len(approved["permit_no"])) == ("APPROVED", 18)
    with door.town.db.read() as tx:
        (order,) = events.after(tx, 0, kinds_wanted=["production.ordered"])
    assert order.subject == number


def test_sent_twice_is_one_application_and_one_answer(door: Door) -> None:
    body = {"walk_in": door.walk_in(0), "fee_receipt": "R-1"}
    first = door.send("clerk", "POST", "/points/001/accept", body, key="the-same-key")
    with door.town.db.read() as tx:
        log = events.last_seq(tx)
    again = door.send("clerk", "POST", "/points/001/accept", body, key="the-same-key")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    with door.town.db.read() as tx:
        assert events.last_seq(tx) == log
        assert tx.query(ApplicationRow).count() == 1
    body["fee_receipt"] = "R-2"
    other = door.send("clerk", "POST", "/points/001/accept", body, key="the-same-key")
    assert (other.status_code, other.json()["code"]) == (409, "E-KEY-REUSED")
    under_a_new_key = door.send("clerk", "POST", "/points/001/accept", body).json()
    assert under_a_new_key["code"] == "E-DUP-APP"
    assert under_a_new_key["facts"]["other"] == first.json()["acc_no"]


def test_a_refused_write_leaves_nothing_and_may_come_again_under_its_key(door: Door) -> None:
    body = {
        "walk_in": door.walk_in(0, address_code="4403080030010100001002999"),
        "fee_receipt": "R",
    }
    path = "/points/001/accept"
    assert (
        door.send("clerk", "POST", path, body, key="try-again-1").json()["code"] == "E-AC-UNKNOWN"
    )
    with door.town.db.read() as tx:
        assert tx.query(PersonRow).count() == tx.query(ApplicationRow).count() == 0
    body["walk_in"]["address_code"] = door.town.homes[0]
    assert door.send("clerk", "POST", path, body, key="try-again-1").status_code == 201


def test_a_decision_rests_on_what_was_read(door: Door) -> None:
    application = door.accepted(0)
    number = application["acc_no"]
    checked = door.send("clerk", "POST", f"/applications/{number}/check").json()
    returned = decide(door, checked, verdict="RETURN", reason="the portrait is old")
    assert returned.json()["state"] == "RETURNED", returned.text
    door.send("clerk", "POST", f"/applications/{number}/resubmit")
    stale = decide(door, checked, verdict="REFUSE", reason="too late")
    assert (stale.status_code, stale.json()["code"]) == (409, "E-VERSION")
    now = door.send("reviewer", "GET", f"/applications/{number}").json()
    assert decide(door, now, verdict="REFUSE", reason="no ground").json()["state"] == "REJECTED"


def test_nobody_comes_in_without_a_grant_in_force(door: Door) -> None:
    answer = door.send("", "GET", "/applications?state=DRAFT")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["code"] == "E-SIGN-IN"
    door.tokens["nobody"] = "guessed"
    assert door.send("nobody", "GET", "/applications?state=DRAFT").status_code == 401
    with door.town.db.write() as tx:
        assert sign_in.revoke(tx, door.town.clock, "reviewer Lin", ADMIN) == 1
    assert door.send("reviewer", "GET", "/applications?state=DRAFT").status_code == 401
    door.town.clock.advance(timedelta(days=301))
    assert door.send("auditor", "GET", "/me/access-log").json()["code"] == "E-SIGN-IN"


def test_a_clerk_comes_in_trained_and_while_lent_only(door: Door) -> None:
    town = door.town
    door.grant("new", "clerk Xu", Role.STATION_CLERK, "011")
    refused = door.send("new", "GET", "/applications?state=DRAFT")
    assert (refused.status_code, refused.json()["code"]) == (403, "E-UNTRAINED")
    with town.db.write() as tx:
        last = town.today + timedelta(days=5)
        training.lend(tx, town.clock, "clerk Xu", "city", "011", town.today, last, OFFICE)
        for module in training.Module:
            training.examine(tx, town.clock, "clerk Xu", module, 80, OFFICE)
    assert door.send("new", "GET", "/applications?state=DRAFT").status_code == 200
    town.clock.advance(timedelta(days=6))
    over = door.send("new", "GET", "/applications?state=DRAFT").json()
    assert (over["code"], over["category"]) == ("E-SECONDMENT-OVER", "not_authorised")


def test_a_grant_names_a_person_a_role_and_a_clerks_point(door: Door) -> None:
    town = door.town
    with town.db.write() as tx:
        for person, roles, point in (
            ("", [Role.REVIEWER], ""), ("x", [], ""), ("x", [Role.SYSTEM], ""),
            ("x", [Role.POLICE_CLERK], ""), ("x", [Role.REVIEWER], "001"),
        ):  # fmt: skip
            with pytest.raises(Rejected, match="E-GRANT"):
                sign_in.grant(tx, town.clock, person, roles, town.today, ADMIN, point)
        for days in (-1, 400):
            with pytest.raises(Rejected, match="E-DATE"):
                day = town.today + timedelta(days=days)
                sign_in.grant(tx, town.clock, "x", [Role.REVIEWER], day, ADMIN)
        with pytest.raises(NotAllowed, match="E-SOD"):
            sign_in.grant(tx, town.clock, ADMIN.name, [Role.REVIEWER], town.today, ADMIN)
        with pytest.raises(NotAllowed, match="E-ROLE"):
            sign_in.grant(tx, town.clock, "x", [Role.REVIEWER], town.today, OFFICE)


def test_everybody_keeps_to_their_own(door: Door) -> None:
    saved = door.send("operator", "POST", "/applications", door.walk_in(0, point="011")).json()
    tracking = saved["tracking"]
    rival = door.send("rival", "POST", f"/applications/{tracking}/submit")
    assert (rival.status_code, rival.json()["code"]) == (403, "E-OWN")
    door.send("operator", "POST", f"/applications/{tracking}/submit")
    assert door.send("clerk", "GET", "/applications?state=SUBMITTED").json()["applications"] == []
    body = {"tracking": tracking, "fee_receipt": "R"}
    away = door.send("clerk", "POST", "/points/011/accept", body).json()
    here = door.send("clerk", "POST", "/points/001/accept", body).json()
    assert (away["code"], here["code"]) == ("E-ELSEWHERE", "E-ELSEWHERE")
    accepted = door.send("station", "POST", "/points/011/accept", body).json()
    path = f"/applications/{accepted['acc_no']}"
    assert door.send("clerk", "GET", path).json()["code"] == "E-ELSEWHERE"
    assert door.send("rival", "GET", path).json()["code"] == "E-OWN"
    assert door.send("operator", "GET", path).json()["state"] == "ACCEPTED"
    with door.town.db.read() as tx:
        person = tx.query(PersonRow).one().id
    door.grant("holder", person, Role.HOLDER)
    assert door.send("holder", "GET", path).json()["acc_no"] == accepted["acc_no"]
    assert door.send("holder", "POST", f"/applications/{tracking}/withdraw").json()["state"] == (
        "WITHDRAWN"
    )


def test_pages_of_a_work_list_follow_each_other(door: Door) -> None:
    numbers = [door.accepted(number)["acc_no"] for number in range(3)]
    first = door.send("reviewer", "GET", "/applications?state=ACCEPTED&limit=2").json()
    rest = door.send(
        "reviewer", "GET", f"/applications?state=ACCEPTED&limit=2&after={first['after']}"
    ).json()
    found = [one["acc_no"] for one in first["applications"] + rest["applications"]]
    assert sorted(found) == numbers
    assert rest["after"] == ""


ADDRESS = "湖南省安平县1号"
BAD_APPLICANTS = {
    "E-CID-LEN": {"citizen_id": "12"},
    "E-CID-CHAR": {"citizen_id": "99430019850213001A"},
    "E-CID-DIV": {"citizen_id": "009999198502130012"},
    "E-CID-DATE": {"citizen_id": "994403197302290011"},
    "E-CID-FUTURE": {"citizen_id": "994300202502130010"},
    "E-CID-CHECK": {"citizen_id": "994300198502130013"},
    "E-CID-SEX": {"citizen_id": "994300198502130012", "sex": 2},
    "E-NAME": {"name": "王2"},
    "E-ETHNIC": {"ethnic": 57},
    "E-AC-TEXT": {"household_address": "路" * 36},
}


@pytest.mark.parametrize("code", sorted(BAD_APPLICANTS))
def test_a_wrong_applicant_is_refused_for_what_is_wrong(door: Door, code: str) -> None:
    good = {
        "citizen_id": "994300198502130012", "name": "王伟", "sex": 1, "ethnic": 1,
        "household_address": ADDRESS,
    }  # fmt: skip
    body = door.walk_in(0, point="001", applicant=good | BAD_APPLICANTS[code])
    answer = door.send("clerk", "POST", "/applications", body)
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert answer.json()["category"] == "business_reject"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"point": "1"}, "body.point"),
        ({"basis": "FRIENDSHIP"}, "body.basis"),
        ({"portrait": "no base64!"}, "body.portrait"),
        ({"colour": "red"}, "body.colour"),
        ({"applicant": {"name": "张三"}}, "body.applicant.citizen_id"),
        ({"applicant": "张三"}, "body.applicant"),
    ],
)
def test_a_wrong_form_names_the_field_and_never_what_was_in_it(
    door: Door, change: dict, field: str
) -> None:
    answer = door.send("clerk", "POST", "/applications", door.walk_in(0, point="001") | change)
    told = answer.json()
    assert (answer.status_code, told["code"], told["category"]) == (422, "E-REQUEST", "bad_request")
    assert field in told["facts"]
    assert "张" not in answer.text
    assert door.town.people[0].citizen_id not in answer.text


def test_what_is_no_request_is_refused(door: Door) -> None:
    assert door.http.get("/api/nowhere").json()["code"] == "E-NO-ROUTE"
    assert door.http.put("/api/applications").json()["code"] == "E-METHOD"
    headers = {"Authorization": f"Bearer {door.tokens['clerk']}"}
    keyless = door.http.post("/api/applications", headers=headers, json={})
    assert "header.idempotency-key" in keyless.json()["facts"]
    text = door.http.post("/api/applications", headers=headers, content=b"{")
    assert (text.status_code, text.json()["category"]) == (422, "bad_request")
    either = {"fee_receipt": "R"}
    assert door.send("clerk", "POST", "/points/001/accept", either).status_code == 422


def test_a_body_is_bounded_before_it_is_read(door: Door) -> None:
    big = {"portrait": base64.b64encode(bytes(100_000)).decode()}
    answer = door.send("clerk", "POST", "/applications", big)
    assert (answer.status_code, answer.json()["code"]) == (413, "E-BODY-SIZE")
    endless = door.http.post("/api/applications", content=iter([b"{", b"}"]))
    assert (endless.status_code, endless.json()["code"]) == (411, "E-BODY-LENGTH")


def test_a_bug_says_so_and_nothing_else(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "admit", None)
    answer = door.send("clerk", "GET", "/applications?state=DRAFT")
    told = answer.json()
    assert (answer.status_code, told["code"], told["category"]) == (500, "E-INTERNAL", "internal")
    assert "NoneType" not in answer.text
    assert len(told["trace_id"]) == 16
