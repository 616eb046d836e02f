"""What bytes mean, field by field, in both languages, with the rule they come from.

`explain_apdu`, `explain_sw` and `explain_tlv` return lines for a table or for JSON. They raise ValueError
with the offset when the bytes cannot be what they should be. PINs, MACs and cryptograms are named, not
judged: this module knows no key.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cardos.spec import SW, Ins, KeyType, Transaction, sw_text
from core.apdu import Command
from core.money import format_yuan
from core.tlv import MAX_DEPTH, Tlv, parse_all


@dataclass(frozen=True)
class Line:
    """One field: its bytes in hex, its name, its meaning, the clause it comes from."""

    hex: str
    name_en: str
    name_zh: str
    meaning_en: str
    meaning_zh: str
    rule: str


@dataclass(frozen=True)
class Part:
    """A field of a command's data: `length` None takes the rest."""

    length: int | None
    en: str
    zh: str
    show: Callable[[bytes], str] = bytes.hex


def money(raw: bytes) -> str:
    return f"{format_yuan(int.from_bytes(raw, 'big'))} CNY"


def number(raw: bytes) -> str:
    return str(int.from_bytes(raw, "big"))


TRANSACTION_NAMES: dict[int, tuple[str, str]] = {  # purse-card.md 8.0
    Transaction.LOAD_ED: ("load ED", "存折圈存"),
    Transaction.LOAD_EP: ("load EP", "钱包圈存"),
    Transaction.UNLOAD: ("unload", "圈提"),
    Transaction.WITHDRAWAL: ("withdrawal", "取现"),
    Transaction.PURCHASE_ED: ("purchase ED", "存折消费"),
    Transaction.PURCHASE_EP: ("purchase EP", "钱包消费"),
    Transaction.LIMIT_CHANGE: ("limit change", "修改透支限额"),
    Transaction.COMPOSITE: ("composite", "复合消费"),
}


def _transaction(raw: bytes) -> str:
    try:
        return TRANSACTION_NAMES[Transaction(raw[0])][0]
    except ValueError:
        return "unknown type"


def _key_type(raw: bytes) -> str:
    try:
        return KeyType(raw[0] & 0x3F).name.lower().replace("_", " ")
    except ValueError:
        return "unknown key type"


_KEY_ID = Part(1, "key id", "密钥标识", number)
AMOUNT = Part(4, "amount", "金额", money)
_TERMINAL = Part(6, "terminal", "终端机编号")
_DATE = Part(4, "date", "日期")
_TIME = Part(3, "time", "时间")
_MAC = Part(4, "MAC", "MAC")
REST = Part(None, "data", "数据")
_INITIALIZE = (_KEY_ID, AMOUNT, _TERMINAL)
_INITIALIZE_LIMIT = (_KEY_ID, _TERMINAL)

