"""The requests a terminal sends, each built from what it knows (iso8583-host.md 6.1, 6.2, 7).

Every builder gives a `Message` without field 64; `payments.messages.build(message, mac)` seals it. `Station`
holds what all messages of one terminal share.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from payments import field_parts, frames
from payments.field_parts import Original, Totals, field60
from payments.messages import Message, Value
from payments.purse_data import LOAD_UNKNOWN, PurchaseEvidence, PurseConfirmation, PurseRequest

CURRENCY = "156"
WITH_PIN, WITHOUT_PIN, TAP = "051", "052", "072"
PURSE = "91"
PIN_LENGTH = "12"
PIN_CONTROL = "2600000000000000"

# Field 60.1 of the transactions, and their processing codes (field 3).
BALANCE, PURCHASE, LOAD, CASH_LOAD, OTHER_LOAD, UNLOAD = "01", "36", "40", "41", "42", "43"
PROCESSING = {
    BALANCE: "310000",
    PURCHASE: "000000",
    LOAD: "600000",
    CASH_LOAD: "630000",
    OTHER_LOAD: "620000",
    UNLOAD: "610000",
}
# Field 60.3; financial messages have none.
NO_FUNCTION = "000"
SIGN_ON, SIGN_OFF, ECHO = "003", "002", "301"
PARAMETERS, PARAMETERS_DONE, STATUS = "360", "361", "362"
BLACKLIST, BLACKLIST_DONE, STATUS_LIST, STATUS_LIST_DONE = "390", "391", "392", "393"
SETTLEMENT, DETAIL, DETAIL_BALANCED, PACK = "201", "205", "203", "201"
END_BALANCED, END_UNBALANCED = "207", "202"
# Field 39 of a reversal: why.
NO_ANSWER, TERMINAL_FAULT, WRONG_MAC, OTHER_REASON = "98", "96", "A0", "06"


@dataclass(frozen=True)
class Station:
    """A terminal as its messages show it: fields 41 and 42, its batch, TPDU and header."""

    terminal: str
    merchant: str
    batch: str
    tpdu: bytes = frames.TPDU
    header: bytes = frames.HEADER

    def message(
        self, mti: str, trace: str, sixty: str, fields: Mapping[int, Value | None]
    ) -> Message:
        """A message of this terminal."""
        shared: dict[int, Value | None] = {
            11: trace,
            41: self.terminal,
            42: self.merchant,
            60: sixty,
        }
        return Message.of(mti, {**shared, **fields}, self.tpdu, self.header)

    def _network(
        self,
        mti: str,
        trace: str,
        function: str,
        own: bytes | None = None,
        operator: str | None = None,
    ) -> Message:
        return self.message(
            mti, trace, field60("00", self.batch, function, ""), {62: own, 63: operator}
        )

    def sign_on(self, trace: str, device: str | None = None, operator: str = "01 ") -> Message:
        """0800 / 003: ask for work keys (no MAC)."""
        own = None if device is None else field_parts.sequence_number(device)
        return self._network("0800", trace, SIGN_ON, own, operator)

    def sign_off(self, trace: str) -> Message:
        """0820 / 002."""
        return self._network("0820", trace, SIGN_OFF)

    def echo(self, trace: str) -> Message:
        """0820 / 301 (no MAC)."""
        return self._network("0820", trace, ECHO)

    def parameters(self, trace: str) -> Message:
        """0800 / 360."""
        return self._network("0800", trace, PARAMETERS)

    def parameters_done(self, trace: str) -> Message:
        """0800 / 361: all parameters were applied."""
        return self._network("0800", trace, PARAMETERS_DONE)

    def list_page(self, trace: str, ask: field_parts.ListAsk) -> Message:
        """0800 / 390 or 392: the next page of a list."""
        function = BLACKLIST if ask.letters == field_parts.LIST_BLACK else STATUS_LIST
        return self._network("0800", trace, function, bytes(ask))

    def list_done(self, trace: str, letters: str, version: int) -> Message:
        """0800 / 391 or 393: a list was applied."""
        function = BLACKLIST_DONE if letters == field_parts.LIST_BLACK else STATUS_LIST_DONE
        return self._network("0800", trace, function, field_parts.list_done(letters, version))

    def status(self, trace: str, values: Mapping[str, str]) -> Message:
        """0820 / 362: waiting records, list version, PSAM counter, clock (7.10)."""
        return self._network("0820", trace, STATUS, field_parts.items(values))

    def balance(self, trace: str, account: str, pin_block: bytes) -> Message:
        """0200 / 310000: what the funding account holds."""
        fields: dict[int, Value | None] = {
            2: account, 3: PROCESSING[BALANCE], 22: WITH_PIN, 25: "00", 26: PIN_LENGTH,
            49: CURRENCY, 52: pin_block, 53: PIN_CONTROL,
        }  # fmt: skip
        return self.message("0200", trace, field60(BALANCE, self.batch), fields)

    def load(
        self,
        trace: str,
        request: PurseRequest,
        kind: str = LOAD,
        account: str | None = None,
        pin_block: bytes | None = None,
    ) -> Message:
        """0200 with RQ or UQ: load (40, 41 cash, 42 other account) or unload (43)."""
        fields: dict[int, Value | None] = {
            2: account, 3: PROCESSING[kind], 4: f"{request.amount:012d}",
            22: WITHOUT_PIN if pin_block is None else WITH_PIN, 25: PURSE,
            26: None if pin_block is None else PIN_LENGTH, 49: CURRENCY, 52: pin_block,
            53: None if pin_block is None else PIN_CONTROL, 58: bytes(request),
        }  # fmt: skip
        return self.message("0200", trace, field60(kind, self.batch), fields)

    def confirmation(
        self, trace: str, request: Message, reference: str, evidence: PurseConfirmation, date: str
    ) -> Message:
        """0220 with SV, SX or UV for the load or unload `request`; `reference` and `date` of its answer."""
        original = Original(request.batch, request.trace, date)
        fields: dict[int, Value | None] = {
            3: request.text(3), 4: request.text(4), 22: request.text(22), 25: PURSE,
            37: reference, 49: CURRENCY, 58: bytes(evidence), 61: str(original),
        }  # fmt: skip
        return self.message("0220", trace, field60(request.kind, self.batch), fields)

    def purchase(self, trace: str, evidence: PurchaseEvidence) -> Message:
        """0200 / type 36 with TA: one off-line purchase."""
        return self.message(
            "0200", trace, field60(PURCHASE, self.batch), _purchase_fields(evidence)
        )

    def settlement(self, trace: str, totals: Totals, operator: str = "01 ") -> Message:
        """0500 / 201: the batch's totals."""
        fields: dict[int, Value | None] = {
            48: totals.field48(), 49: CURRENCY, 63: totals.field63(operator),
        }  # fmt: skip
        return self.message("0500", trace, field60("00", self.batch, SETTLEMENT, ""), fields)

    def detail(self, original: Message, balanced: bool = False) -> Message:
        """0320: one record of the batch again, same trace number and same 58 as its first upload (12.3)."""
        function = DETAIL_BALANCED if balanced else DETAIL
        copied = {number: original.fields.get(number) for number in (3, 4, 22, 25, 49, 58)}
        return self.message(
            "0320", original.trace, field60(original.kind, original.batch, function), copied
        )

    def batch_end(self, trace: str, count: int, balanced: bool) -> Message:
        """0320 / 207 or 202: how many details were sent."""
        function = END_BALANCED if balanced else END_UNBALANCED
        return self.message(
            "0320", trace, field60("00", self.batch, function, ""), {48: f"{count:04d}"}
        )


