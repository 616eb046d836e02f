"""What a card's answer means: the fields of its data in the light of the command, then the status word."""

from cardos.explain import explain_apdu, explain_sw, explain_tlv
from cardos.explain_fields import (
    AMOUNT,
    DATE,
    MAC,
    REST,
    TERMINAL,
    TIME,
    Line,
    Part,
    lines_of,
    money,
    number,
    transaction,
)
from cardos.spec import MAC_LENGTH, Ins
from core.apdu import Command, Response

_BALANCE = Part(4, "balance", "余额", money)
_ON, _OFF = (
    Part(2, "onSN", "联机交易序号", number),
    Part(2, "offSN", "脱机交易序号", number),
)
_LIMIT = Part(3, "overdraft limit", "透支限额", money)
_VERSION, _ALGORITHM = (
    Part(1, "key version", "密钥版本", number),
    Part(1, "algorithm", "算法标识", number),
)
_RANDOM = Part(4, "card random", "卡随机数")
_MAC1, _MAC2, _MAC3, _TAC = (Part(4, name, name) for name in ("MAC1", "MAC2", "MAC3", "TAC"))
_ONLINE = (_BALANCE, _ON, _VERSION, _ALGORITHM, _RANDOM, _MAC1)
_OFFLINE = (_BALANCE, _OFF, _LIMIT, _VERSION, _ALGORITHM, _RANDOM)
_CHANGE = (_BALANCE, _ON, _LIMIT, _VERSION, _ALGORITHM, _RANDOM, _MAC1)

# INITIALIZE by P1, then the bank commands by INS
_INITIALIZE = {0x00: _ONLINE, 0x05: _ONLINE, 0x04: _CHANGE}
_ANSWERS: dict[int, tuple[str, tuple[Part, ...]]] = {
    Ins.CREDIT: ("8.1", (_TAC,)),
    Ins.UPDATE_LIMIT: ("8.5", (_TAC,)),
    Ins.GET_PROOF: ("8.8", (Part(4, "MAC2 or MAC3", "MAC2或MAC3"), _TAC)),
    Ins.GET_BALANCE: ("8.7", (_BALANCE,)),
    Ins.INIT_SAM: ("9.3", (Part(4, "terminal serial", "终端交易序号", number), _MAC1)),
}
_LOG = (
    Part(2, "serial after", "交易序号", number),
    _LIMIT,
    AMOUNT,
    Part(1, "type", "交易类型", transaction),
    TERMINAL,
    DATE,
    TIME,
)
LOG_SHORT_ID = 0x18
LOG_LENGTH = 23


def explain_exchange(raw: bytes, answer: bytes) -> list[Line]:
    """A command and the card's answer. ValueError when either cannot be what it should be."""
    command, response = Command.parse(raw), Response.parse(answer)
    lines = explain_apdu(raw)
    if response.data:
        lines += _data(command, response.data)
    return [*lines, explain_sw(response.sw)]


def _data(command: Command, data: bytes) -> list[Line]:
    bank, ins = bool(command.cla & 0x80), command.ins
    if not bank and ins == Ins.SELECT:
        return explain_tlv(data)
    section: str = "6"
    parts: tuple[Part, ...] = (REST,)
    if bank and ins == Ins.INITIALIZE:
        section, parts = "8", _INITIALIZE.get(command.p1, _OFFLINE)
    elif bank and ins == Ins.DEBIT:
        section, parts = ("8.4", (_MAC3,)) if command.p1 == 0x03 else ("8.2", (_TAC, _MAC2))
    elif bank:
        section, parts = _ANSWERS.get(ins, (section, parts))
    elif ins == Ins.READ_RECORD and command.p2 >> 3 == LOG_SHORT_ID and len(data) == LOG_LENGTH:
        section, parts = "8.9", _LOG
    if not bank and command.cla & 0x0F == 0x04 and len(data) > MAC_LENGTH:
        body, mac = data[:-MAC_LENGTH], data[-MAC_LENGTH:]
        return lines_of(parts, body, section) + lines_of((MAC,), mac, "5")
    return lines_of(parts, data, section)
