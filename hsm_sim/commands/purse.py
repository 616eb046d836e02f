"""Purse commands: MAC1 checked before MAC2 is made, in one call (R-14). What each code is computed over: 8.2."""

from struct import Struct

import numpy as np

from core import crypto
from hsm_sim import bulk_tac
from hsm_sim.commands.generic import message_mac
from hsm_sim.derive import SessionKey
from hsm_sim.errors import refusal
from hsm_sim.generic_requests import MAC_4, MAC_8
from hsm_sim.purse_requests import (
    TAC_FIELDS,
    ChangeLimit,
    CheckLimitTac,
    CheckLoad,
    CheckLoadTac,
    CheckPurchaseMac2,
    CheckPurchaseTac,
    CheckPurchaseTacs,
    CheckTacs,
    ConfirmUnload,
    Load,
    LoadOnLine,
    PurchaseMac1,
    Unload,
    write_bitmap,
)
from hsm_sim.work import Work, handles


def _require_mac(session: SessionKey, message: bytes, mac: bytes) -> None:
    if not crypto.equal(session.mac(message), mac):
        raise refusal("01")


_four = Struct(">I").pack
_EIGHT = Struct(">II").pack


def _session_of_load(work: Work, request: CheckLoad | Load | LoadOnLine) -> SessionKey:
    """The session key, after MAC1 over balance, amount, type, terminal was found right."""
    session = work.card_key("master", request.factors).session(request.random, request.counter)
    message = _EIGHT(request.balance, request.amount) + request.type + request.terminal
    _require_mac(session, message, request.mac1)
    return session


@handles(CheckLoad)
def check_load(work: Work, request: CheckLoad) -> bytes:
    """`40` mode 0: MAC1 only."""
    _session_of_load(work, request)
    return b""


@handles(Load)
def load(work: Work, request: Load) -> bytes:
    """`40` mode 1: MAC1, then MAC2 over amount, type, terminal, date, time."""
    return _mac2(work, request).hex().upper().encode("ascii")


def _mac2(work: Work, request: Load | LoadOnLine) -> bytes:
    session = _session_of_load(work, request)
    message = _four(request.amount) + request.type + request.terminal + request.date + request.time
    return session.mac(message)


@handles(LoadOnLine)
def load_on_line(work: Work, request: LoadOnLine) -> bytes:
    """`4G`: field 64 of the request first, then as `40` mode 1, then field 64 of the answer with MAC2 in it."""
    told, place = request.told, request.place
    end = place + crypto.MAC_LENGTH
    if end > len(told):
        raise refusal("15", "no room for MAC2 in the answer")
    if not crypto.equal(_seal(work, request, request.asked), request.seal):
        raise refusal("F8")
    mac2 = _mac2(work, request)
    sealed = _seal(work, request, told[:place] + mac2 + told[end:])
    return mac2.hex().upper().encode("ascii") + sealed


def _seal(work: Work, request: LoadOnLine, data: bytes) -> bytes:
    """Field 64 as it goes over the wire, 8 ASCII characters (iso8583-host.md 9.2)."""
    if request.algorithm == "C":
        return message_mac(work.key("key"), "C", data, MAC_8)
    short = message_mac(work.key("key"), request.algorithm, data, MAC_4)
    return short.hex().upper().encode("ascii")


def _check_tac(work: Work, factors: tuple[bytes, ...], message: bytes, tac: bytes) -> bytes:
    if not crypto.equal(work.card_key("master", factors).tac(message), tac):
        raise refusal("01")
    return b""


@handles(CheckLoadTac)
def check_load_tac(work: Work, request: CheckLoadTac) -> bytes:
    """`42` kind 1: over balance after, counter, amount, type, terminal, date, time."""
    message = (
        _four(request.balance) + request.counter.to_bytes(2, "big") + _four(request.amount)
        + request.type + request.terminal + request.date + request.time
    )  # fmt: skip
    return _check_tac(work, request.factors, message, request.tac)


