"""What bytes mean, field by field, in both languages, with the rule they come from.

`explain_apdu`, `explain_sw` and `explain_tlv` return lines for a table or for JSON. They raise ValueError
with the offset when the bytes cannot be what they should be. PINs, MACs and cryptograms are named, not
judged: this module knows no key.
"""

from collections.abc import Callable

from cardos.explain_bodies import create_file, key_record
from cardos.explain_fields import (
    AMOUNT,
    DATE,
    KEY_ID,
    MAC,
    REST,
    TERMINAL,
    TIME,
    Part,
    Texts,
    hidden,
    key_type,
    lines_of,
    money,
    number,
    rule,
    transaction,
)
from cardos.explain_fields import Line as Line  # what every explainer returns
from cardos.spec import (
    RECORD_ADD_CYCLIC,
    RECORD_BY_NUMBER,
    RECORD_BY_TAG,
    RECORD_NEW,
    SW,
    Ins,
    sw_text,
)
from core.apdu import Command
from core.tlv import MAX_DEPTH, Tlv, parse_all

_INITIALIZE = (KEY_ID, AMOUNT, TERMINAL)
_INITIALIZE_LIMIT = (KEY_ID, TERMINAL)

# (class 80 or not, INS): English, Chinese, clause, parts of the data
_COMMANDS: dict[tuple[bool, int], tuple[str, str, str, tuple[Part, ...]]] = {
    (False, Ins.SELECT): ("SELECT", "选择文件", "6", (Part(None, "FID or name", "文件标识或名称"),)),
    (False, Ins.GET_CHALLENGE): ("GET CHALLENGE", "取随机数", "6", ()),
    (False, Ins.EXTERNAL_AUTHENTICATE): (
        "EXTERNAL AUTHENTICATE", "外部认证", "6", (Part(None, "cryptogram", "密文"),),
    ),
    (False, Ins.INTERNAL_AUTHENTICATE): ("INTERNAL AUTHENTICATE", "内部认证", "6", (REST,)),
    (False, Ins.READ_BINARY): ("READ BINARY", "读二进制", "6", (MAC,)),
    (False, Ins.UPDATE_BINARY): ("UPDATE BINARY", "写二进制", "6", (REST,)),
    (False, Ins.UPDATE_BINARY_OLD): ("UPDATE BINARY", "写二进制", "6", (REST,)),
    (False, Ins.READ_RECORD): ("READ RECORD", "读记录", "6", (MAC,)),
    (False, Ins.UPDATE_RECORD): ("UPDATE RECORD", "修改记录", "6", (REST,)),
    (False, Ins.APPEND_RECORD): ("APPEND RECORD", "追加记录", "6", (REST,)),
    (False, Ins.GET_RESPONSE): ("GET RESPONSE", "取响应", "1", ()),
    (False, Ins.VERIFY): (
        "VERIFY", "验证PIN", "7.1", (Part(None, "PIN", "PIN", hidden),),
    ),
    (True, Ins.CREATE_FILE): ("CREATE FILE", "建立文件", "2.4", (REST,)),
    (True, Ins.ERASE_DF): ("ERASE DF", "擦除目录", "6", ()),
    (True, Ins.WRITE_KEY): ("WRITE KEY", "写密钥", "4.2", (Part(None, "key record", "密钥记录"),)),
    (True, Ins.CHANGE_PIN): (
        "CHANGE or RELOAD PIN", "修改或重装PIN", "7.2",
        (Part(None, "PINs", "PIN", hidden),),
    ),
    (True, Ins.PIN_UNBLOCK): ("PIN UNBLOCK", "PIN解锁", "7.4", (REST,)),
    (True, Ins.APPLICATION_BLOCK): ("APPLICATION BLOCK", "应用锁定", "7.6", (MAC,)),
    (True, Ins.APPLICATION_UNBLOCK): ("APPLICATION UNBLOCK", "应用解锁", "7.7", (MAC,)),
    (True, Ins.CARD_BLOCK): ("CARD BLOCK", "卡片锁定", "7.8", (MAC,)),
    (True, Ins.INITIALIZE): ("INITIALIZE", "交易初始化", "8", _INITIALIZE),
    (True, Ins.CREDIT): ("CREDIT FOR LOAD", "圈存", "8.1", (DATE, TIME, MAC)),
    (True, Ins.DEBIT): (
        "DEBIT", "消费", "8.2",
        (Part(4, "terminal serial", "终端交易序号", number), DATE, TIME, MAC),
    ),
    (True, Ins.UPDATE_LIMIT): (
        "UPDATE OVERDRAFT LIMIT", "修改透支限额", "8.5",
        (Part(3, "new limit", "新限额", money), DATE, TIME, MAC),
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
            Part(1, "type", "交易类型", transaction), DATE, TIME,
            Part(1, "key version", "密钥版本", number), Part(1, "algorithm", "算法标识", number),
            Part(None, "diversification factors", "分散因子"),
        ),
    ),
    (True, Ins.CREDIT_SAM): ("CREDIT SAM FOR PURCHASE", "校验MAC2", "9.4", (MAC,)),
    (True, Ins.DERIVE_KEY): ("INIT FOR DESCRYPT", "通用DES计算初始化", "9.5", (REST,)),
    (True, Ins.CRYPT): ("DES CRYPT", "通用DES计算", "9.5", (REST,)),
}  # fmt: skip
_INITIALIZE_KINDS = {
    0x00: ("load", "圈存"), 0x01: ("purchase", "消费"), 0x02: ("cash withdrawal", "取现"),
    0x03: ("composite purchase", "复合消费"), 0x04: ("overdraft limit", "透支限额"),
    0x05: ("unload", "圈提"),
}  # fmt: skip