def _purchase_fields(evidence: PurchaseEvidence) -> dict[int, Value | None]:
    return {
        3: PROCESSING[PURCHASE], 4: f"{evidence.amount:012d}", 22: TAP, 25: PURSE,
        49: CURRENCY, 58: bytes(evidence),
    }  # fmt: skip


def reversal(request: Message, reason: str, date: str = "") -> Message:
    """0400 for a load or unload: same 2, 3, 4, 11, 22, 25, 41, 42, 49, 58, 60 as its request (8.2).

    `reason`: 98 no answer, 96 terminal or card fault, A0 answer with a wrong MAC, 06 other.
    """
    copied = (2, 3, 4, 11, 22, 25, 41, 42, 49, 58, 60)
    fields: dict[int, Value | None] = {number: request.fields.get(number) for number in copied}
    fields |= {39: reason, 61: str(Original(request.batch, request.trace, date))}
    return Message.of("0400", fields, request.tpdu, request.header)


def unknown_outcome(request: PurseRequest, date: bytes, time: bytes) -> PurseConfirmation:
    """SX: MAC2 went to the card and its answer never came (7.4 step 7)."""
    return PurseConfirmation(
        LOAD_UNKNOWN, request.issuer, request.asn, request.random, request.key_index,
        request.key_version, request.counter, request.amount, request.type, request.psam,
        date, time, bytes(4), 0xFFFFFFFF, request.algorithm,
    )  # fmt: skip
