"""The vectors' purse MACs as the HSM judges them, and that no log or error of a whole day holds a secret."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import structlog

from core import telemetry
from core.clock import SystemClock
from core.errors import CityError, EvidenceMismatch
from hsm_sim.purse_requests import (
    CheckLoad,
    CheckLoadTac,
    CheckPurchaseTac,
    ConfirmUnload,
    Load,
    Unload,
)
from payments import messages
from payments import requests as r
from payments.host import serve
from payments.host_log import unexpected
from payments.messages import MessageFault
from payments.purse_data import (
    PurchaseEvidence,
    PurseAnswer,
    PurseConfirmation,
    PurseRequest,
    factor_of,
)
from payments.requests import reversal
from tests.host_bench import ACCOUNT, MASTERS, PIN_BLOCK, TMK, Keys, LabCard, LabHost
from tests.unit.payments.test_host import Line

BY_ID = {
    v["id"]: v for v in json.loads(Path("tests/vectors/iso8583.json").read_text("utf-8"))["vectors"]
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("macs"))


def field58(name: str, which: str = "field58") -> bytes:
    return bytes.fromhex(BY_ID[name]["inputs"][which])


def _factors(asn: bytes) -> tuple[bytes, ...]:
    return (bytes.fromhex(factor_of(asn)),)


def test_mac1_mac2_and_the_tac_of_the_vectors_load(keys: Keys) -> None:

    asked = PurseRequest.parse(field58("load-req-58"))
    given = PurseAnswer.parse(field58("load-rsp-58"))
    proof = PurseConfirmation.parse(field58("load-confirm-58"))
    shared = (
        keys.masters("11", asked.key_version), _factors(asked.asn), asked.random, asked.counter,
        asked.balance, asked.amount, bytes((asked.type,)), asked.psam, asked.mac1,
    )  # fmt: skip
    keys.hsm.call(CheckLoad(*shared))
    assert keys.hsm.call(Load(*shared, given.date, given.time)) == given.mac2
    keys.hsm.call(
        CheckLoadTac(
            keys.masters("12", 0), _factors(proof.asn), proof.balance_after, proof.counter,
            proof.amount, bytes((proof.type,)), proof.psam, proof.date, proof.time, proof.tac,
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", ["purchase-1-58", "purchase-2-58", "purchase-badtac-58"])
def test_the_tacs_of_the_vectors_purchases(keys: Keys, name: str) -> None:
    data = PurchaseEvidence.parse(field58(name))
    request = CheckPurchaseTac(
        keys.masters("12", 0), _factors(data.asn), data.amount, bytes((data.type,)), data.psam,
        data.terminal_counter, data.date, data.time, data.tac,
    )  # fmt: skip
    if BY_ID[name]["expected"]["tac_ok"]:
        keys.hsm.call(request)
    else:
        with pytest.raises(EvidenceMismatch, match="HSM-01"):
            keys.hsm.call(request)


def test_the_three_macs_of_the_vectors_unload(keys: Keys) -> None:
    asked = PurseRequest.parse(field58("unload-58", "request58"))
    given = PurseAnswer.parse(field58("unload-58", "response58"))
    proof = PurseConfirmation.parse(field58("unload-58", "confirm58"))
    master, factors = keys.masters("13", 0), _factors(asked.asn)
    mac2 = keys.hsm.call(
        Unload(
            master, factors, asked.random, asked.counter, asked.balance, asked.amount,
            bytes((asked.type,)), asked.psam, asked.mac1, given.date, given.time,
        )
    )  # fmt: skip
    assert mac2 == given.mac2
    keys.hsm.call(
        ConfirmUnload(
            master, factors, proof.random, proof.counter, proof.balance_after, proof.counter,
            proof.amount, bytes((proof.type,)), proof.psam, proof.date, proof.time, proof.tac,
        )
    )  # fmt: skip
    assert proof.balance_after == BY_ID["unload-58"]["expected"]["balance_after_fen"]


def test_a_whole_day_leaves_no_secret_in_any_log(
    keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure("DEBUG", json_lines=True)
    host = LabHost(keys)
    errors: list[str] = []
    with serve(host.authorizer, SystemClock()) as running:
        line = Line(running.port)
        terminal = host.terminal(send=line.ask)
        terminal.sign_on()
        card = LabCard("00001000000147")
        terminal.load(card, 5000, r.LOAD)
        request, _ = terminal.load_request(card, 1000, r.LOAD)
        terminal.ask(request)
        terminal.ask(reversal(request, "98"))
        terminal.ask(terminal.purchase(card, 200))
        terminal.ask(terminal.station.balance(terminal.trace(), ACCOUNT, PIN_BLOCK))
        errors += _broken(terminal.sealed(request))
        line.send(b"\x00\x20" + PIN_BLOCK * 4)
        line.receive()
        line.close()
        shown = capsys.readouterr()
        text = shown.out + shown.err + "".join(errors) + running.metrics.text().decode()
    secrets: list[Any] = [ACCOUNT, PIN_BLOCK, TMK, terminal.mak, card.asn, *MASTERS.values()]
    for secret in secrets:
        hexed = secret if isinstance(secret, str) else secret.hex()
        assert re.search(re.escape(hexed), text, re.IGNORECASE) is None, hexed[:4]
    host.close()
    structlog.reset_defaults()


def test_an_unexpected_error_is_logged_by_kind_and_place_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry.configure("DEBUG", json_lines=False)
    try:
        int(ACCOUNT + "x")
    except ValueError as error:
        unexpected("batch failed", error)
    shown = capsys.readouterr()
    structlog.reset_defaults()
    assert "ValueError" in shown.err
    assert "test_host_secrets.py" in shown.err
    assert ACCOUNT not in shown.err + shown.out


def _broken(frame: bytes) -> list[str]:
    """What our errors say of a hundred broken forms of a message."""
    found: list[str] = []
    for at in range(13, len(frame), 2):
        broken = bytearray(frame)
        broken[at] ^= 0xFF
        try:
            found.append(repr(messages.parse(bytes(broken))))
        except MessageFault as fault:
            found += [str(fault), repr(fault.message), repr(fault.__cause__), str(fault.facts)]
        except CityError as fault:
            found.append(str(fault))
    return found
