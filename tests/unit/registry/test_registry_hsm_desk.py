"""The counter's desk on the HSM: which command, which master, which factor (hsm-and-ceremony.md 5.1, 8.1)."""

from typing import Any

import pytest

from hsm_sim.client import KeySlot, KeySlots, Request
from hsm_sim.errors import HsmMismatch
from registry.dormancy.desk import Scope
from registry.dormancy.hsm_desk import HsmDesk, card_factor
from tests.registry_bench import SERIALS

SERIAL = SERIALS[0]
FACTOR = (bytes.fromhex("0007001000000102"),)
RANDOM = bytes(range(8))
KEYS = (
    ("purse-damk-01", 1, "15", "purse"),
    ("residence-damk-01", 2, "15", "residence"),
    ("card-dcmk-01", 3, "20", "card"),
    ("purse-dpuk-01", 4, "16", "purse"),
    ("residence-drak-01", 5, "22", "residence"),
    ("status-01", 6, "23", "status"),
)
SLOTS = KeySlots(
    tuple(
        KeySlot(kid, n, usage, scope, "01", "T2", "active", "00" * 3)
        for kid, n, usage, scope in KEYS
    )
)


class Recorder:
    """An HSM that takes the request over the wire form and answers as told."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[Request[Any]] = []

    def call(self, request: Request[Any]) -> Any:
        again, trailer = type(request).decode(request.encode().decode("latin-1"))
        assert trailer == ""
        self.seen.append(again)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def last(recorder: Recorder) -> dict[str, Any]:
    (request,) = recorder.seen
    return {"code": request.code, **vars(request)}


def test_the_factor_is_the_end_of_the_application_serial_number() -> None:
    assert (card_factor(SERIAL),) == FACTOR


@pytest.mark.parametrize(
    ("scope", "slot"), [(Scope.PURSE, "K001"), (Scope.RESIDENCE, "K002"), (Scope.CARD, "K003")]
)
def test_a_command_is_protected_under_its_scopes_line_key(scope: Scope, slot: str) -> None:
    hsm = Recorder((b"data", b"MAC4"))
    desk = HsmDesk(hsm, SLOTS)
    header = bytes.fromhex("04D69500")
    assert desk.protect(scope, SERIAL, RANDOM, header, b"data") == b"dataMAC4"
    assert last(hsm) == {
        "code": "30", "master": slot, "factors": FACTOR, "random": RANDOM, "mode": "1",
        "header": header, "data": b"data",
    }  # fmt: skip


def test_the_status_record_is_sealed_under_the_status_key() -> None:
    hsm = Recorder(b"8 octets")
    assert HsmDesk(hsm, SLOTS).status_mac(bytes(24), SERIAL) == b"8 octets"
    assert last(hsm) == {"code": "36", "key": "K006", "record": bytes(24), "card_serial": SERIAL}


def test_reader_and_pin_use_their_own_masters() -> None:
    hsm = Recorder(b"8 octets")
    assert HsmDesk(hsm, SLOTS).authenticate_reader(SERIAL, RANDOM) == b"8 octets"
    assert last(hsm)["master"] == "K005"
    hsm = Recorder((b"cipher..", b"MAC4"))
    answer = HsmDesk(hsm, SLOTS).unblock_pin(SERIAL, RANDOM, "K009", b"pinblock")
    assert answer == b"cipher..MAC4"
    assert (last(hsm)["master"], last(hsm)["pin_key"]) == ("K004", "K009")
    assert last(hsm)["account"] == SERIAL[-12:]
    assert b"pinblock".hex() not in repr(hsm.seen[0])


def test_a_false_answer_of_a_card_is_an_error_not_a_value() -> None:
    hsm = Recorder(HsmMismatch("HSM-01", "verification failed"))
    with pytest.raises(HsmMismatch, match="HSM-01"):
        HsmDesk(hsm, SLOTS).check_answer(Scope.RESIDENCE, SERIAL, RANDOM, b"data", b"MAC4")
