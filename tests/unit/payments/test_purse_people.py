"""What people decide, and what the host does by itself: resolution, lists, forgetting, chores."""

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.clock import SystemClock
from core.errors import NotAllowed, NotFound, Rejected
from payments import ledger, resolution
from payments import requests as r
from payments.chores import Chore, Chores, forget, host_chores
from payments.downloads import publish_blacklist
from payments.field_parts import ListAsk, ListPage, parse_items
from payments.frames import LOAD_LIST, requirement_of
from payments.host_metrics import HostMetrics
from payments.limits import Parameters
from payments.purse_data import PurseAnswer
from payments.requests import reversal, unknown_outcome
from payments.resolution import Deciders
from payments.tables import (
    BlacklistEntryRow,
    BlacklistVersionRow,
    IncidentRow,
    LoadRow,
    MessageRow,
    PurchaseRow,
)
from tests.host_bench import ACCOUNT, ACCOUNT_FEN, Keys, LabCard, LabHost, LabTerminal

DAY = date(2026, 11, 28)
TWO = Deciders("Chen", "Li")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("people"))


@pytest.fixture
def host(keys: Keys, tmp_path: Path) -> Iterator[LabHost]:
    made = LabHost(keys, url=f"sqlite:///{tmp_path / 'purse.db'}")
    yield made
    made.close()


@pytest.fixture
def terminal(host: LabHost) -> LabTerminal:
    made = host.terminal()
    made.sign_on()
    return made


def unresolved(host: LabHost, terminal: LabTerminal, card: LabCard) -> str:
    request, asked = terminal.load_request(card, 5000, r.LOAD)
    answer = terminal.ask(request)
    given = PurseAnswer.parse(answer.octets(58))
    terminal.confirm(request, answer, unknown_outcome(asked, given.date, given.time))
    with host.db.read() as tx:
        return tx.scalars(select(LoadRow.key).where(LoadRow.state == "UNRESOLVED")).one()


@pytest.mark.parametrize(("happened", "bank", "purse"), [(True, 5000, 5000), (False, 0, 0)])
def test_two_people_settle_a_load(
    host: LabHost, terminal: LabTerminal, happened: bool, bank: int, purse: int
) -> None:
    card = LabCard("00001000000147")
    key = unresolved(host, terminal, card)
    with host.db.write() as tx:
        resolution.decide_load(tx, host.clock, key, happened, TWO, "the card was read")
        with pytest.raises(Rejected, match="PURSE-DECIDED"):
            resolution.decide_load(tx, host.clock, key, happened, TWO, "again")
        with pytest.raises(NotFound, match="PURSE-LOAD"):
            resolution.decide_load(tx, host.clock, "none", happened, TWO, "")
    host.authorizer.forward_orders()
    assert ACCOUNT_FEN - host.bank.accounts[ACCOUNT] == bank
    with host.db.read() as tx:
        assert ledger.balance(tx, ledger.purse(card.asn.hex())) == ledger.Balance(purse, 0)


def test_one_person_decides_nothing() -> None:
    with pytest.raises(NotAllowed, match="PURSE-TWO-PERSONS"):
        Deciders("Chen", "Chen")


def test_a_broken_promise_that_is_accepted_stands_in_suspense(
    host: LabHost, terminal: LabTerminal
) -> None:
    card = LabCard("00001000000147")
    request, asked = terminal.load_request(card, 5000, r.LOAD)
    answer = terminal.ask(request)
    terminal.ask(reversal(request, "98"))
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    terminal.confirm(request, answer, proof)
    with host.db.write() as tx:
        key = tx.scalars(select(LoadRow.key)).one()
        resolution.decide_load(tx, host.clock, key, True, TWO, "charged to the terminal's owner")
        assert ledger.balance(tx, ledger.SUSPENSE).posted == -5000
        assert ledger.balance(tx, ledger.purse(card.asn.hex())).posted == card.balance == 5000


