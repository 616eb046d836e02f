"""Who may do what with which key: one table, looked at before any cryptography (R-18, R-43).

A row per form of a command: the roles and the code come from its request, the keys it names with their
usages, modes and states, and its rate class from here. What is not in the table is refused. `table` prints
it for the documentation, so that it cannot say something else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hsm_sim import audit_requests as audit
from hsm_sim import data_requests as data
from hsm_sim import generic_requests as generic
from hsm_sim import issue_requests as issue
from hsm_sim import purse_requests as purse
from hsm_sim import terminal_requests as terminal
from hsm_sim.client import Request
from hsm_sim.keystore import State

States = tuple[State, ...]
MAKING: States = (State.ACTIVE,)
CHECKING: States = (State.ACTIVE, State.DEACTIVATED)  # old cards and old TACs stay provable
SHOWING: States = (State.PRE_ACTIVE, State.ACTIVE, State.DEACTIVATED)
MASTERS = tuple(f"{usage}" for usage in range(10, 23))
WORK_USAGES = ("P0", "M1", "M3", "M6", "D0")


class Rate(StrEnum):
    """Which limits of section 7 a command falls under."""

    NONE = "none"
    VERIFY = "verify"
    BULK = "bulk"
    PIN = "pin"
    EXPORT = "export"
    AUTHENTICATE = "authenticate"
    INDEX = "index"


@dataclass(frozen=True)
class KeyRule:
    """What a key named by a request must be. No modes: any. `resident`: only ``K`` and a slot (28).

    `absent` is the answer to an empty slot where a token would do as well: source (10) or destination (11).
    """

    usages: tuple[str, ...]
    modes: str = ""
    states: States = MAKING
    resident: bool = False
    absent: str = "10"


@dataclass(frozen=True)
class Rule:
    """A row. `off` commands answer 68 until policy switches them on (R-15); `card` names the factors."""

    keys: Mapping[str, KeyRule] = field(default_factory=dict)
    rate: Rate = Rate.NONE
    off: bool = False
    card: str = ""


def _master(*usages: str, states: States = MAKING) -> KeyRule:
    """Masters derive and nothing else (R-19)."""
    return KeyRule(usages, "X", states, resident=True)


_ZONE = ("K0", "K1")
_PIN = {
    "source": KeyRule(("P0",), "BDN", CHECKING),
    "target": KeyRule(("P0",), "BEN", absent="11"),
}
_DATA_MAKE = {"key": KeyRule(("D0",), "BEN", resident=True)}
_DATA_READ = {"key": KeyRule(("D0",), "BDN", CHECKING, resident=True)}
_DAMK_DCMK = ("15", "20")


def _purse(usage: str, states: States = MAKING, off: bool = False) -> Rule:
    return Rule({"master": _master(usage, states=states)}, Rate.VERIFY, off, "factors")


RULES: dict[type[Request[Any]], Rule] = {
    generic.Diagnose: Rule(),
    generic.Echo: Rule(),
    generic.RandomBytes: Rule(),
    generic.GenerateWorkKey: Rule(),
    generic.GenerateAndExport: Rule({"under": KeyRule(_ZONE, "BEN")}, Rate.EXPORT),
    generic.ImportWorkKey: Rule({"zone": KeyRule(_ZONE, "BDN", CHECKING)}),
    generic.ExportWorkKey: Rule(
        {"zone": KeyRule(_ZONE, "BEN"), "key": KeyRule((*WORK_USAGES, "K0"))}, Rate.EXPORT
    ),
    generic.CheckValue: Rule({"key": KeyRule((), states=SHOWING)}),
    generic.MakeMac: Rule({"key": KeyRule(("M1", "M3", "M6"), "CGN")}),
    generic.VerifyMac: Rule({"key": KeyRule(("M1", "M3", "M6"), "CVN", CHECKING)}, Rate.VERIFY),
    generic.TranslateTerminalPin: Rule(_PIN, Rate.PIN),
    generic.TranslateZonePin: Rule(_PIN, Rate.PIN),
    issue.CardKeyCheckValue: Rule({"master": _master(*MASTERS, states=CHECKING)}, card="factors"),
    issue.ExportCardKey: Rule(
        {"master": _master(*MASTERS), "wrapping": KeyRule(("K1",), "BEN")},
        Rate.EXPORT,
        card="factors",
    ),
    issue.ExportCardKeyToChannel: Rule({"master": _master(*MASTERS)}, Rate.EXPORT, card="factors"),
    issue.ExportCardKeyBare: Rule(
        {"master": _master(*MASTERS), "wrapping": KeyRule(("K0",), "E")},
        Rate.EXPORT,
        card="factors",
    ),
    issue.ProtectCardKey: Rule(
        {"master": _master(*MASTERS), "line": _master("18", "19")}, Rate.EXPORT, card="factors"
    ),
    issue.BeginChannel: Rule({"master": _master("E5")}),
    issue.AuthenticateChannel: Rule(rate=Rate.VERIFY),
    issue.WrapApdu: Rule(),
    issue.UnwrapAnswer: Rule(),
    issue.ReencryptData: Rule({"transport": KeyRule(("K0",), "BDN", CHECKING)}),
    issue.EndChannel: Rule(),
    issue.ProtectCommand: Rule({"master": _master(*_DAMK_DCMK)}, card="factors"),
    issue.AuthenticateExternally: Rule(
        {"master": _master("18", "19", "22")}, Rate.AUTHENTICATE, card="factors"
    ),
    issue.UnblockPin: Rule(
        {"master": _master("16"), "pin_key": KeyRule(("P0",), "BDN")}, Rate.PIN, card="factors"
    ),
    issue.StatusMac: Rule({"key": KeyRule(("23",), "C", resident=True)}),
    issue.CheckStatusMac: Rule(
        {"key": KeyRule(("23",), "C", CHECKING, resident=True)}, Rate.VERIFY
    ),
    issue.CheckCardAnswer: Rule(
        {"master": _master(*_DAMK_DCMK, states=CHECKING)}, Rate.VERIFY, card="factors"
    ),
    issue.CheckInternalAuthentication: Rule(
        {"master": _master("21", states=CHECKING)}, Rate.VERIFY, card="factors"
    ),
    purse.CheckLoad: _purse("11", CHECKING),
    purse.Load: _purse("11"),
    purse.LoadOnLine: Rule(
        {"master": _master("11"), "key": KeyRule(("M1", "M3"), "CN")}, Rate.VERIFY, card="factors"
    ),
    purse.CheckLoadTac: _purse("12", CHECKING),
    purse.CheckPurchaseTac: _purse("12", CHECKING),
    purse.CheckLimitTac: _purse("12", CHECKING),
    purse.CheckTacs: Rule({"master": _master("12", states=CHECKING)}, Rate.BULK),
    purse.CheckPurchaseTacs: Rule({"master": _master("12", states=CHECKING)}, Rate.BULK),
    purse.PurchaseMac1: _purse("10", off=True),
    purse.CheckPurchaseMac2: _purse("10", CHECKING, off=True),
    purse.Unload: _purse("13"),
    purse.ConfirmUnload: _purse("13", CHECKING),
    purse.ChangeLimit: _purse("14"),
    terminal.MakeWorkKeys: Rule({"master": KeyRule(("K0",), "BEN")}),
    terminal.ProtectPsamKey: Rule(
        {"master": _master("10", "21", "22"), "line": _master("19")}, Rate.EXPORT
    ),
    audit.NewestCheckpoint: Rule(),
    audit.LogLines: Rule(),
    audit.InclusionProof: Rule(),
    audit.ConsistencyProof: Rule(),
    audit.CosignCheckpoint: Rule(),
    audit.AuditExport: Rule(),
    audit.KeyDirectory: Rule(),
    data.SealLog: Rule(),
    data.EncryptFields: Rule(_DATA_MAKE),
    data.DecryptFields: Rule(_DATA_READ, Rate.VERIFY),
    data.ReencryptFields: Rule(_DATA_READ, Rate.VERIFY),
    data.KeyedIndex: Rule({"key": KeyRule(("M7",), "C", resident=True)}, Rate.INDEX),
}


def _by_code() -> dict[str, tuple[type[Request[Any]], ...]]:
    found: dict[str, tuple[type[Request[Any]], ...]] = {}
    for request, rule in RULES.items():
        known = set(request.__dataclass_fields__)  # type: ignore[attr-defined]
        assert request.roles, request
        assert set(rule.keys) <= known, request
        assert not rule.card or rule.card in known, request
        found[request.code] = (*found.get(request.code, ()), request)
    for code, forms in found.items():
        assert len({form.roles for form in forms}) == 1, code
        assert len({form.bulk for form in forms}) == 1, code
    return found


FORMS = _by_code()


def table() -> str:
    """The table as Markdown."""
    rows = [
        "| command | form | roles | keys (usage, mode, states) | rate | on |",
        "|---|---|---|---|---|---|",
    ]
    for request, rule in RULES.items():
        keys = "; ".join(
            f"{name}: {' '.join(key.usages) or 'any'}, {key.modes or 'any'}, "
            f"{' '.join(sorted(key.states))}{', resident' if key.resident else ''}"
            for name, key in rule.keys.items()
        )
        roles = " ".join(request.roles)
        rows.append(
            f"| `{request.code}` | {request.__name__} | {roles} | {keys} | {rule.rate} "
            f"| {'no' if rule.off else 'yes'} |"
        )
    return "\n".join(rows) + "\n"
