"""T22: an immature service is refused, a mature one is loaded, a faulty hook disturbs nobody."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from core.errors import NotAllowed, Rejected
from registry.residence import permits
from registry.roles import Actor, Role
from registry.services import gate, manifest, running
from registry.services.gate import Item, State
from registry.services.manifest import shipped
from registry.services.running import HookRunner
from registry.services.tables import HookErrorRow
from tests.registry_bench import CLERK
from tests.registry_desk import SERIAL, Desk23, pin_entry
from tests.registry_story import Story, june

OFFICE = Actor.of("office He", Role.PILOT_OFFICE)
OWNER = Actor.of("owner Lai", Role.SERVICE_OWNER)
CLOSABLE = [item for item in Item if item not in gate.COUNTED]
STREETS = {"everywhere": "440308"}


@pytest.fixture
def story() -> Story:
    return Story()


def mature(story: Story, code: str, to: State = State.LIVE) -> None:
    """Every step up to `to`, with evidence and two organisations."""
    service = shipped()[code]
    with story.town.db.write() as tx:
        gate.propose(tx, story.town.clock, service, OWNER)
        for item in CLOSABLE:
            gate.close_item(tx, story.town.clock, code, item, "minutes of 8 June", OFFICE)
        for step in (State.REVIEW, State.SANDBOX, State.LIMITED, State.LIVE):
            gate.sign(tx, story.town.clock, code, step, "pilot office", OFFICE)
            gate.sign(tx, story.town.clock, code, step, service.owner_org, OWNER)
            gate.advance(tx, story.town.clock, service, step, OFFICE, STREETS["everywhere"])
            if step is to:
                return


def test_t22_the_default_answer_is_no(story: Story) -> None:
    service = shipped()["library"]
    with story.town.db.write() as tx:
        gate.propose(tx, story.town.clock, service, OWNER)
        gate.advance(tx, story.town.clock, service, State.REVIEW, OFFICE)
        with pytest.raises(Rejected, match="E-IMMATURE") as refused:
            gate.advance(tx, story.town.clock, service, State.SANDBOX, OFFICE)
    assert "OWNER" in str(refused.value.facts["items"])


@pytest.mark.parametrize("code", ["school", "family"])
def test_t22_without_a_legal_basis_nothing_helps(story: Story, code: str) -> None:
    with pytest.raises(Rejected, match="E-IMMATURE") as refused:
        mature(story, code)
    assert "LEGAL_BASIS" in str(refused.value.facts["items"])


def test_t22_one_open_item_keeps_it_from_going_live(story: Story) -> None:
    service = shipped()["library"]
    with story.town.db.write() as tx:
        gate.propose(tx, story.town.clock, service, OWNER)
        for item in CLOSABLE:
            if item is not Item.ROLL_BACK:
                gate.close_item(tx, story.town.clock, "library", item, "minutes", OFFICE)
        assert gate.open_items(tx, service, State.LIMITED) == [Item.ROLL_BACK]


def test_t22_the_chips_budget_is_counted_over_all_services(story: Story) -> None:
    mature(story, "library")
    with pytest.raises(Rejected, match="E-IMMATURE") as refused:
        mature(story, "clinic")
    assert refused.value.facts["items"] == "CHIP_BUDGET"


def test_t22_two_organisations_and_two_people_sign(story: Story) -> None:
    service = shipped()["rental"]
    with story.town.db.write() as tx:
        gate.propose(tx, story.town.clock, service, OWNER)
        for item in CLOSABLE:
            gate.close_item(tx, story.town.clock, "rental", item, "minutes", OFFICE)
        gate.advance(tx, story.town.clock, service, State.REVIEW, OFFICE)
        gate.sign(tx, story.town.clock, "rental", State.SANDBOX, "pilot office", OFFICE)
        with pytest.raises(NotAllowed, match="E-SOD"):
            gate.sign(tx, story.town.clock, "rental", State.SANDBOX, "another office", OFFICE)
        with pytest.raises(Rejected, match="E-SIGNATURES"):
            gate.advance(tx, story.town.clock, service, State.SANDBOX, OFFICE)


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("labour", {"permit_status", "basis", "employed_since"}),
        ("rental", {"permit_status", "address_text", "lives_there_since"}),
        ("library", {"permit_status", "name_masked"}),
    ],
)
def test_three_areas_run_and_say_no_more_than_their_contract(
    story: Story, code: str, fields: set[str]
) -> None:
    mature(story, code)
    with story.town.db.write() as tx:
        running.enrol(tx, story.town.clock, story.permit_no, code, "form 17", CLERK)
        told = running.answer(tx, story.town.clock, code, story.permit_no, OWNER)
    assert set(told) == fields
    assert told["permit_status"] == "ACTIVE"
    assert story.town.people[0].name not in str(told)
    assert story.town.people[0].citizen_id not in str(told)


def test_nobody_is_asked_about_who_did_not_agree(story: Story) -> None:
    mature(story, "labour")
    with story.town.db.write() as tx:
        with pytest.raises(Rejected, match="E-CONSENT"):
            running.enrol(tx, story.town.clock, story.permit_no, "labour", " ", CLERK)
        with pytest.raises(NotAllowed, match="E-NOT-ENROLLED"):
            running.answer(tx, story.town.clock, "labour", story.permit_no, OWNER)


def test_a_sleeping_permit_keeps_what_may_be_used_asleep(story: Story) -> None:
    for code in ("labour", "rental"):
        mature(story, code)
        with story.town.db.write() as tx:
            running.enrol(tx, story.town.clock, story.permit_no, code, "form 17", CLERK)
    story.on(june(11), story.end)
    story.on(june(20))
    with story.town.db.write() as tx:
        assert running.answer(tx, story.town.clock, "rental", story.permit_no, OWNER)[
            "address_text"
        ]
        with pytest.raises(Rejected, match="E-DORMANT"):
            running.answer(tx, story.town.clock, "labour", story.permit_no, OWNER)
        entries = running.card_entries(tx, story.permit_no)
    assert [(one.id, one.enabled, one.dormant_ok) for one in entries] == [
        (101, True, False), (102, True, True),
    ]  # fmt: skip


def test_a_limited_service_serves_its_street_only(story: Story) -> None:
    service = shipped()["library"]
    mature(story, "library", State.SANDBOX)
    with story.town.db.write() as tx:
        gate.sign(tx, story.town.clock, "library", State.LIMITED, "pilot office", OFFICE)
        gate.sign(tx, story.town.clock, "library", State.LIMITED, service.owner_org, OWNER)
        gate.advance(tx, story.town.clock, service, State.LIMITED, OFFICE, "440308999")
        with pytest.raises(Rejected, match="E-SERVICE-OFF"):
            running.enrol(tx, story.town.clock, story.permit_no, "library", "form 17", CLERK)


def test_suspending_takes_one_person_and_switches_the_card_entry_off(story: Story) -> None:
    mature(story, "library")
    with story.town.db.write() as tx:
        running.enrol(tx, story.town.clock, story.permit_no, "library", "form 17", CLERK)
        gate.advance(tx, story.town.clock, shipped()["library"], State.SUSPENDED, OFFICE)
        (entry,) = running.card_entries(tx, story.permit_no)
    assert not entry.enabled


class Hooks:
    """The library's side: it notes, fails or hangs, as told."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str]] = []
        self.fault = ""
        self.release = Event()

    def __call__(self, told: Mapping[str, str]) -> None:
        if self.fault == "raises":
            raise RuntimeError("the library's database is gone: 994300198703103782")
        if self.fault == "hangs":
            self.release.wait(60)
            return
        self.noted.append((told["hook"], told["permit_no"]))


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.mark.parametrize(
    ("fault", "problem"), [("raises", "RuntimeError"), ("hangs", "longer than")]
)
def test_t22_a_faulty_hook_delays_no_permit(
    story: Story,
    workers: ThreadPoolExecutor,
    fault: str,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "HOOK_SECONDS", 0.05)
    mature(story, "library")
    with story.town.db.write() as tx:
        running.enrol(tx, story.town.clock, story.permit_no, "library", "form 17", CLERK)
    hooks = Hooks()
    installed = {("library", name): hooks for name in ("activate", "dormant", "wake", "replace")}
    runner = HookRunner(story.town.db, story.town.clock, installed, workers)
    runner.run_once()
    hooks.fault = fault
    story.on(june(11), story.end)
    assert story.on(june(20)) == "DORMANT"
    assert runner.run_once().failed == 1
    assert runner.run_once().called == 0
    with story.town.db.read() as tx:
        (error,) = tx.query(HookErrorRow)
        assert (error.hook, error.permit_no) == ("dormant", story.permit_no)
        assert error.problem.startswith(problem)
        assert "9943" not in error.problem
    hooks.release.set()
    hooks.fault = ""
    assert runner.repair("library") == 0
    assert hooks.noted[-1] == ("dormant", story.permit_no)
    story.on(june(21), story.hire(june(20)))
    with story.town.db.read() as tx:
        assert permits.get(tx, story.permit_no).status == 2
    runner.run_once()
    assert hooks.noted[-1] == ("wake", story.permit_no)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ((b'area = "public"', b'area = "politics"'), "area"),
        ((b"id = 106", b"id = 0"), "id"),
        ((b"size = 128", b"size = 400"), "eeprom_bytes"),
        ((b'"name_masked"', b'"religion"'), "data_fields"),
        ((b"dormant_ok = true", b"dormant_ok = 1"), "dormant_ok"),
        ((b"kpi =", b"secret = 1\nkpi ="), "secret"),
        ((b"retention_days = 90\n", b""), "retention_days"),
        ((b"id = 106", b"id = = 106"), "toml"),
    ],
)
def test_a_manifest_is_read_strictly(change: tuple[bytes, bytes], word: str) -> None:
    from importlib import resources

    text = resources.files("registry.services").joinpath("modules/library.toml").read_bytes()
    assert manifest.parse(text).code == "library"
    with pytest.raises(Rejected, match="E-MANIFEST") as refused:
        manifest.parse(text.replace(*change))
    assert refused.value.facts["word"] == word