@pytest.mark.parametrize("taken_back", [False, True])
@pytest.mark.parametrize("happened", [True, False])
def test_an_unload_that_two_people_believe_is_paid_to_its_account(
    host: LabHost, terminal: LabTerminal, happened: bool, taken_back: bool
) -> None:
    card = LabCard("00001000000147")
    terminal.load(card, 9000)
    request, asked = terminal.load_request(card, 5000, r.UNLOAD)
    answer = terminal.ask(request)
    given = PurseAnswer.parse(answer.octets(58))
    if taken_back:
        terminal.ask(reversal(request, "98"))
        proof = card.finish(asked, given)
    else:
        proof = unknown_outcome(asked, given.date, given.time)
    terminal.confirm(request, answer, proof)
    with host.db.write() as tx:
        key = tx.scalars(select(LoadRow.key).where(LoadRow.state == "UNRESOLVED")).one()
        resolution.decide_load(tx, host.clock, key, happened, TWO, "the card was read")
    host.authorizer.forward_orders()
    paid = 5000 if happened else 0
    assert host.bank.accounts.get(ACCOUNT, ACCOUNT_FEN) - ACCOUNT_FEN == paid
    with host.db.read() as tx:
        assert ledger.balance(tx, ledger.purse(card.asn.hex())) == ledger.Balance(9000 - paid, 0)
        assert ledger.balance(tx, ledger.BANK).posted == paid
        assert ledger.balance(tx, ledger.SUSPENSE).posted == 0


def test_two_people_pay_or_refuse_a_kept_purchase(host: LabHost, terminal: LabTerminal) -> None:
    card = LabCard("00001000000147", balance=90_000)
    for amount, counter in ((30_001, 1), (30_002, 2)):
        evidence = card.pay(amount, terminal.psam, counter, "20261128100000")
        terminal.ask(terminal.station.purchase(terminal.trace(), evidence))
    host.judge.run()
    with host.db.write() as tx:
        first, second = tx.scalars(select(PurchaseRow.id).order_by(PurchaseRow.id)).all()
        assert resolution.decide_purchase(tx, host.clock, first, True, TWO, "seen") == "POSTED"
        assert resolution.decide_purchase(tx, host.clock, second, False, TWO, "no") == "HELD"
        with pytest.raises(Rejected, match="PURSE-DECIDED"):
            resolution.decide_purchase(tx, host.clock, second, True, TWO, "after all")
        incident = tx.scalars(select(IncidentRow.id)).first()
        assert incident is not None
        resolution.close_incident(tx, host.clock, incident, TWO, "looked at")
        with pytest.raises(Rejected, match="PURSE-DECIDED"):
            resolution.close_incident(tx, host.clock, incident, TWO, "again")
    report = host.clearing.close(DAY)
    assert (report.purchases, report.amount, report.kept) == (1, 30_001, 1)
    assert (report.fees, report.paid) == (114, 29_887)  # 38 basis points, as of any other purchase


# ---- lists


def publish(host: LabHost, version: int, changes: dict[str, str]) -> None:
    with host.db.write() as tx:
        tx.add(BlacklistVersionRow(version=version, entries=0, digest="", at=host.clock.now()))
        tx.flush()
        for asn, reason in changes.items():
            tx.add(BlacklistEntryRow(version=version, asn=asn, reason=reason))


def page(terminal: LabTerminal, version: int, index: int = 0) -> ListPage:
    ask = ListAsk("BL", version, index)
    answer = terminal.ask(terminal.station.list_page(terminal.trace(), ask))
    assert answer.response == "00"
    return ListPage.parse(answer.octets(62))


def test_a_list_comes_in_pages_and_then_as_a_difference(
    host: LabHost, terminal: LabTerminal
) -> None:
    assert (page(terminal, 0).flag, page(terminal, 0).version) == (0, 0)
    publish(host, 1, {f"{n:020d}": "01" for n in range(1, 82)})
    pages = [page(terminal, 0, index) for index in (0, 40, 80)]
    assert [(p.flag, p.base, p.version, len(p.entries)) for p in pages] == [
        (2, 0, 1, 40), (2, 0, 1, 40), (1, 0, 1, 1),
    ]  # fmt: skip
    publish(host, 2, {f"{5:020d}": "00", f"{99:020d}": "03"})
    change = page(terminal, 1)
    assert (change.flag, change.base, change.version) == (1, 1, 2)
    assert [entry[:1] for entry in change.entries] == [b"A", b"D"]
    assert page(terminal, 2).flag == 0
    assert page(terminal, 77).base == 0  # a version nobody published: the full list
    beyond = terminal.station.list_page(terminal.trace(), ListAsk("BL", 0, 900))
    assert terminal.ask(beyond).response == "30"


