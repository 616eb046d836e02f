"""Fields of explained bytes: a line for a table or JSON, and how values are shown in both languages."""

from collections.abc import Callable
from dataclasses import dataclass

from cardos.spec import KIND_MASK, KeyType, Transaction
from core.money import format_yuan

HIDDEN = ("hidden", "不显示")
Texts = tuple[str, str]  # English, Chinese


@dataclass(frozen=True)
class Line:
    """One field: its bytes in hex, its name, its meaning, the clause it comes from."""

    hex: str
    name_en: str
    name_zh: str
    meaning_en: str
    meaning_zh: str
    rule: str


def plain(raw: bytes) -> Texts:
    """The bytes themselves."""
    return (raw.hex().upper(),) * 2


@dataclass(frozen=True)
class Part:
    """A field of a command's data: `length` None takes the rest. `show` gives both languages."""

    length: int | None
    en: str
    zh: str
    show: Callable[[bytes], Texts] = plain


def rule(section: str) -> str:
    """The clause a line comes from."""
    return f"purse-card.md {section}"


def lines_of(parts: tuple[Part, ...], data: bytes, section: str) -> list[Line]:
    """`data` cut into parts; what is left over is named so. Hidden values show no bytes."""
    lines, at = [], 0
    for part in parts:
        value = data[at:] if part.length is None else data[at : at + part.length]
        if not value:
            break
        at += len(value)
        shown = part.show(value)
        raw = "" if shown == HIDDEN else value.hex().upper()
        lines.append(Line(raw, part.en, part.zh, *shown, rule(section)))
    if at < len(data):
        rest = data[at:].hex().upper()
        lines.append(Line(rest, "surplus bytes", "多余字节", rest, rest, rule(section)))
    return lines


def hidden(_raw: bytes) -> Texts:
    """PINs and keys."""
    return HIDDEN


def money(raw: bytes) -> Texts:
    """Fen as yuan."""
    return (f"{format_yuan(int.from_bytes(raw, 'big'))} CNY",) * 2


def number(raw: bytes) -> Texts:
    """A big-endian number."""
    return (str(int.from_bytes(raw, "big")),) * 2


def date(raw: bytes) -> Texts:
    """YYYYMMDD in BCD."""
    text = raw.hex()
    return (f"{text[:4]}-{text[4:6]}-{text[6:]}",) * 2


def time(raw: bytes) -> Texts:
    """HHMMSS in BCD."""
    text = raw.hex()
    return (f"{text[:2]}:{text[2:4]}:{text[4:]}",) * 2


TRANSACTION_NAMES: dict[int, Texts] = {  # purse-card.md 8.0
    Transaction.LOAD_ED: ("load ED", "存折圈存"),
    Transaction.LOAD_EP: ("load EP", "钱包圈存"),
    Transaction.UNLOAD: ("unload", "圈提"),
    Transaction.WITHDRAWAL: ("withdrawal", "取现"),
    Transaction.PURCHASE_ED: ("purchase ED", "存折消费"),
    Transaction.PURCHASE_EP: ("purchase EP", "钱包消费"),
    Transaction.LIMIT_CHANGE: ("limit change", "修改透支限额"),
    Transaction.COMPOSITE: ("composite", "复合消费"),
}

_KEY_NAMES: dict[int, Texts] = {  # purse-card.md 4.1
    KeyType.ENCRYPT: ("internal authentication, encrypts", "内部认证加密密钥"),
    KeyType.DECRYPT: ("internal authentication, decrypts", "内部认证解密密钥"),
    KeyType.MAC: ("internal authentication, MAC", "内部认证MAC密钥"),
    KeyType.TAC: ("TAC key DTK", "交易认证码密钥DTK"),
    KeyType.LINE: ("line protection DAMK", "线路保护密钥DAMK"),
    KeyType.PIN_UNBLOCK: ("PIN unblock DPUK", "PIN解锁密钥DPUK"),
    KeyType.PIN_RELOAD: ("PIN reload DRPK", "PIN重装密钥DRPK"),
    KeyType.CONTROL: ("external authentication", "外部认证密钥"),
    KeyType.PIN: ("PIN", "口令PIN"),
    KeyType.OVERDRAFT: ("overdraft change DUK", "修改透支限额密钥DUK"),
    KeyType.UNLOAD: ("unload DULK", "圈提密钥DULK"),
    KeyType.PURCHASE: ("purchase DPK", "消费密钥DPK"),
    KeyType.LOAD: ("load DLK", "圈存密钥DLK"),
}


def transaction(raw: bytes) -> Texts:
    """A transaction's type code."""
    return TRANSACTION_NAMES.get(raw[0], ("unknown type", "未知类型"))


def key_type(raw: bytes) -> Texts:
    """A key's type byte, with its protection bits."""
    en, zh = _KEY_NAMES.get(raw[0] & KIND_MASK, ("unknown key type", "未知密钥类型"))
    if raw[0] & 0xC0 == 0xC0:
        return f"{en}; may be changed encrypted with MAC only", f"{zh};仅可密文加MAC更新"
    return en, zh


def right(raw: bytes) -> Texts:
    """A right byte XY (purse-card.md 3)."""
    high, low = raw[0] >> 4, raw[0] & 0xF
    if high == 0:
        return f"MF state {low} or more", f"MF安全状态不低于{low}"
    if low > high:
        return "never", "禁止"
    if (high, low) == (0xF, 0):
        return "always", "自由"
    if high == 0xF:
        return f"state {low} or more", f"安全状态不低于{low}"
    if high == low:
        return f"only in state {low}", f"仅在安全状态{low}"
    return f"state {low} to {high}", f"安全状态{low}至{high}"


AMOUNT = Part(4, "amount", "金额", money)
KEY_ID = Part(1, "key id", "密钥标识", number)
TERMINAL = Part(6, "terminal", "终端机编号")
DATE = Part(4, "date", "日期", date)
TIME = Part(3, "time", "时间", time)
MAC = Part(4, "MAC", "MAC")
REST = Part(None, "data", "数据")
