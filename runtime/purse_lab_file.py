"""The set-up file of a laboratory host: what is in it, and reading it (docs/host.md).

JSON with schema ``citycard/purse-lab/1``. Keys are hex and in the clear, so they are test values only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from core.errors import Rejected
from payments.enrolment import MAK_FORMS
from payments.limits import HostProfile, Parameters
from payments.line_keys import X99
from registry.dormancy.status_list import ADD, Entry, card_hash
from registry.residence.gate import LIST_CANCELLED, LIST_LOST, LIST_STOLEN, LIST_SUSPECT

SCHEMA = "citycard/purse-lab/1"
MASTER_USAGES = {"DLK": "11", "DTK": "12", "DULK": "13"}
MAX_TERMINALS = 1_000
REASONS = frozenset({LIST_LOST, LIST_STOLEN, LIST_CANCELLED, LIST_SUSPECT})
SINGLE_BYTES, DOUBLE_BYTES = 8, 16
LIMITS = (
    "card_day_fen", "card_day_count", "terminal_day_fen", "merchant_day_fen", "burst_count",
    "batch_messages", "day_change_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class LabTerminal:
    """A terminal of the laboratory. `mak` and `pik` (hex) preset the key set in force, without a sign-on.

    `open` False: it was closed; `plain_management`: it puts no MAC on 08xx and 0500.
    """

    number: str
    merchant: str
    psam: str
    tmk: str
    batch: int = 1
    mac_profile: str = "unionpay"
    single_mak: bool = False
    mak: str = ""
    pik: str = ""
    open: bool = True
    plain_management: bool = False


@dataclass(frozen=True)
class LabMerchant:
    """A merchant that is not to be as the others: its name, its fee in basis points, whether it is open."""

    number: str
    name: str = "Laboratory"
    fee_points: int = 38
    open: bool = True


@dataclass(frozen=True)
class LabBlacklist:
    """One version of the purse blacklist: reasons (01 to 04) by ASN, and since when it is in force."""

    at: datetime
    cards: Mapping[str, str]


@dataclass(frozen=True)
class LabStatusList:
    """One version of the status list, entries by card hash, and since when it is in force."""

    at: datetime
    cards: Mapping[bytes, Entry]


@dataclass(frozen=True)
class Laboratory:
    """The set-up file. `refused`: response codes by ASN; `cards` None: every card is live; `blocked`: cards that
    the host itself blocked.

    `accounts` are fen by funding account; any other account has `open_account_fen`. `bank`: what the bank always
    says of an account, by field 39. `limits`: those of `HostProfile`. Lists are published in order.
    """

    masters: Mapping[str, str]
    terminals: tuple[LabTerminal, ...]
    issuer: str
    merchants: tuple[LabMerchant, ...] = ()
    cards: frozenset[str] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    blocked: tuple[str, ...] = ()
    accounts: Mapping[str, int] = field(default_factory=dict)
    open_account_fen: int = 10_000_000
    bank: Mapping[str, str] = field(default_factory=dict)
    blacklists: tuple[LabBlacklist, ...] = ()
    status_lists: tuple[LabStatusList, ...] = ()
    zone_key: str = ""
    fee_points: int = 38
    parameters: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    acquirer: str = "48880001"

    @classmethod
    def load(cls, path: Path) -> "Laboratory":
        """Read a set-up file. Raises Rejected LAB-FILE, which says what is wrong with it."""
        try:
            value = json.loads(path.read_text("utf-8"))
            if value.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            return _laboratory(value)
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise Rejected("LAB-FILE", str(fault), file=path.name) from fault

    def profile(self) -> HostProfile:
        """The host's profile, without the key that passes PINs on to the bank. Raises ValueError, TypeError."""
        return HostProfile(
            name="lab", acquirer=self.acquirer, issuers=frozenset({bytes.fromhex(self.issuer)}),
            parameters=Parameters(**self.parameters), publishes_lists=False, **self.limits,
        )  # fmt: skip

    def merchant(self, number: str) -> LabMerchant:
        """A merchant of the file, or one like any other."""
        named = {one.number: one for one in self.merchants}
        return named.get(number, LabMerchant(number, fee_points=self.fee_points))


def _laboratory(value: dict[str, Any]) -> Laboratory:
    cards = value.pop("cards", None)
    lab = Laboratory(
        terminals=tuple(_terminal(one) for one in value.pop("terminals")),
        merchants=tuple(LabMerchant(**one) for one in value.pop("merchants", ())),
        cards=None if cards is None else frozenset(asn.lower() for asn in cards),
        refused=_by_asn(value.pop("refused", {})),
        blocked=tuple(asn.lower() for asn in value.pop("blocked", ())),
        blacklists=tuple(
            LabBlacklist(datetime.fromisoformat(one["at"]), _reasons(one["cards"]))
            for one in value.pop("blacklists", ())
        ),
        status_lists=tuple(_status_list(one) for one in value.pop("status_lists", ())),
        **value,
    )
    if not 0 < len(lab.terminals) <= MAX_TERMINALS or set(lab.masters) - set(MASTER_USAGES):
        raise ValueError(f"1 to {MAX_TERMINALS} terminals and masters {sorted(MASTER_USAGES)}")
    if set(lab.limits) - set(LIMITS):
        raise ValueError(f"limits are {', '.join(LIMITS)}")
    lab.profile()
    return lab


def _terminal(value: Mapping[str, Any]) -> LabTerminal:
    terminal = LabTerminal(**value)
    if terminal.mac_profile == X99:
        terminal = replace(terminal, single_mak=True)
    forms = MAK_FORMS.get(terminal.mac_profile, ())
    lengths = {DOUBLE_BYTES if single is False else SINGLE_BYTES for single in forms}
    mak, pik, tmk = (bytes.fromhex(key) for key in (terminal.mak, terminal.pik, terminal.tmk))
    if terminal.single_mak not in forms or len(mak) not in lengths | {0}:
        raise ValueError(f"terminal {terminal.number}: profile {terminal.mac_profile}, MAK")
    if len(tmk) != DOUBLE_BYTES or len(pik) not in (0, DOUBLE_BYTES):
        raise ValueError(f"terminal {terminal.number}: TMK and PIK have {DOUBLE_BYTES} bytes")
    return terminal


def _reasons(cards: Mapping[str, str]) -> Mapping[str, str]:
    strange = set(cards.values()) - REASONS
    if strange:
        raise ValueError(f"reasons of a blacklist are 01 to 04, not {', '.join(sorted(strange))}")
    return _by_asn(cards)


def _by_asn(codes: Mapping[str, str]) -> dict[str, str]:
    """By ASN as the host writes it: an ASN may end in F, in either case."""
    return {asn.lower(): code for asn, code in codes.items()}


def _status_list(value: Mapping[str, Any]) -> LabStatusList:
    """Each card: `serial` (14 digits), `cause` (2 hex), `ssn`, `from`, `expires` (the day after without one)."""
    entries = {}
    for card in value["cards"]:
        since = date.fromisoformat(card["from"])
        expires = card.get("expires")
        entry = Entry(
            ADD, card_hash(card["serial"]), int(card["cause"], 16), card["ssn"], since,
            date.fromisoformat(expires) if expires else since + timedelta(days=1),
        )  # fmt: skip
        entries[entry.card_hash] = entry
    return LabStatusList(datetime.fromisoformat(value["at"]), entries)
