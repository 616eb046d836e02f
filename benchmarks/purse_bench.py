"""A purse network to measure: an HSM process whose load master is known, registers full of cards.

Making a real chip takes 30 ms and a benchmark needs 100,000 of them. So the load and TAC masters of this HSM
come from components that this program has seen, and what INITIALIZE FOR LOAD would answer is computed from them.
Everything else is the product: HSM process under mutual TLS, host, database, PIN pads with the terminals' keys.
"""

import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Table, insert

from cardos.records import asn_of, card_factor
from cardos.spec import ISSUER_ID
from core import crypto
from core.clock import SystemClock
from core.db import Tx
from hsm_sim.ceremony import city as plan
from hsm_sim.ceremony.console import Console
from hsm_sim.ceremony.room import UnattendedRoom
from hsm_sim.ceremony.run import CeremonyRun
from hsm_sim.ceremony.script import POLICY, Script, Step, component_steps
from hsm_sim.certificates import make_certificates
from hsm_sim.client import KeySlots, Role
from hsm_sim.device import Hsm
from hsm_sim.generic_requests import GenerateAndExport
from hsm_sim.launch import HsmProcess, start_hsm
from hsm_sim.lmkfile import Argon2
from hsm_sim.pinpad import SimPinPad
from hsm_sim.tcp import TcpHsm, roles_of
from payments.purse_data import LOAD_REQUEST, PurseRequest
from registry.residence.domain import CardState, ChipStatus
from registry.residence.tables import CardRow, PermitRow, PersonRow

LOT = "07001"
KNOWN = ("purse-dlk-01", "purse-dtk-01")
CHEAP = Argon2(memory_kib=64, passes=1, lanes=1)
ISSUED = datetime(2007, 6, 18, tzinfo=UTC)
ROWS_A_STATEMENT = 2_000


@dataclass
class Works:
    """The HSM process and what the benchmark knows of its keys."""

    process: HsmProcess
    slots: KeySlots
    certificates: Path
    load_master: bytes = field(repr=False)
    tac_master: bytes = field(repr=False)
    pad_transport: bytes = field(repr=False)

    def client(self, *roles: Role) -> TcpHsm:
        """A connection with the certificates of these roles."""
        return TcpHsm("127.0.0.1", self.process.port, roles_of(self.certificates, roles))

    def fit_out(self, hsm: TcpHsm) -> tuple[SimPinPad, str]:
        """A pad with its TMK, and the TMK's token for the host."""
        pad = SimPinPad()
        part = secrets.token_bytes(16)
        check = next(k.kcv for k in self.slots.keys_known if k.kid == plan.PIN_PAD_KEY)
        pad.load_transport_key((part, crypto.xor(part, self.pad_transport)), check)
        made = hsm.call(GenerateAndExport(self.slots[plan.PIN_PAD_KEY], "K0"))
        pad.load_master_key(made.exported, made.check_value.hex())
        return pad, made.token


def open_works(folder: Path, closing: ExitStack) -> Works:
    """Hold the ceremonies, with the known masters from components, and start the HSM as a process."""
    home, clock = folder / "hsm", SystemClock()
    people = plan.make_people(1)
    unlock = tuple(secrets.token_bytes(16) for _ in range(plan.UNLOCK_SECRETS))
    hsm = Hsm.make(
        home, plan.HSM_NAME, clock, [person.entry() for person in people.values()],
        {**POLICY}, unlock, kdf=CHEAP,
    )  # fmt: skip
    room = UnattendedRoom(people)
    console = Console(hsm.log, hsm.actions, home, clock)
    expires = (clock.now() + timedelta(days=2)).date().isoformat()
    for script in _scripts(expires):
        CeremonyRun(console, script, {who: plan.STAFF[who] for who in plan.ATTEND}, room).run()
    known: dict[str, bytes] = {}
    for kid in (*KNOWN, plan.PIN_PAD_KEY):
        room.hand_over(kid, lambda key, kid=kid: known.setdefault(kid, bytes(key)))
    certificates = folder / "certificates"
    hsm.set_policy(hsm.policy.with_clients(make_certificates(certificates, clock)))
    hsm.close()
    log = closing.enter_context((folder / "hsm.log").open("wb"))
    process = closing.enter_context(start_hsm(home, certificates, unlock, log=log))
    slots = KeySlots.load(home / "slots.json")
    return Works(process, slots, certificates, *(known[k] for k in (*KNOWN, plan.PIN_PAD_KEY)))


