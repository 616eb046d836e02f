"""A message field by field in both languages, masked, for `citycard explain iso8583` and terminals' traces.

Account numbers, PIN blocks, tracks, purse data and keys are shown by length only. A message that breaks a rule is
explained as far as it can be read, and the fault stands where it was found.
"""

from cardos.explain_fields import Line
from payments import frames, iso_fields, purse_data, responses
from payments.field_parts import Original, PartFault
from payments.iso_fields import BITMAP_LENGTH, FIELDS, MTI_LENGTH, MTI_NAMES
from payments.matrix import Task, task_of
from payments.messages import Message, MessageFault, Value, masked, parse_body
from payments.purse_data import PurseConfirmation, PurseDataFault

PAGE = "iso8583-host.md"


_TASKS: dict[Task, tuple[str, str]] = {
    Task.SIGN_ON: ("sign-on", "签到"),
    Task.SIGN_OFF: ("sign-off", "签退"),
    Task.ECHO: ("echo", "回响测试"),
    Task.PARAMETERS: ("parameter download", "参数下载"),
    Task.PARAMETERS_DONE: ("parameters applied", "参数下载结束"),
    Task.LIST_PAGE: ("list download", "名单下载"),
    Task.LIST_DONE: ("list applied", "名单下载结束"),
    Task.STATUS: ("terminal status", "状态上送"),
    Task.BALANCE: ("balance of the account", "余额查询"),
    Task.LOAD: ("load", "圈存"),
    Task.UNLOAD: ("unload", "圈提"),
    Task.CONFIRM: ("load or unload confirmation", "圈存（圈提）确认"),
    Task.REVERSE: ("reversal", "冲正"),
    Task.PURCHASE: ("off-line purchase", "脱机消费上送"),
    Task.SETTLE: ("settlement", "批结算"),
    Task.DETAIL: ("batch detail", "批上送"),
    Task.PACK: ("batch detail pack", "批上送（打包）"),
    Task.BATCH_END: ("batch end", "批上送结束"),
}
_FLAGS: dict[str, tuple[str, str]] = {
    "RQ": ("load request", "圈存请求"),
    "RP": ("load answer", "圈存应答"),
    "SV": ("load confirmation", "圈存确认"),
    "SX": ("load, outcome unknown", "圈存结果未知"),
    "TA": ("off-line purchase", "脱机消费"),
    "UQ": ("unload request", "圈提请求"),
    "UP": ("unload answer", "圈提应答"),
    "UV": ("unload confirmation", "圈提确认"),
}
_REQUIREMENTS: dict[int, tuple[str, str]] = {
    0: ("nothing", "无"),
    1: ("load parameters", "下载参数"),
    2: ("send status", "上送状态"),
    3: ("sign on again", "重新签到"),
    7: ("load blacklist", "下载黑名单"),
}


_REASONS = {
    "bitmap short": "位图不完整", "not used": "未定义", "trailing bytes": "末尾多余字节", "length": "长度错误",
    "characters": "字符错误", "padding": "填充错误", "short": "不完整", "message type": "消息类型未知",
    "digits": "应为数字", "flag": "标识错误",
}  # fmt: skip


def explain_iso8583(raw: bytes) -> list[Line]:
    """The lines of a frame or of a bare body; where a fault ends the reading it stands last.

    Raises ValueError, its words in English and Chinese, when not even the first field can be told.
    """
    if raw == frames.KEEP_ALIVE:
        return [Line("0000", "keep-alive", "保活", "is the line alive", "链路检测", f"{PAGE} 2.1")]
    if not _is_frame(raw):
        return _body_lines(raw, framed=False)
    body = raw[frames.BODY_OFFSET :]
    tpdu, header = raw[2:7], raw[7 : frames.BODY_OFFSET]
    told, there = int.from_bytes(raw[:2], "big"), len(raw) - 2
    wrong = None
    if told != there:
        wrong = (
            f"the length says {told} bytes, {there} follow",
            f"长度为{told}字节，实际{there}字节",
        )
    elif not frames.FRAME_MIN <= told <= frames.FRAME_MAX:
        wrong = (
            f"a frame has 21 to 2048 bytes, not {told}",
            f"报文帧应为21至2048字节，实际{told}字节",
        )
    fault = [] if wrong is None else [_fault_line(*wrong, "2.1")]
    try:
        return [*_body_lines(body, True, tpdu, header), *fault]
    except ValueError:
        if wrong is None:
            raise
        raise ValueError(*wrong) from None


def _is_frame(raw: bytes) -> bool:
    """Whether bytes begin as a frame does: even a frame that was cut, or grew, has its TPDU behind the length."""
    if len(raw) <= frames.BODY_OFFSET or raw[2] != frames.TPDU_IDENTIFIER:
        return False
    return int.from_bytes(raw[:2], "big") + 2 == len(raw) or raw[:2].hex() not in MTI_NAMES


def _body_lines(
    body: bytes, framed: bool, tpdu: bytes = frames.TPDU, header: bytes = frames.HEADER
) -> list[Line]:
    try:
        return _lines(parse_body(body, tpdu, header), framed)
    except MessageFault as fault:
        texts = _fault_texts(fault)
        read = fault.message or _before(body, fault, tpdu, header)
        if read is None:
            raise ValueError(*texts) from None
        return [*_lines(read, framed), _fault_line(*texts, "3")]