def _class_line(cla: int) -> Line:
    guarded = cla & 0x0F == 4
    en = "bank command" if cla & 0x80 else "ISO 7816-4 command"
    zh = "金融命令" if cla & 0x80 else "ISO 7816-4命令"
    if guarded:
        en, zh = en + " under line protection", zh + ",线路保护"
    return Line(f"{cla:02X}", "CLA", "类别", en, zh, rule("5"))


def _parameters(command: Command) -> Line:
    p1, p2 = command.p1, command.p2
    meaning = _PARAMETERS.get((bool(command.cla & 0x80), command.ins))
    en = zh = f"P1 {p1:02X}, P2 {p2:02X}"
    if meaning is not None:
        en, zh = meaning(p1, p2) or (en, zh)
    return Line(f"{p1:02X}{p2:02X}", "P1 P2", "参数", en, zh, rule("6"))


def _by_kind(p1: int, p2: int) -> Texts | None:
    kind = _INITIALIZE_KINDS.get(p1)
    if kind is None:
        return None
    en, zh = _purse(p1, p2)
    return f"{kind[0]}, {en}", f"{kind[1]},{zh}"


def _purse(_p1: int, p2: int) -> Texts:
    return ("purse ED", "电子存折") if p2 == 1 else ("purse EP", "电子钱包")


def _selection(p1: int, _p2: int) -> Texts | None:
    return {0x00: ("by file id", "按文件标识"), 0x04: ("by name", "按名称")}.get(p1)


def _binary_place(p1: int, p2: int) -> Texts:
    if p1 & 0x80:
        return f"short id {p1 & 0x1F:02X}, offset {p2}", f"短文件标识{p1 & 0x1F:02X},偏移{p2}"
    return f"current file, offset {p1 << 8 | p2}", f"当前文件,偏移{p1 << 8 | p2}"


def _record_place(p1: int, p2: int) -> Texts:
    short, mode = p2 >> 3, p2 & 7
    en, zh = (
        (f"short id {short:02X}", f"短文件标识{short:02X}")
        if short
        else ("current file", "当前文件")
    )
    which = {
        RECORD_BY_NUMBER: (f"record {p1}", f"记录{p1}"),
        RECORD_BY_TAG: (f"record with tag {p1:02X}", f"标签为{p1:02X}的记录"),
        RECORD_NEW: ("new record", "新记录"),
        RECORD_ADD_CYCLIC: ("next record of the ring", "循环文件新记录"),
    }.get(mode, ("unknown mode", "未知方式"))
    return f"{en}, {which[0]}", f"{zh},{which[1]}"