@handles(CheckPurchaseTac)
def check_purchase_tac(work: Work, request: CheckPurchaseTac) -> bytes:
    """`42` kind 2: over amount, type, terminal, terminal counter, date, time."""
    message = (
        _four(request.amount) + request.type + request.terminal + _four(request.terminal_counter)
        + request.date + request.time
    )  # fmt: skip
    return _check_tac(work, request.factors, message, request.tac)


@handles(CheckLimitTac)
def check_limit_tac(work: Work, request: CheckLimitTac) -> bytes:
    """`42` kind 3: over balance after, counter, new limit, type, terminal, date, time."""
    message = (
        _four(request.balance) + request.counter.to_bytes(2, "big") + request.limit.to_bytes(3, "big")
        + request.type + request.terminal + request.date + request.time
    )  # fmt: skip
    return _check_tac(work, request.factors, message, request.tac)


@handles(CheckTacs)
def check_tacs(work: Work, request: CheckTacs) -> bytes:
    """`44`: each entry by itself; a bad one does not stop the frame."""
    assert request.kind in TAC_FIELDS
    good = [
        crypto.equal(work.card_key("master", entry.factors).tac(entry.message), entry.tac)
        for entry in request.entries
    ]
    work.good, work.bad = sum(good), len(good) - sum(good)
    bitmap = write_bitmap(good).hex().upper().encode("ascii")
    return f"{len(good):02X}".encode("ascii") + bitmap


@handles(CheckPurchaseTacs)
def check_purchase_tacs(work: Work, request: CheckPurchaseTacs) -> bytes:
    """`90`: every record by itself; levels first, then the card's own factor in front of the record."""
    good = bulk_tac.check(work.secret("master"), request.levels, request.records)
    work.good = int(good.sum())
    work.bad = len(good) - work.good
    return f"{len(good):08X}{work.bad:08X}".encode("ascii") + np.packbits(good).tobytes()


def _session_of_purchase(work: Work, request: PurchaseMac1 | CheckPurchaseMac2) -> SessionKey:
    tail = (request.terminal_counter & 0xFFFF).to_bytes(2, "big")
    return work.card_key("master", request.factors).session(request.random, request.counter, tail)


@handles(PurchaseMac1)
def purchase_mac1(work: Work, request: PurchaseMac1) -> bytes:
    """`46`: MAC1 over amount, type, terminal, date, time."""
    message = _four(request.amount) + request.type + request.terminal + request.date + request.time
    return _session_of_purchase(work, request).mac(message).hex().upper().encode("ascii")


@handles(CheckPurchaseMac2)
def check_purchase_mac2(work: Work, request: CheckPurchaseMac2) -> bytes:
    """`48`: MAC2 over the amount."""
    _require_mac(_session_of_purchase(work, request), _four(request.amount), request.mac2)
    return b""


@handles(Unload)
def unload(work: Work, request: Unload) -> bytes:
    """`4A`: over the same fields as a load, under another master."""
    return load(work, request)


@handles(ConfirmUnload)
def confirm_unload(work: Work, request: ConfirmUnload) -> bytes:
    """`4C`: MAC3 over balance after, counter before, amount, type, terminal, date, time."""
    session = work.card_key("master", request.factors).session(request.random, request.counter)
    message = (
        _four(request.balance) + request.counter_before.to_bytes(2, "big") + _four(request.amount)
        + request.type + request.terminal + request.date + request.time
    )  # fmt: skip
    _require_mac(session, message, request.mac3)
    return b""


@handles(ChangeLimit)
def change_limit(work: Work, request: ChangeLimit) -> bytes:
    """`4E`: MAC1 over balance, old limit, type, terminal; MAC2 over new limit, type, terminal, date, time."""
    session = work.card_key("master", request.factors).session(request.random, request.counter)
    place = request.type + request.terminal
    old, new = request.old_limit.to_bytes(3, "big"), request.new_limit.to_bytes(3, "big")
    _require_mac(session, _four(request.balance) + old + place, request.mac1)
    return session.mac(new + place + request.date + request.time).hex().upper().encode("ascii")