def _scripts(expires: str) -> Iterator[Script]:
    """The city's ceremonies, with the known masters moved from "generate" to "load from components"."""
    planned = {key.kid: key for key in plan.city_keys()}
    for script in plan.city_scripts(LOT, expires):
        steps = [s for s in script.plan if s.args.get("kid") not in KNOWN]
        if script.kind == "key-load":
            for kid in KNOWN:
                steps += component_steps(kid, 3, planned[kid].attributes())
                steps.append(Step("activate", {"kid": kid}))
        yield Script(script.cid, script.kind, tuple(steps))


# -- cards that were never made ---------------------------------------------------------------------


def serials(first: int, count: int) -> list[str]:
    """Card serials of 14 digits."""
    return [f"{number:014d}" for number in range(first, first + count)]


def enter_cards(tx: Tx, card_serials: Sequence[str]) -> None:
    """Persons, permits and issued cards for these serials, as the registers hold them."""
    for at in range(0, len(card_serials), ROWS_A_STATEMENT):
        part = card_serials[at : at + ROWS_A_STATEMENT]
        for table, make in ((PersonRow, _person), (PermitRow, _permit), (CardRow, _card)):
            tx.execute(insert(cast(Table, table.__table__)), [make(serial) for serial in part])


def _person(serial: str) -> dict[str, Any]:
    return {
        "id": f"person-{serial}", "citizen_index": serial.rjust(32, "0"), "sealed": b"", "sex": 1,
        "ethnic": 1, "birth": date(1980, 1, 1), "photo_ref": None, "identity_level": 1,
        "purse_account": serial.rjust(16, "0"),
    }  # fmt: skip


def _permit(serial: str) -> dict[str, Any]:
    return {
        "permit_no": serial.rjust(18, "0"), "person_id": f"person-{serial}", "type": "RP",
        "basis": "EMPLOYMENT", "address_code": "0" * 25, "issued_on": ISSUED.date(),
        "valid_until": date(2099, 1, 1), "handed_over": True, "status": int(ChipStatus.ACTIVE),
        "causes": 0, "ssn": 1, "effective_on": ISSUED.date(), "lease_until": date(2099, 1, 1),
    }  # fmt: skip


def _card(serial: str) -> dict[str, Any]:
    return {
        "card_serial": serial, "chip_serial": serial.rjust(16, "A"),
        "permit_no": serial.rjust(18, "0"), "acc_no": serial.rjust(18, "0"), "issue_no": 1,
        "lot": LOT, "state": CardState.ISSUED.value, "bound_at": ISSUED, "issued_at": ISSUED,
        "chip_ssn": 1, "chip_status": int(ChipStatus.ACTIVE), "chip_seen_at": ISSUED,
    }  # fmt: skip


def load_request(
    master: bytes, serial: str, amount: int, psam: bytes, counter: int = 0
) -> PurseRequest:
    """What INITIALIZE FOR LOAD of this card would answer, with an empty purse (purse-card.md 8.1)."""
    asn = asn_of(serial)
    random = secrets.token_bytes(4)
    key = crypto.diversify(master, card_factor(asn))
    session = crypto.purse_session_key(key, random, counter.to_bytes(2, "big"), b"\x80\x00")
    covered = bytes(4) + amount.to_bytes(4, "big") + b"\x02" + psam
    mac1 = crypto.purse_mac(session, covered)
    return PurseRequest(
        LOAD_REQUEST, ISSUER_ID, asn, random, 1, 1, counter, 0, amount, 2, psam, mac1, 0
    )


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(text + "\n")