def _written_key(p1: int, p2: int) -> Texts:
    if p1 == 0x01:
        return f"add, id {p2:02X}", f"增加,标识{p2:02X}"
    if p1 == 0x00:
        return "PSAM key in usage form", "PSAM用途格式密钥"
    en, zh = key_type(bytes((p1,)))
    return f"change {en}, id {p2:02X}", f"更新{zh},标识{p2:02X}"


def _used_key(_p1: int, p2: int) -> Texts:
    return f"key id {p2:02X}", f"密钥标识{p2:02X}"


def _debited(p1: int, _p2: int) -> Texts | None:
    return {
        0x01: ("purchase or withdrawal", "消费或取现"), 0x03: ("unload", "圈提")
    }.get(p1)  # fmt: skip


def _blocked(_p1: int, p2: int) -> Texts:
    return ("for good", "永久") if p2 else ("temporary", "临时")


_PARAMETERS: dict[tuple[bool, int], Callable[[int, int], Texts | None]] = {
    (False, Ins.SELECT): _selection,
    (False, Ins.READ_BINARY): _binary_place,
    (False, Ins.UPDATE_BINARY): _binary_place,
    (False, Ins.UPDATE_BINARY_OLD): _binary_place,
    (False, Ins.READ_RECORD): _record_place,
    (False, Ins.UPDATE_RECORD): _record_place,
    (True, Ins.UPDATE_RECORD): _record_place,
    (False, Ins.EXTERNAL_AUTHENTICATE): _used_key,
    (False, Ins.INTERNAL_AUTHENTICATE): _used_key,
    (False, Ins.VERIFY): _used_key,
    (True, Ins.INITIALIZE): _by_kind,
    (True, Ins.DEBIT): _debited,
    (True, Ins.GET_BALANCE): _purse,
    (True, Ins.GET_PROOF): lambda _p1, p2: transaction(bytes((p2,))),
    (True, Ins.WRITE_KEY): _written_key,
    (True, Ins.APPLICATION_BLOCK): _blocked,
    (True, Ins.CREATE_FILE): lambda p1, p2: (f"file {p1:02X}{p2:02X}", f"文件{p1:02X}{p2:02X}"),
}


_BODIES: dict[int, Callable[[bytes], list[Line]]] = {
    Ins.CREATE_FILE: create_file,
    Ins.WRITE_KEY: key_record,
}


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
        Line(f"{command.ins:02X}", "INS", "命令", en, zh, rule(section)),
        _parameters(command),
    ]
    if command.data:
        size = len(command.data)
        text = f"{size} bytes", f"{size}字节"
        lines.append(Line(f"{size:02X}", "Lc", "数据长度", *text, rule("1")))
    lines += _data_lines(command, parts, section)
    if command.le is not None:
        text = (
            (f"{command.le} bytes", f"{command.le}字节")
            if command.le
            else ("as much as there is", "全部")
        )
        lines.append(Line(f"{command.le:02X}", "Le", "期望长度", *text, rule("1")))
    return lines


def _data_lines(command: Command, parts: tuple[Part, ...], section: str) -> list[Line]:
    if command.cla == 0x80 and command.data and command.ins in _BODIES:
        return _BODIES[command.ins](command.data)
    data, tail = command.data, b""
    if command.cla & 0x0F == 4 and len(data) > 4 and parts != (MAC,):
        data, tail = data[:-4], data[-4:]
    return lines_of(parts, data, section) + lines_of((MAC,), tail, "5")


def explain_sw(sw: int) -> Line:
    """A status word."""
    if not 0 <= sw <= 0xFFFF:
        raise ValueError("a status word has two bytes")
    en, zh = sw_text(sw)
    good = sw in (SW.OK, SW.NEVER_WRITTEN) or sw >> 8 == 0x61
    name = ("status word", "状态字") if good else ("status word, an error", "状态字(错误)")
    return Line(f"{sw:04X}", *name, en, zh, rule("16"))


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
