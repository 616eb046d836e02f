"""What the purse host allows: its profile, its parameters, and the limits of a load (iso8583-host.md 7.4, 7.8).

All amounts in fen. A limit that is None is not checked, and costs nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from cardos.spec import ISSUER_ID
from core.db import Tx
from payments.field_parts import MERCHANT_NAME_BYTES
from payments.purse_data import card_serial_of
from registry.residence.gate import PurseGate, purse_gates

AMOUNT_LIMIT, COUNT_LIMIT, WRONG_AMOUNT, SUSPECTED_FRAUD = "61", "65", "13", "59"
BATCH_MESSAGES = 900_000
DAY_CHANGE_MOST = 60
# Usages of the masters in the HSM's key directory (hsm-and-ceremony.md 8.1).
USAGE_LOAD, USAGE_TAC, USAGE_UNLOAD = "11", "12", "13"

Gate = Callable[[Tx, Sequence[str]], Mapping[str, PurseGate]]
Masters = Callable[[str, int], str]


def register_gate(tx: Tx, asns: Sequence[str]) -> dict[str, PurseGate]:
    """The residence register's verdict on cards by ASN (20 digits); foreign ones are left out."""
    serials = {asn: card_serial_of(bytes.fromhex(asn)) for asn in asns}
    gates = purse_gates(tx, [serial for serial in serials.values() if serial is not None])
    return {asn: gates[serial] for asn, serial in serials.items() if serial is not None}


@dataclass(frozen=True)
class Parameters:
    """What terminals download (7.8) and the host itself holds to.

    `purse_fen` most a purse may hold (80), `load_fen` most per load (81), `no_pin_fen` load without PIN up
    to (82; 0: always with PIN), `purchase_fen` largest off-line purchase (87), `list_hours` oldest blacklist
    for off-line sales (88), `upload_count` and `upload_minutes` (83, 84), `wait_seconds` (12).
    """

    purse_fen: int = 100_000
    load_fen: int = 50_000
    no_pin_fen: int = 0
    purchase_fen: int = 30_000
    list_hours: int = 168
    upload_count: int = 10
    upload_minutes: int = 30
    wait_seconds: int = 30
    connect_tries: int = 3
    reversal_tries: int = 3
    day_change: str = "0000"

    def items(self, merchant_name: str, blacklist: int) -> dict[str, str]:
        """The items of a parameter download, by tag."""
        return {
            "11": "91",
            "12": f"{self.wait_seconds:02d}",
            "13": str(self.connect_tries),
            "22": merchant_name.encode("gb18030")[:MERCHANT_NAME_BYTES].decode("gb18030", "ignore"),
            "23": str(self.reversal_tries),
            "80": f"{self.purse_fen:012d}",
            "81": f"{self.load_fen:012d}",
            "82": f"{self.no_pin_fen:012d}",
            "83": f"{self.upload_count:03d}",
            "84": f"{self.upload_minutes:04d}",
            "85": f"{blacklist:08d}",
            "86": self.day_change,
            "87": f"{self.purchase_fen:012d}",
            "88": f"{self.list_hours:04d}",
        }


@dataclass(frozen=True)
class HostProfile:
    """One acquirer: its numbers, the cards it serves, its limits.

    `zone_key` is the HSM's key field for PIN blocks to the bank; empty: no PIN can be passed on. More than
    `burst_count` loads of one card within `burst` are suspected fraud (59). A batch holds at most `batch_messages`
    (16). For `day_change_seconds` of a new business day, at most 60, nothing new begins on line (90), so that the
    old day's last requests are written before anybody counts them. `publishes_lists`: this host makes the lists'
    versions out of the registers.
    """

    name: str = "host-1"
    acquirer: str = "48880001"
    receiver: str = "01050000"
    issuers: frozenset[bytes] = field(default_factory=lambda: frozenset({ISSUER_ID}))
    parameters: Parameters = field(default_factory=Parameters)
    zone_key: str = ""
    card_day_fen: int | None = None
    card_day_count: int | None = None
    terminal_day_fen: int | None = None
    merchant_day_fen: int | None = None
    burst_count: int | None = None
    burst: timedelta = timedelta(minutes=10)
    late: timedelta = timedelta(days=30)
    batch_messages: int = BATCH_MESSAGES
    day_change_seconds: int = 0
    publishes_lists: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.day_change_seconds <= DAY_CHANGE_MOST:
            raise ValueError(f"a day change takes at most {DAY_CHANGE_MOST} s")

    @property
    def looks_back(self) -> bool:
        """Whether any limit depends on what was loaded before."""
        limits = (self.card_day_fen, self.card_day_count, self.terminal_day_fen,
                  self.merchant_day_fen, self.burst_count)  # fmt: skip
        return any(limit is not None for limit in limits)


@dataclass(frozen=True)
class Before:
    """What was loaded today already by this card, at this terminal, at this merchant; `burst` by the card just now.

    What others load at the same moment is not in it: `known.overshot` asks again when the loads are written.
    """

    card_fen: int = 0
    card_count: int = 0
    terminal_fen: int = 0
    merchant_fen: int = 0
    burst: int = 0


NOTHING_YET = Before()


def refuse_load(profile: HostProfile, amount: int, balance: int, sums: Before) -> str | None:
    """The response code when a load breaks a limit (step 6 of 7.4), None when it may go on."""
    held = profile.parameters
    if amount <= 0:
        return WRONG_AMOUNT
    if _above(profile.burst_count, sums.burst + 1):
        return SUSPECTED_FRAUD
    over = (
        amount > held.load_fen,
        balance + amount > held.purse_fen,
        _above(profile.card_day_fen, sums.card_fen + amount),
        _above(profile.terminal_day_fen, sums.terminal_fen + amount),
        _above(profile.merchant_day_fen, sums.merchant_fen + amount),
    )
    if any(over):
        return AMOUNT_LIMIT
    return COUNT_LIMIT if _above(profile.card_day_count, sums.card_count + 1) else None


def _above(limit: int | None, value: int) -> bool:
    return limit is not None and value > limit