def _before(body: bytes, fault: MessageFault, tpdu: bytes, header: bytes) -> Message | None:
    """What can be read before the field at fault: the body without it and all behind it."""
    at = MTI_LENGTH + BITMAP_LENGTH
    if len(body) < at:
        return None
    behind = 65 - fault.field if fault.field else 0
    kept = int.from_bytes(body[MTI_LENGTH:at], "big") >> behind << behind
    bitmap = kept.to_bytes(BITMAP_LENGTH, "big")
    rest = body[at:]
    while True:  # where the last good field ends only its own length tells
        try:
            return parse_body(body[:MTI_LENGTH] + bitmap + rest, tpdu, header)
        except MessageFault as left:
            if left.message is not None:
                return left.message
            if left.reason != "trailing bytes" or left.position < at:
                return None
            rest = rest[: left.position - at]


def _fault_texts(fault: MessageFault) -> tuple[str, str]:
    en = f"{fault.reason} at byte {fault.position} of the body"
    where = f"第{fault.field}域" if fault.field else ""
    return en, f"报文体第{fault.position}字节：{where}{_REASONS.get(fault.name, fault.name)}"


def _fault_line(en: str, zh: str, clause: str) -> Line:
    return Line("", "FAULT", "错误", en, zh, f"{PAGE} {clause}")


def _lines(message: Message, framed: bool) -> list[Line]:
    found: list[Line] = []
    if framed:
        found += _frame_lines(message)
    en, zh = MTI_NAMES.get(message.mti, ("unknown type", "未知类型"))
    task = task_of(message) if message.mti in iso_fields.REQUESTS else None
    if task is not None:
        en, zh = f"{en}: {_TASKS[task][0]}", f"{zh}：{_TASKS[task][1]}"
    found.append(Line(message.mti, "message type", "消息类型", en, zh, f"{PAGE} 6.1"))
    for number, value in message.fields.items():
        found.append(_field_line(number, value))
        if number == 58 and isinstance(value, bytes):
            found += _purse_lines(value)
    return found


def _frame_lines(message: Message) -> list[Line]:
    destination, source = message.tpdu[1:3].hex(), message.tpdu[3:5].hex()
    nibble = frames.requirement_of(message.header)
    en, zh = _REQUIREMENTS.get(nibble, (f"requirement {nibble}", f"处理要求{nibble}"))
    return [
        Line(
            message.tpdu.hex().upper(), "TPDU", "TPDU", f"to {destination} from {source}",
            f"目的地址{destination}，源地址{source}", f"{PAGE} 2.2",
        ),
        Line(
            message.header.hex().upper(), "header", "报文头",
            f"class {message.header[0]:02x}, host wants: {en}",
            f"应用类别{message.header[0]:02x}，处理要求：{zh}", f"{PAGE} 2.3",
        ),
    ]  # fmt: skip


def _field_line(number: int, value: Value) -> Line:
    field = FIELDS[number]
    shown = masked(number, value)
    en, zh = _meaning(number, value, shown)
    hexed = "" if field.secret or not isinstance(value, bytes) else value.hex().upper()
    return Line(
        hexed or shown, f"{number} {field.name_en}", f"{number} {field.name_zh}", en, zh,
        f"{PAGE} 3.3",
    )  # fmt: skip


def _meaning(number: int, value: Value, shown: str) -> tuple[str, str]:
    if not isinstance(value, str):
        return (f"{len(value)} bytes", f"{len(value)}字节")
    if number == 4:
        yuan = f"{int(value) // 100}.{int(value) % 100:02d}" if value.isdecimal() else shown
        return (f"{yuan} yuan", f"{yuan}元")
    if number == 39:
        return (responses.reads(value), responses.reads(value, "zh"))
    if number == 60:
        en = f"type {value[:2]}, batch {value[2:8]}, code {value[8:11]}"
        return (en, f"交易类型{value[:2]}，批次{value[2:8]}，网管码{value[8:11]}")
    if number == 61:
        return _original(value)
    return (shown, shown)


def _original(value: str) -> tuple[str, str]:
    try:
        original = Original.parse(value)
    except PartFault:
        return (value, value)
    en = f"batch {original.batch}, trace {original.trace} {original.date}".rstrip()
    return (en, f"原批次{original.batch}，原流水号{original.trace}{original.date}")


def _purse_lines(raw: bytes) -> list[Line]:
    """What field 58 says of money; card, random and MACs are left out."""
    try:
        data = purse_data.parse_purse_data(raw)
    except PurseDataFault:
        return []
    en, zh = _FLAGS[data.flag]
    rows = [(data.flag, "flag", "标识", en, zh)]
    rows.append(_money("amount", "金额", data.amount))
    rows.append(
        (f"{data.type:02X}", "type", "交易类型", f"type {data.type:02X}", f"类型{data.type:02X}")
    )
    rows.append(
        (data.psam.hex().upper(), "PSAM number", "终端机编号", data.psam.hex(), data.psam.hex())
    )
    for name, name_en, name_zh in (
        ("balance", "balance before", "交易前余额"),
        ("balance_before", "balance before", "交易前余额"),
        ("balance_after", "balance after", "交易后余额"),
    ):
        value = getattr(data, name, None)
        unknown = isinstance(data, PurseConfirmation) and data.flag == purse_data.LOAD_UNKNOWN
        if value is not None and not unknown:
            rows.append(_money(name_en, name_zh, value))
    counter = getattr(data, "counter", None)
    if counter is not None:
        rows.append(
            (f"{counter:04X}", "purse counter", "电子钱包交易序号", str(counter), str(counter))
        )
    return [Line(h, f"58 {n}", f"58 {z}", me, mz, f"{PAGE} 5") for h, n, z, me, mz in rows]


def _money(en: str, zh: str, fen: int) -> tuple[str, str, str, str, str]:
    yuan = f"{fen // 100}.{fen % 100:02d}"
    return (f"{fen:08X}", en, zh, f"{yuan} yuan", f"{yuan}元")