def test_a_service_reaches_an_issued_card_at_the_counter_and_leaves_it_again() -> None:
    desk = Desk23()  # labour and rental are live, and the holder uses both
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    before = desk.record()
    with desk.town.db.write() as tx:
        clock, library = desk.town.clock, shipped()["library"]
        gate.propose(tx, clock, library, OWNER)
        for item in CLOSABLE:
            gate.close_item(tx, clock, "library", item, "minutes of 8 June", OFFICE)
        for step in (State.REVIEW, State.SANDBOX, State.LIMITED, State.LIVE):
            gate.sign(tx, clock, "library", step, "pilot office", OFFICE)
            gate.sign(tx, clock, "library", step, library.owner_org, OWNER)
            gate.advance(tx, clock, library, step, OFFICE, STREETS["everywhere"])
        running.enrol(tx, clock, desk.permit_no, "library", "form 17", CLERK)
    for _ in range(2):  # put on the reader twice: the same three entries
        desk.counter.write_services(SERIAL, CLERK)
        assert [(one.id, one.enabled) for one in desk.services()] == [
            (101, True), (102, True), (106, True),
        ]  # fmt: skip
    with desk.town.db.write() as tx:
        gate.advance(tx, desk.town.clock, library, State.SUSPENDED, OFFICE)
    desk.counter.write_services(SERIAL, CLERK)
    assert [one.enabled for one in desk.services()] == [True, True, False]
    assert desk.record() == before  # the permit itself was not touched
    with pytest.raises(NotAllowed, match="E-ROLE"):
        desk.counter.write_services(SERIAL, OFFICE)
