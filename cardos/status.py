"""Status words of the chip with their meaning in both languages (purse-card.md 16)."""

from enum import IntEnum


class SW(IntEnum):
    """Status words without a counter in them; 61xx, 6Cxx and 63Cx are built by functions below."""

    OK = 0x9000
    NEVER_WRITTEN = 0x6281
    DAMAGED = 0x6283
    UNCHANGED = 0x6400
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    CLASS_AGAINST_PROTECTION = 0x6900
    WRONG_STATE = 0x6901
    WRONG_KIND = 0x6981
    RIGHT_NOT_MET = 0x6982
    LOCKED = 0x6983
    NO_CHALLENGE = 0x6984
    NOT_SATISFIED = 0x6985
    PROTECTION_MISSING = 0x6987
    MAC_WRONG = 0x6988
    BAD_DATA = 0x6A80
    BLOCKED = 0x6A81
    FILE_NOT_FOUND = 0x6A82
    RECORD_NOT_FOUND = 0x6A83
    NO_SPACE = 0x6A84
    WRONG_P1P2 = 0x6A86
    KEY_NOT_FOUND = 0x6A88
    WRONG_OFFSET = 0x6B00
    UNKNOWN_INS = 0x6D00
    UNKNOWN_CLA = 0x6E00
    AMOUNT_LIMIT = 0x9301
    PURSE_MAC_WRONG = 0x9302
    LOCKED_FOR_EVER = 0x9303
    NOT_ENOUGH_MONEY = 0x9401
    COUNTER_EXHAUSTED = 0x9402
    NO_SUCH_KEY_VERSION = 0x9403
    NO_PROOF = 0x9406


SW_TEXTS: dict[int, tuple[str, str]] = {
    SW.OK: ("done", "成功"),
    SW.NEVER_WRITTEN: ("data given, file never written or checksum wrong", "数据未写过或校验错误"),
    SW.DAMAGED: ("selected file or key damaged", "所选文件或密钥损坏"),
    SW.UNCHANGED: ("state not changed", "状态未改变"),
    SW.MEMORY_FAILURE: ("memory failure", "存储器故障"),
    SW.WRONG_LENGTH: ("wrong length", "长度错误"),
    SW.CLASS_AGAINST_PROTECTION: (
        "class does not fit the file's line protection",
        "CLA与线路保护不符",
    ),
    SW.WRONG_STATE: ("purse command in the wrong state", "交易状态不符"),
    SW.WRONG_KIND: ("file or key of the wrong kind", "文件或密钥类型不符"),
    SW.RIGHT_NOT_MET: ("access right not met", "不满足安全状态"),
    SW.LOCKED: ("key or PIN locked", "密钥或PIN已锁定"),
    SW.NO_CHALLENGE: ("no challenge was fetched", "未取随机数"),
    SW.NOT_SATISFIED: ("condition of use not met", "使用条件不满足"),
    SW.PROTECTION_MISSING: ("line protection missing", "缺少线路保护"),
    SW.MAC_WRONG: ("MAC wrong", "MAC错误"),
    SW.BAD_DATA: ("bad data field", "数据域错误"),
    SW.BLOCKED: ("card or application blocked", "卡片或应用已锁定"),
    SW.FILE_NOT_FOUND: ("file not found", "文件不存在"),
    SW.RECORD_NOT_FOUND: ("record not found", "记录不存在"),
    SW.NO_SPACE: ("not enough space", "空间不足"),
    SW.WRONG_P1P2: ("wrong P1 P2, or the file exists", "P1 P2错误或文件已存在"),
    SW.KEY_NOT_FOUND: ("key not found", "密钥不存在"),
    SW.WRONG_OFFSET: ("offset outside the file", "偏移超出文件"),
    SW.UNKNOWN_INS: ("unknown instruction", "INS不支持"),
    SW.UNKNOWN_CLA: ("unknown class", "CLA不支持"),
    SW.AMOUNT_LIMIT: ("amount limit", "超出金额限制"),
    SW.PURSE_MAC_WRONG: ("MAC wrong (purse, key, PIN reload, PSAM)", "交易MAC错误"),
    SW.LOCKED_FOR_EVER: ("application locked for ever", "应用永久锁定"),
    SW.NOT_ENOUGH_MONEY: ("not enough money", "金额不足"),
    SW.COUNTER_EXHAUSTED: ("transaction counter at its end", "交易计数器已满"),
    SW.NO_SUCH_KEY_VERSION: ("key id or version not found", "密钥索引不支持"),
    SW.NO_PROOF: ("no such transaction proof", "所需交易认证不可用"),
}


def tries_left(sw: int) -> int | None:
    """x of 63Cx, else None."""
    return sw & 0xF if sw & 0xFFF0 == 0x63C0 else None


def sw_text(sw: int) -> tuple[str, str]:
    """What a status word means, English and Chinese; unknown ones are named as such."""
    left = tries_left(sw)
    if left is not None:
        return (f"wrong PIN or key, {left} tries left", f"PIN或密钥错误,剩余{left}次")
    if sw >> 8 == 0x61:
        return (f"{sw & 0xFF} bytes wait for GET RESPONSE", f"有{sw & 0xFF}字节待取")
    if sw >> 8 == 0x6C:
        return (f"send again with Le = {sw & 0xFF}", f"Le应为{sw & 0xFF}")
    return SW_TEXTS.get(sw, ("unknown status word", "未知状态字"))