# (class 80 or not, INS): English, Chinese, clause, parts of the data
_COMMANDS: dict[tuple[bool, int], tuple[str, str, str, tuple[Part, ...]]] = {
    (False, Ins.SELECT): ("SELECT", "选择文件", "6", (Part(None, "FID or name", "文件标识或名称"),)),
    (False, Ins.GET_CHALLENGE): ("GET CHALLENGE", "取随机数", "6", ()),
    (False, Ins.EXTERNAL_AUTHENTICATE): (
        "EXTERNAL AUTHENTICATE", "外部认证", "6", (Part(None, "cryptogram", "密文"),),
    ),
    (False, Ins.INTERNAL_AUTHENTICATE): ("INTERNAL AUTHENTICATE", "内部认证", "6", (REST,)),
    (False, Ins.READ_BINARY): ("READ BINARY", "读二进制", "6", (_MAC,)),
    (False, Ins.UPDATE_BINARY): ("UPDATE BINARY", "写二进制", "6", (REST,)),
    (False, Ins.UPDATE_BINARY_OLD): ("UPDATE BINARY", "写二进制", "6", (REST,)),
    (False, Ins.READ_RECORD): ("READ RECORD", "读记录", "6", (_MAC,)),
    (False, Ins.UPDATE_RECORD): ("UPDATE RECORD", "修改记录", "6", (REST,)),
    (False, Ins.APPEND_RECORD): ("APPEND RECORD", "追加记录", "6", (REST,)),
    (False, Ins.GET_RESPONSE): ("GET RESPONSE", "取响应", "1", ()),
    (False, Ins.VERIFY): (
        "VERIFY", "验证PIN", "7.1", (Part(None, "PIN", "PIN", lambda _raw: "hidden"),),
    ),
    (True, Ins.CREATE_FILE): ("CREATE FILE", "建立文件", "2.4", (REST,)),
    (True, Ins.ERASE_DF): ("ERASE DF", "擦除目录", "6", ()),
    (True, Ins.WRITE_KEY): ("WRITE KEY", "写密钥", "4.2", (Part(None, "key record", "密钥记录"),)),
    (True, Ins.CHANGE_PIN): (
        "CHANGE or RELOAD PIN", "修改或重装PIN", "7.2",
        (Part(None, "PINs", "PIN", lambda _raw: "hidden"),),
    ),
    (True, Ins.PIN_UNBLOCK): ("PIN UNBLOCK", "PIN解锁", "7.4", (REST,)),
    (True, Ins.APPLICATION_BLOCK): ("APPLICATION BLOCK", "应用锁定", "7.6", (_MAC,)),
    (True, Ins.APPLICATION_UNBLOCK): ("APPLICATION UNBLOCK", "应用解锁", "7.7", (_MAC,)),
    (True, Ins.CARD_BLOCK): ("CARD BLOCK", "卡片锁定", "7.8", (_MAC,)),
    (True, Ins.INITIALIZE): ("INITIALIZE", "交易初始化", "8", _INITIALIZE),
    (True, Ins.CREDIT): ("CREDIT FOR LOAD", "圈存", "8.1", (_DATE, _TIME, _MAC)),
    (True, Ins.DEBIT): (
        "DEBIT", "消费", "8.2",
        (Part(4, "terminal serial", "终端交易序号", number), _DATE, _TIME, _MAC),
    ),
    (True, Ins.UPDATE_LIMIT): (
        "UPDATE OVERDRAFT LIMIT", "修改透支限额", "8.5",
        (Part(3, "new limit", "新限额", money), _DATE, _TIME, _MAC),
    ),
    (True, Ins.GET_BALANCE): ("GET BALANCE", "读余额", "8.7", ()),
    (True, Ins.GET_PROOF): (
        "GET TRANSACTION PROVE", "取交易认证", "8.8", (Part(2, "serial", "交易序号", number),),
    ),
    (True, Ins.UPDATE_RECORD): ("UPDATE CAPP DATA CACHE", "更新复合应用数据缓存", "8.6", (REST,)),
    (True, Ins.INIT_SAM): (
        "INIT SAM FOR PURCHASE", "MAC1计算", "9.3",
        (
            Part(4, "card random", "卡随机数"), Part(2, "offSN", "脱机交易序号", number), AMOUNT,
            Part(1, "type", "交易类型", _transaction), _DATE, _TIME,
            Part(1, "key version", "密钥版本", number), Part(1, "algorithm", "算法标识", number),
            Part(None, "diversification factors", "分散因子"),
        ),
    ),
    (True, Ins.CREDIT_SAM): ("CREDIT SAM FOR PURCHASE", "校验MAC2", "9.4", (_MAC,)),
    (True, Ins.DERIVE_KEY): ("INIT FOR DESCRYPT", "通用DES计算初始化", "9.5", (REST,)),
    (True, Ins.CRYPT): ("DES CRYPT", "通用DES计算", "9.5", (REST,)),
}  # fmt: skip
_INITIALIZE_KINDS = {
    0x00: ("load", "圈存"), 0x01: ("purchase", "消费"), 0x02: ("cash withdrawal", "取现"),
    0x03: ("composite purchase", "复合消费"), 0x04: ("overdraft limit", "透支限额"),
    0x05: ("unload", "圈提"),
}  # fmt: skip


def _rule(section: str) -> str:
    return f"purse-card.md {section}"


def _class_line(cla: int) -> Line:
    guarded = cla & 0x0F == 4
    en = "bank command" if cla & 0x80 else "ISO 7816-4 command"
    zh = "金融命令" if cla & 0x80 else "ISO 7816-4命令"
    if guarded:
        en, zh = en + " under line protection", zh + ",线路保护"
    return Line(f"{cla:02X}", "CLA", "类别", en, zh, _rule("5"))


def _parameters(command: Command) -> Line:
    p1, p2, raw = command.p1, command.p2, f"{command.p1:02X}{command.p2:02X}"
    en = zh = f"P1 {p1:02X}, P2 {p2:02X}"
    bank = bool(command.cla & 0x80)
    if bank and command.ins == Ins.INITIALIZE and p1 in _INITIALIZE_KINDS:
        purse_en, purse_zh = ("ED", "电子存折") if p2 == 1 else ("EP", "电子钱包")
        kind_en, kind_zh = _INITIALIZE_KINDS[p1]
        en, zh = f"{kind_en}, purse {purse_en}", f"{kind_zh},{purse_zh}"
    elif not bank and command.ins in (Ins.READ_BINARY, Ins.UPDATE_BINARY) and p1 & 0x80:
        en, zh = f"short id {p1 & 0x1F:02X}, offset {p2}", f"短文件标识{p1 & 0x1F:02X},偏移{p2}"
    elif command.ins in (Ins.READ_RECORD, Ins.UPDATE_RECORD):
        en, zh = f"short id {p2 >> 3:02X}, record {p1}", f"短文件标识{p2 >> 3:02X},记录{p1}"
    elif bank and command.ins == Ins.GET_PROOF:
        en = zh = _transaction(bytes((p2,)))
    elif bank and command.ins == Ins.WRITE_KEY and p1 not in (0, 1):
        en, zh = f"change {_key_type(bytes((p1,)))} key {p2:02X}", f"更新密钥{p1:02X}/{p2:02X}"
    elif bank and command.ins == Ins.CREATE_FILE:
        en, zh = f"file {raw}", f"文件{raw}"
    return Line(raw, "P1 P2", "参数", en, zh, _rule("6"))