def test_a_card_the_host_blocked_is_listed_as_suspect(host: LabHost, terminal: LabTerminal) -> None:
    card = LabCard("00001000000147")
    terminal.load(card, 5000)
    card.online = 0  # a clone with an older counter
    assert terminal.ask(terminal.load_request(card, 1000)[0]).response == "63"
    with host.db.write() as tx:
        assert (publish_blacklist(tx, host.clock), publish_blacklist(tx, host.clock)) == (1, 1)
    (entry,) = page(terminal, 0).entries
    assert entry == b"A" + card.asn + b"\x04"


def test_a_terminal_with_an_old_list_is_asked_to_load_it(
    host: LabHost, terminal: LabTerminal
) -> None:
    publish(host, 1, {"0" * 20: "01"})
    status = {"70": "0000", "71": "000000", "74": "00000000"}
    old = terminal.ask(terminal.station.status(terminal.trace(), status))
    assert requirement_of(old.header) == LOAD_LIST
    terminal.ask(terminal.station.list_done(terminal.trace(), "BL", 1))
    new = terminal.ask(terminal.station.status(terminal.trace(), status))
    assert requirement_of(new.header) == 0


def test_parameters_say_what_the_host_holds_to(host: LabHost, terminal: LabTerminal) -> None:

    answer = terminal.ask(terminal.station.parameters(terminal.trace()))
    values = parse_items(answer.octets(62))
    assert (values["80"], values["81"], values["22"]) == ("000000100000", "000000050000", "Bakery")
    done = terminal.ask(terminal.station.parameters_done(terminal.trace()))
    assert done.response == "00"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("The Corner Shop by the Eastern City Gate", "The Corner Shop by the Eastern City Gate"),
        ("一二三四五六七八九十甲乙丙丁戊己庚辛壬癸子", "一二三四五六七八九十甲乙丙丁戊己庚辛壬癸"),
        ("𠮷" * 11, "𠮷" * 10),  # four bytes each
        ("a" + "丁" * 20, "a" + "丁" * 19),
    ],
)
def test_a_merchant_name_has_at_most_forty_bytes(name: str, told: str) -> None:
    assert Parameters().items(name, 0)["22"] == told


# ---- what the host does by itself


def test_old_messages_are_forgotten_when_nothing_can_come_any_more(
    host: LabHost, terminal: LabTerminal
) -> None:
    card = LabCard("00001000000147")
    terminal.load(card, 5000)
    end = terminal.station.batch_end(terminal.trace(), 0, balanced=True)
    terminal.ask(end)

    def left() -> int:
        with host.db.read() as tx:
            return tx.scalar(select(func.count()).select_from(MessageRow)) or 0

    before = left()
    host.clock.advance(timedelta(days=40))
    assert (forget(host.db, host.clock), left()) == (0, before)  # the day is not cleared yet
    host.clearing.close(DAY)
    assert (forget(host.db, host.clock), left()) == (before, 0)


def test_a_chore_that_fails_is_counted_and_the_others_go_on(host: LabHost) -> None:
    done = threading.Event()

    def fails() -> None:
        raise ZeroDivisionError

    metrics = HostMetrics()
    chores = Chores(SystemClock(), metrics, [Chore("a", 0.01, fails), Chore("b", 0.01, done.set)])
    chores.start()
    assert done.wait(20)
    chores.stop()
    assert metrics.failures._value.get() >= 1
    names = [chore.name for chore in host_chores(host.authorizer, host.judge)]
    assert names == ["bank orders", "judging", "lists", "old messages"]
