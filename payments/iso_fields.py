"""Which fields the purse dialect has, how they stand on the wire, and what may be in them (iso8583-host.md 3).

One table, read by the codec in `payments.messages` and by `citycard explain`. Lengths count digits for
`n`, `nL` and `z`, bytes for everything else; that is the most frequent mistake in public code.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

BODY_MIN = 10
MTI_LENGTH = 2
BITMAP_LENGTH = 8
MAC_FIELD = 64
MAC_LENGTH = 8


class Form(StrEnum):
    """Encoding on the wire (3.2)."""

    N = "n"  # compressed BCD, an odd count gets a 0 in front
    NL = "nL"  # compressed BCD, an odd count gets a 0 behind
    Z = "z"  # track data: like nL with D as separator
    TEXT = "ans"  # one byte per character
    CHINESE = "gb18030"
    BYTES = "b"


DIGIT_FORMS = frozenset({Form.N, Form.NL, Form.Z})


@dataclass(frozen=True)
class Field:
    """One field: `length` fixed or largest, `prefix` bytes of BCD length in front (0, 1 for LL, 2 for LLL)."""

    number: int
    form: Form
    length: int
    prefix: int
    name_en: str
    name_zh: str
    secret: bool = False

    @property
    def digits(self) -> bool:
        """Whether lengths count digits."""
        return self.form in DIGIT_FORMS


_ROWS = (
    (2, Form.NL, 19, 1, "account number", "主账号", True),
    (3, Form.N, 6, 0, "processing code", "交易处理码", False),
    (4, Form.N, 12, 0, "amount", "交易金额", False),
    (11, Form.N, 6, 0, "trace number", "受卡方系统跟踪号", False),
    (12, Form.N, 6, 0, "local time", "受卡方所在地时间", False),
    (13, Form.N, 4, 0, "local date", "受卡方所在地日期", False),
    (14, Form.N, 4, 0, "expiry", "卡有效期", True),
    (15, Form.N, 4, 0, "settlement date", "清算日期", False),
    (22, Form.NL, 3, 0, "entry mode", "服务点输入方式码", False),
    (23, Form.N, 3, 0, "card sequence", "卡序列号", False),
    (25, Form.N, 2, 0, "condition code", "服务点条件码", False),
    (26, Form.N, 2, 0, "longest PIN", "服务点PIN获取码", False),
    (32, Form.NL, 11, 1, "acquirer", "受理方标识码", False),
    (35, Form.Z, 37, 1, "track 2", "2磁道数据", True),
    (36, Form.Z, 104, 2, "track 3", "3磁道数据", True),
    (37, Form.TEXT, 12, 0, "reference number", "检索参考号", False),
    (38, Form.TEXT, 6, 0, "authorization code", "授权标识应答码", False),
    (39, Form.TEXT, 2, 0, "response code", "应答码", False),
    (41, Form.TEXT, 8, 0, "terminal", "受卡机终端标识码", False),
    (42, Form.TEXT, 15, 0, "merchant", "受卡方标识码", False),
    (44, Form.TEXT, 25, 1, "extra answer data", "附加响应数据", False),
    (48, Form.NL, 322, 2, "additional data", "附加数据", False),
    (49, Form.TEXT, 3, 0, "currency", "交易货币代码", False),
    (52, Form.BYTES, 8, 0, "PIN block", "个人标识码数据", True),
    (53, Form.N, 16, 0, "security control", "安全控制信息", False),
    (54, Form.TEXT, 20, 2, "balance", "余额", False),
    (55, Form.BYTES, 255, 2, "IC data", "IC卡数据域", True),
    (58, Form.BYTES, 100, 2, "purse data", "电子钱包标准交易信息", True),
    (59, Form.CHINESE, 600, 2, "extra data", "自定义域", False),
    (60, Form.NL, 19, 2, "transaction type and batch", "自定义域", False),
    (61, Form.NL, 29, 2, "original message", "原始信息域", False),
    (62, Form.BYTES, 512, 2, "own use", "自定义域", True),
    (63, Form.CHINESE, 163, 2, "operator or text", "自定义域", False),
    (64, Form.BYTES, 8, 0, "message MAC", "MAC", False),
)
FIELDS: dict[int, Field] = {row[0]: Field(*row) for row in _ROWS}

MTI_NAMES: dict[str, tuple[str, str]] = {
    "0200": ("financial request", "金融请求"),
    "0210": ("financial answer", "金融应答"),
    "0220": ("confirmation", "通知请求"),
    "0230": ("confirmation answer", "通知应答"),
    "0320": ("batch detail", "批上送请求"),
    "0330": ("batch detail answer", "批上送应答"),
    "0400": ("reversal", "冲正请求"),
    "0410": ("reversal answer", "冲正应答"),
    "0500": ("settlement", "结算请求"),
    "0510": ("settlement answer", "结算应答"),
    "0800": ("network management", "网络管理请求"),
    "0810": ("network management answer", "网络管理应答"),
    "0820": ("network notice", "网络管理通知"),
    "0830": ("network notice answer", "网络管理通知应答"),
}
REQUESTS = frozenset(mti for mti in MTI_NAMES if mti[2] in "02468")

DECIMAL = re.compile(r"[0-9]*")
TRACK = re.compile(r"[0-9D]*")
PRINTABLE = re.compile(r"[\x20-\x7e]*")
NO_CONTROL = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")
MINIMUM = {2: 1, 32: 1, 60: 11, 61: 12}  # shortest value of a variable field that is looked into


def fault_of(number: int, value: str | bytes) -> str | None:
    """What is wrong with a decoded value (I-4, I-5): ``digits``, ``characters`` or ``length``; None if good."""
    field = FIELDS[number]
    if isinstance(value, bytes):
        return None
    if field.form is Form.Z:
        broken = TRACK.fullmatch(value) is None
    elif field.digits:
        broken = DECIMAL.fullmatch(value) is None
    elif field.form is Form.TEXT:
        broken = PRINTABLE.fullmatch(value) is None
    else:
        broken = NO_CONTROL.fullmatch(value) is None
    if broken:
        return "digits" if field.digits else "characters"
    return "length" if len(value) < MINIMUM.get(number, 0) else None