def explain_apdu(raw: bytes) -> list[Line]:
    """A command APDU, part by part. ValueError when the lengths do not add up."""
    command = Command.parse(raw)
    bank = bool(command.cla & 0x80)
    entry = _COMMANDS.get((bank, command.ins))
    if entry is None:
        entry = ("unknown instruction", "未知命令", "16", (REST,))
    en, zh, section, parts = entry
    if bank and command.ins == Ins.INITIALIZE and command.p1 == 0x04:
        parts = _INITIALIZE_LIMIT
    lines = [
        _class_line(command.cla),
        Line(f"{command.ins:02X}", "INS", "命令", en, zh, _rule(section)),
        _parameters(command),
    ]
    if command.data:
        size = len(command.data)
        text = f"{size} bytes", f"{size}字节"
        lines.append(Line(f"{size:02X}", "Lc", "数据长度", *text, _rule("1")))
    lines += _data_lines(command, parts, section)
    if command.le is not None:
        text = (
            (f"{command.le} bytes", f"{command.le}字节")
            if command.le
            else ("as much as there is", "全部")
        )
        lines.append(Line(f"{command.le:02X}", "Le", "期望长度", *text, _rule("1")))
    return lines


def _data_lines(command: Command, parts: tuple[Part, ...], section: str) -> list[Line]:
    data, tail = command.data, b""
    if command.cla & 0x0F == 4 and len(data) > 4 and parts != (_MAC,):
        data, tail = data[:-4], data[-4:]
    return lines_of(parts, data, section) + lines_of((_MAC,), tail, "5")


def lines_of(parts: tuple[Part, ...], data: bytes, section: str) -> list[Line]:
    """`data` cut into parts; what is left over is named so."""
    lines, at = [], 0
    for part in parts:
        value = data[at:] if part.length is None else data[at : at + part.length]
        if not value:
            break
        at += len(value)
        shown = part.show(value).upper() if part.show is bytes.hex else part.show(value)
        shown_hex = "" if shown == "hidden" else value.hex().upper()
        lines.append(Line(shown_hex, part.en, part.zh, shown, shown, _rule(section)))
    if at < len(data):
        rest = data[at:].hex().upper()
        lines.append(Line(rest, "surplus bytes", "多余字节", rest, rest, _rule(section)))
    return lines


def explain_sw(sw: int) -> Line:
    """A status word."""
    if not 0 <= sw <= 0xFFFF:
        raise ValueError("a status word has two bytes")
    en, zh = sw_text(sw)
    good = sw in (SW.OK, SW.NEVER_WRITTEN) or sw >> 8 == 0x61
    name = ("status word", "状态字") if good else ("status word, an error", "状态字(错误)")
    return Line(f"{sw:04X}", *name, en, zh, _rule("16"))


_TAGS = {
    0x6F: ("FCI template", "文件控制信息"), 0x84: ("directory name", "DF名称"),
    0xA5: ("proprietary data", "专用数据"), 0x88: ("short id of the directory file", "目录文件SFI"),
    0x9F0C: ("application file 0015", "公共应用信息文件"), 0x9F08: ("application version", "应用版本"),
    0x61: ("directory entry", "目录项"), 0x4F: ("application identifier", "应用标识AID"),
    0x50: ("application label", "应用标签"),
}  # fmt: skip


_TEXT_TAGS = (0x84, 0x50)


def explain_tlv(raw: bytes) -> list[Line]:
    """Data objects, parents before children, indented by two blanks a level."""
    lines: list[Line] = []

    def walk(data: bytes, depth: int) -> None:
        for item in parse_all(data):
            lines.append(_tag_line(item, depth))
            if item.constructed and depth + 1 < MAX_DEPTH:
                walk(item.value, depth + 1)

    walk(raw, 0)
    return lines


def _tag_line(item: Tlv, depth: int) -> Line:
    en, zh = _TAGS.get(item.tag, ("unknown tag", "未知标签"))
    indent = "  " * depth
    size = len(item.value)
    value = item.value.hex().upper()
    if item.tag in _TEXT_TAGS and item.value.isascii() and item.value.decode("ascii").isprintable():
        value += f' "{item.value.decode("ascii")}"'
    shown = (f"{size} bytes", f"{size}字节") if item.constructed else (value, value)
    return Line(f"{item.tag:02X}", indent + en, indent + zh, *shown, "ISO/IEC 7816-4")
