"""Merchants and terminals: taking them into the network, closing them (iso8583-host.md 9.1, 9.2).

A terminal's TMK is an HSM token; the key itself reaches the terminal's PIN pad through a ceremony or a secure
loader, never in a message.
"""

from dataclasses import dataclass

from sqlalchemy import select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotFound, Rejected
from payments import ledger
from payments.line_keys import UNIONPAY, X99, X919
from payments.tables import BatchRow, MerchantRow, TerminalRow

# Whether a profile's MAK may be single-length (9.2): X9.9 knows no other, X9.19 needs both halves.
MAK_FORMS = {UNIONPAY: (True, False), X99: (True,), X919: (False,)}
PSAM_HEX = 12


@dataclass(frozen=True)
class NewTerminal:
    """A terminal to be enrolled. `psam`: the 6-byte number in its PSAM, or assigned; `tmk`: HSM token.

    `plain_management`: a foreign terminal that puts no MAC on 08xx and 0500.
    """

    number: str
    merchant: str
    psam: bytes
    tmk: str
    mac_profile: str = UNIONPAY
    single_mak: bool = False
    batch: int = 1
    plain_management: bool = False


def enrol_merchant(
    tx: Tx, clock: Clock, number: str, name: str, fee_points: int = 0
) -> MerchantRow:
    """Take a merchant in (field 42, 15 characters). Raises Rejected PURSE-ENROLLED for a known one."""
    _check_number(number, 15)
    if tx.get(MerchantRow, number) is not None:
        raise Rejected("PURSE-ENROLLED", "the merchant is known", number=number)
    row = MerchantRow(number=number, name=name, fee_points=fee_points, open=True)
    tx.add(row)
    accounts = (ledger.merchant(number), ledger.cash(number))
    ledger.open_accounts(tx, (*accounts, ledger.BANK, ledger.FEES, ledger.SUSPENSE))
    tx.flush()
    events.append(tx, clock, "purse.merchant_enrolled", number, name=name)
    return row


def enrol_terminal(tx: Tx, clock: Clock, new: NewTerminal) -> TerminalRow:
    """Take a terminal in. Raises Rejected PURSE-ENROLLED, NotFound PURSE-MERCHANT."""
    _check_number(new.number, 8)
    if len(new.psam.hex()) != PSAM_HEX:
        raise ValueError("not a 6-byte PSAM number")
    if new.single_mak not in MAK_FORMS.get(new.mac_profile, ()):
        raise ValueError("an unknown MAC profile, or a MAK of a length that it has no use for")
    if tx.get(MerchantRow, new.merchant) is None:
        raise NotFound("PURSE-MERCHANT", "no such merchant", number=new.merchant)
    same = select(TerminalRow.number).where(
        (TerminalRow.number == new.number) | (TerminalRow.psam == new.psam.hex())
    )
    if tx.scalar(same) is not None:
        raise Rejected("PURSE-ENROLLED", "terminal or PSAM number is taken", number=new.number)
    row = TerminalRow(
        number=new.number, merchant=new.merchant, psam=new.psam.hex(), tmk=new.tmk,
        mac_profile=new.mac_profile, single_mak=new.single_mak, open=True, batch=new.batch,
        plain_management=new.plain_management, full_batch=0,
        current_mak="", current_pik="", waiting_mak="", waiting_pik="", waiting_keys=b"",
        wrong_macs=0, key_reuses=0, blacklist=0, status_list=0, waiting_records=0,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.add(BatchRow(terminal=new.number, number=new.batch, state="OPEN", details=0, tries=0))
    events.append(tx, clock, "purse.terminal_enrolled", new.number, merchant=new.merchant)
    return row


def set_terminal(tx: Tx, clock: Clock, number: str, open_: bool) -> None:
    """Close a terminal, or open it again. Raises NotFound PURSE-TERMINAL."""
    row = tx.get(TerminalRow, number)
    if row is None:
        raise NotFound("PURSE-TERMINAL", "no such terminal", number=number)
    row.open = open_
    kind = "purse.terminal_opened" if open_ else "purse.terminal_closed"
    events.append(tx, clock, kind, number)


def _check_number(number: str, length: int) -> None:
    if len(number) != length or not number.isascii() or not number.isalnum():
        raise ValueError(f"a number of {length} letters and digits is expected")
