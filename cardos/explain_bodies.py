"""What CREATE FILE and WRITE KEY carry, field by field (purse-card.md 2.4, 4.1)."""

from cardos.explain_fields import Line, Part, Texts, hidden, key_type, lines_of, number, right
from cardos.spec import KIND_MASK, WITH_CIPHER, WITH_MAC, FileKind, KeyType

_KINDS: dict[int, Texts] = {
    FileKind.DIRECTORY: ("directory", "目录文件"),
    FileKind.BINARY: ("binary file", "二进制文件"),
    FileKind.FIXED: ("fixed-length records", "定长记录文件"),
    FileKind.VARIABLE: ("variable-length records", "变长记录文件"),
    FileKind.CYCLIC: ("cyclic records", "循环记录文件"),
    FileKind.PURSE: ("purse", "钱包文件"),
    FileKind.KEYS: ("key file", "密钥文件"),
}
_LEAST_RECORD = 5  # type, use, change and two more stand before a key


def _kind(raw: bytes) -> Texts:
    value = raw[0]
    whole = value in (FileKind.DIRECTORY, FileKind.PURSE, FileKind.KEYS)
    kind = value if whole else value & KIND_MASK
    en, zh = _KINDS.get(kind, ("unknown type", "未知类型"))
    if not whole and value & WITH_MAC:
        en, zh = en + ", MAC", zh + ",MAC保护"
    if not whole and value & WITH_CIPHER:
        en, zh = en + ", encrypted", zh + ",加密保护"
    return en, zh


def _application_file(raw: bytes) -> Texts:
    short, top = raw[0] & 0x1F, raw[0] >> 5
    if top == 0b100 and short:
        return f"file {short:04X} is shown in tag 9F0C", f"文件{short:04X}在标签9F0C中返回"
    if top == 0 and short:
        return f"directory file {short:02X}, tag 88", f"目录数据文件{short:02X},标签88"
    return "none", "无"


def _option(raw: bytes) -> Texts:
    value = raw[0]
    en, zh = (
        ("plain reading", "允许明文读")
        if value & 0x80
        else ("protected reading only", "必须线路保护读")
    )
    reading, writing = 3 - (value >> 2 & 3), 3 - (value & 3)
    en += f", line key {reading:02X} to read, {writing:02X} to write"
    zh += f",读密钥{reading:02X},写密钥{writing:02X}"
    if value >> 4 & 7 == 0b110:
        en, zh = en + ", bytes 3-6 must not decrease", zh + ",3-6字节不得减小"
    return en, zh


def _ascii(raw: bytes) -> Texts:
    text = raw.hex().upper()
    if raw.isascii() and raw.decode("ascii").isprintable():
        text += f' "{raw.decode("ascii")}"'
    return text, text


_TYPE = Part(1, "type", "文件类型", _kind)
_SPACE = Part(2, "space", "文件空间", number)
_READ, _WRITE = Part(1, "read right", "读权限", right), Part(1, "write right", "写权限", right)
_RESERVED = Part(1, "reserved", "保留")
_OPTION = Part(1, "option", "选项", _option)
_TAIL = (_READ, _WRITE, _RESERVED, _OPTION)
_RECORDS = (
    Part(1, "records", "记录数", number),
    Part(1, "record length", "记录长度", number),
    *_TAIL,
)
_BODIES: dict[int, tuple[Part, ...]] = {
    FileKind.DIRECTORY: (
        _SPACE,
        Part(1, "create right", "建立权限", right),
        Part(1, "erase right", "擦除权限", right),
        Part(1, "application file", "应用文件标识", _application_file),
        Part(2, "reserved", "保留"),
        Part(None, "name", "目录名称", _ascii),
    ),
    FileKind.KEYS: (
        _SPACE,
        Part(1, "directory's short id", "DF短标识", _application_file),
        Part(1, "right to add keys", "增加密钥权限", right),
        Part(2, "reserved", "保留"),
    ),
    FileKind.PURSE: (
        Part(2, "fixed", "固定值"),
        Part(1, "use right", "使用权限", right),
        Part(1, "TAC key id", "TAC密钥标识", number),
        _RESERVED,
        Part(1, "log file", "明细文件短标识", number),
    ),
    FileKind.FIXED: _RECORDS,
    FileKind.CYCLIC: _RECORDS,
    FileKind.BINARY: (_SPACE, *_TAIL),
    FileKind.VARIABLE: (_SPACE, *_TAIL),
}


def create_file(data: bytes) -> list[Line]:
    """The body of CREATE FILE."""
    whole = data[0] in (FileKind.DIRECTORY, FileKind.PURSE, FileKind.KEYS)
    parts = _BODIES.get(data[0] if whole else data[0] & KIND_MASK, ())
    return lines_of((_TYPE, *parts), data, "2.4")


_USE, _CHANGE = Part(1, "use right", "使用权限", right), Part(1, "change right", "更改权限", right)
_KEY = Part(None, "key", "密钥", hidden)


def _counter(raw: bytes) -> Texts:
    most, left = raw[0] >> 4, raw[0] & 0xF
    return f"{left} of {most} tries", f"共{most}次,剩余{left}次"


_COUNTED = (
    _USE,
    _CHANGE,
    Part(1, "next state", "后续状态"),
    Part(1, "error counter", "错误计数", _counter),
    _KEY,
)
_VERSIONED = (
    _USE,
    _CHANGE,
    Part(1, "version", "密钥版本", number),
    Part(1, "algorithm", "算法标识", number),
    _KEY,
)
_WITH_COUNTER = (
    KeyType.LINE,
    KeyType.PIN_UNBLOCK,
    KeyType.PIN_RELOAD,
    KeyType.CONTROL,
    KeyType.PIN,
)


def key_record(data: bytes) -> list[Line]:
    """The plain form of WRITE KEY; the key itself is never shown."""
    parts = _COUNTED if data[0] & KIND_MASK in _WITH_COUNTER else _VERSIONED
    return lines_of((Part(1, "type", "密钥类型", key_type), *parts), data, "4.1")
