"""Commands on files: SELECT, reading and writing, CREATE FILE, ERASE DF (purse-card.md 2, 5, 6)."""

from cardos import filesystem as fs
from cardos.filesystem import Node
from cardos.memory import USER_AT, WHITE_AT, Change
from cardos.security import current, reader, written_data
from cardos.spec import (
    EF_HEADER,
    FID_ED,
    FID_EP,
    FID_MF,
    KEY_HEADER,
    KIND_MASK,
    MAX_DATA,
    MAX_DEPTH,
    MAX_NAME,
    MAX_RECORD,
    MF_NAME,
    MIN_NAME,
    PURSE_BODY,
    RECORD_ADD_CYCLIC,
    RECORD_BY_NUMBER,
    RECORD_BY_TAG,
    RECORD_NEW,
    SW,
    WITH_CIPHER,
    WITH_MAC,
    FileKind,
)
from cardos.state import Apdu, Chip, Sw, wrong_length
from core.tlv import Tlv

TAG_FCI, TAG_NAME, TAG_PROPRIETARY, TAG_SFI, TAG_APPLICATION = 0x6F, 0x84, 0xA5, 0x88, 0x9F0C
TRANSPORT_CODE_LENGTHS = (7, 8)  # all FF; the manual's text says 8, its example has 7
DIRECTORY_BODY, FILE_BODY = 8, 7  # of CREATE FILE; a directory's name comes behind
SSN_AT, SSN_LENGTH = 3, 4
RECORD_KINDS = (FileKind.FIXED, FileKind.VARIABLE, FileKind.CYCLIC)


# -- SELECT -----------------------------------------------------------------------------------------


def enter(chip: Chip, path: list[int]) -> None:
    """Make a directory current: its state begins at 0 (MF: at the MF state), freedom is found anew."""
    session = chip.session
    session.path = path
    session.state = session.mf_state if len(path) == 1 else 0
    session.file = None
    session.pending = None
    session.temporary = None
    session.free = next(Node(chip.memory, path[-1]).children(), None) is None


def locked_by(chip: Chip) -> int:
    """The strongest lock on the way from the MF to the current directory."""
    strongest = fs.UNLOCKED
    for at in chip.session.path:
        strongest = max(strongest, Node(chip.memory, at).lock)
    return strongest


def _fci(df: Node) -> bytes:
    content = b""
    sfi = df.application_file & 0x1F
    if df.application_file >> 5 == 0b100:
        file = df.child(sfi)
        if file is not None and file.kind == FileKind.BINARY:
            content = bytes(Tlv(TAG_APPLICATION, file.content))
    elif df.application_file >> 5 == 0 and sfi:
        content = bytes(Tlv(TAG_SFI, bytes((sfi,))))
    name = bytes(Tlv(TAG_NAME, df.name))
    answer = bytes(Tlv(TAG_FCI, name + bytes(Tlv(TAG_PROPRIETARY, content))))
    if len(answer) > MAX_DATA:  # an application file this long is read by READ BINARY only
        answer = bytes(Tlv(TAG_FCI, name + bytes(Tlv(TAG_PROPRIETARY, b""))))
    return answer


Candidates = list[tuple[Node, list[int]]]


def _children(chip: Chip) -> Candidates:
    path = chip.session.path
    return [(node, [*path, node.at]) for node in current(chip).children() if node.is_directory]


def _siblings(chip: Chip) -> Candidates:
    path = chip.session.path
    if len(path) == 1:
        return []
    parent = Node(chip.memory, path[-2])
    return [(node, [*path[:-1], node.at]) for node in parent.children() if node.is_directory]


def select(chip: Chip, command: Apdu) -> bytes:
    """00 A4: by FID (P1 00, empty = MF) or by whole name (P1 04)."""
    root = chip.session.path[:1]
    if command.p1 == 0x04:
        mf = Node(chip.memory, root[0])
        if command.data == mf.name:
            return _select_directory(chip, root, command)
        here: Candidates = [(current(chip), chip.session.path)]
        for node, path in here + _siblings(chip) + _children(chip):
            if node.name == command.data:
                return _select_directory(chip, path, command)
        raise Sw(SW.FILE_NOT_FOUND)
    fid = int.from_bytes(command.data, "big") if command.data else FID_MF
    if fid == FID_MF:
        return _select_directory(chip, root, command)
    if current(chip).fid == fid:
        return _select_directory(chip, chip.session.path, command)
    child = current(chip).child(fid)
    if child is not None and not child.is_directory:
        if locked_by(chip):
            raise Sw(SW.BLOCKED)
        chip.session.file = child.at
        return b""
    for node, path in _children(chip) + _siblings(chip):
        if node.fid == fid:
            return _select_directory(chip, path, command)
    raise Sw(SW.FILE_NOT_FOUND)


def _select_directory(chip: Chip, path: list[int], command: Apdu) -> bytes:
    enter(chip, list(path))
    if locked_by(chip):  # current all the same, so that UNBLOCK can follow
        raise Sw(SW.BLOCKED)
    answer = _fci(current(chip))
    if command.le and command.le != len(answer):
        raise wrong_length(len(answer))
    return answer


# -- which file -------------------------------------------------------------------------------------


def _file(chip: Chip, sfi: int) -> Node:
    """The EF a short id names, made current; without one the current EF. 6A82 when there is none."""
    if sfi:
        node = current(chip).child(sfi)
        if node is None or node.is_directory:
            raise Sw(SW.FILE_NOT_FOUND)
        chip.session.file = node.at
        return node
    if chip.session.file is None:
        raise Sw(SW.FILE_NOT_FOUND)
    return Node(chip.memory, chip.session.file)


def _binary(chip: Chip, command: Apdu) -> tuple[Node, int]:
    """File and offset of a binary command."""
    if command.p1 & 0x80:
        node, offset = _file(chip, command.p1 & 0x1F), command.p2
    else:
        node, offset = _file(chip, 0), command.p1 << 8 | command.p2
    if node.kind != FileKind.BINARY:
        raise Sw(SW.WRONG_KIND)
    return node, offset


def binary_p1p2(p1: int, _p2: int) -> bool:
    """P1 0xxxxxxx is an offset, 100xxxxx a short id 1 to 31."""
    return p1 < 0x80 or 0x80 < p1 < 0xA0


def _records(chip: Chip, command: Apdu) -> Node:
    node = _file(chip, command.p2 >> 3)
    if node.kind not in RECORD_KINDS:
        raise Sw(SW.WRONG_KIND)
    return node


def _number(node: Node, command: Apdu) -> int:
    """Record number from P1 and the mode bits: a number, or the first byte of a variable record."""
    if command.p2 & 7 == RECORD_BY_NUMBER:
        return command.p1
    if node.kind != FileKind.VARIABLE:
        raise Sw(SW.WRONG_KIND)
    return fs.find_record(node, command.p1)


# -- reading ----------------------------------------------------------------------------------------


def read_binary(chip: Chip, command: Apdu) -> bytes:
    """00/04 B0."""
    node, offset = _binary(chip, command)
    way = reader(chip, command, node)
    content = node.content
    rest = len(content) - offset
    if rest <= 0:
        raise Sw(SW.WRONG_OFFSET)
    wanted = command.le or min(rest, way.limit(MAX_DATA))
    if wanted > way.limit(MAX_DATA):
        raise Sw(SW.WRONG_LENGTH)
    if wanted > rest:
        raise wrong_length(rest)
    data = way.wrap(content[offset : offset + wanted])
    if not fs.binary_intact(node, content):
        raise Sw(SW.NEVER_WRITTEN, data)
    return data


def read_record(chip: Chip, command: Apdu) -> bytes:
    """00/04 B2."""
    node = _records(chip, command)
    way = reader(chip, command, node)
    _, record, sound = fs.record_at(node, _number(node, command))
    if len(record) > way.limit(MAX_DATA):
        raise Sw(SW.WRONG_LENGTH)
    if command.le and command.le != len(record):
        raise wrong_length(len(record))
    data = way.wrap(record)
    if not sound:
        raise Sw(SW.NEVER_WRITTEN, data)
    return data


# -- writing ----------------------------------------------------------------------------------------


def _check_sequence(node: Node, offset: int, data: bytes) -> None:
    """Option bits b7-b5 = 110: bytes 3-6 never decrease; equal only with the same content."""
    if node.option >> 4 & 7 != 0b110 or not node.written:
        return
    old = node.content
    new = old[:offset] + data + old[offset + len(data) :]
    window = slice(SSN_AT, SSN_AT + SSN_LENGTH)
    if new[window] < old[window] or (new[window] == old[window] and new != old):
        raise Sw(SW.NOT_SATISFIED)


def update_binary(chip: Chip, command: Apdu) -> bytes:
    """00/04 D6, also D0."""
    node, offset = _binary(chip, command)
    data = written_data(chip, command, node)
    if offset + len(data) > node.space:
        raise Sw(SW.WRONG_OFFSET)
    _check_sequence(node, offset, data)
    chip.memory.commit(fs.binary_changes(node, offset, data))
    return b""


def update_record(chip: Chip, command: Apdu) -> bytes:
    """00/04 DC: replace a record, or add the next one."""
    node = _records(chip, command)
    mode = command.p2 & 7
    adds = {RECORD_NEW: FileKind.VARIABLE, RECORD_ADD_CYCLIC: FileKind.CYCLIC}.get(mode)
    if adds is not None and node.kind != adds:
        raise Sw(SW.WRONG_KIND)
    if adds is None and node.kind == FileKind.CYCLIC:
        raise Sw(SW.WRONG_KIND)
    record = written_data(chip, command, node)
    if adds is not None:
        changes = fs.append_changes(node, record)
    else:
        number = _number(node, command)
        is_next = number == node.count + 1
        changes = (
            fs.append_changes(node, record) if is_next else fs.replace_changes(node, number, record)
        )
    chip.memory.commit(changes)
    return b""


def update_record_p1p2(p1: int, p2: int) -> bool:
    """Modes: number, tag; new and cyclic addition with P1 00."""
    mode = p2 & 7
    return mode in (RECORD_BY_NUMBER, RECORD_BY_TAG) or (
        mode in (RECORD_NEW, RECORD_ADD_CYCLIC) and p1 == 0
    )


def append_record(chip: Chip, command: Apdu) -> bytes:
    """00/04 E2."""
    node = _records(chip, command)
    chip.memory.commit(fs.append_changes(node, written_data(chip, command, node)))
    return b""


# -- CREATE FILE, ERASE DF --------------------------------------------------------------------------


def create_file(chip: Chip, command: Apdu) -> bytes:
    """80 E0 FID: a file in the current directory; 3F00 once on a white card."""
    fid = command.p1 << 8 | command.p2
    if fid == FID_MF and chip.memory.byte(WHITE_AT):
        return _create_mf(chip, command)
    df, data = current(chip), command.data
    _check_body_length(data)
    if df.child(fid) is not None or fid == FID_MF:
        raise Sw(SW.WRONG_P1P2)
    chip.demand(df.create_right)
    if data[0] == FileKind.DIRECTORY:
        changes = _new_directory(chip, fid, data)
    elif data[0] == FileKind.KEYS:
        changes = _new_key_file(df, fid, data)
    elif data[0] == FileKind.PURSE:
        changes = _new_purse(df, fid, data)
    else:
        changes = _new_file(df, fid, data)
    chip.memory.commit(changes)
    return b""


def _check_body_length(data: bytes) -> None:
    """8 bytes and the name for a directory, 7 for everything else."""
    if data[0] == FileKind.DIRECTORY:
        if not MIN_NAME <= len(data) - DIRECTORY_BODY <= MAX_NAME:
            raise Sw(SW.WRONG_LENGTH)
    elif len(data) != FILE_BODY:
        raise Sw(SW.WRONG_LENGTH)


def _create_mf(chip: Chip, command: Apdu) -> bytes:
    """The MF of a white card anew, against the transport code; replaces MF and key file."""
    data, mf = command.data, Node(chip.memory, chip.session.path[0])
    code = data[6:]
    if data[0] != FileKind.DIRECTORY or len(code) not in TRANSPORT_CODE_LENGTHS:
        raise Sw(SW.BAD_DATA)
    if any(node.kind != FileKind.KEYS for node in mf.children()):
        raise Sw(SW.WRONG_P1P2)
    if code != b"\xff" * len(code):
        raise Sw(SW.RIGHT_NOT_MET)
    own = EF_HEADER + len(MF_NAME)
    room = len(chip.memory) - USER_AT - own
    space = min(int.from_bytes(data[1:3], "big") - own, room)
    if space < 0:
        raise Sw(SW.NO_SPACE)
    header = fs.directory_header(FID_MF, space, data[3:6], MF_NAME)
    chip.memory.commit([(mf.at, header), (WHITE_AT, b"\x00")])
    chip.memory.erase(mf.body, room)
    enter(chip, [mf.at])
    return b""


def _new_directory(chip: Chip, fid: int, data: bytes) -> list[Change]:
    """A directory's space is what it takes of its parent: its own header and name are in it (2.2)."""
    name = data[DIRECTORY_BODY:]
    if len(chip.session.path) >= MAX_DEPTH:
        raise Sw(SW.BAD_DATA)
    if any(node.is_directory and node.name == name for node in current(chip).children()):
        raise Sw(SW.WRONG_P1P2)
    space = int.from_bytes(data[1:3], "big") - EF_HEADER - len(name)
    if space < 0:
        raise Sw(SW.NO_SPACE)
    header = fs.directory_header(fid, space, data[3:6], name)
    return fs.add_child(current(chip), header, space)


def _ef_header(data_type: int, fid: int, space: int, rest: bytes) -> bytes:
    return bytes((data_type,)) + fid.to_bytes(2, "big") + space.to_bytes(2, "big") + rest


def _new_key_file(df: Node, fid: int, data: bytes) -> list[Change]:
    if df.key_file() is not None:
        raise Sw(SW.WRONG_P1P2)
    space = int.from_bytes(data[1:3], "big")
    if df.used or space <= KEY_HEADER:  # the first file of its directory
        raise Sw(SW.BAD_DATA)
    header = _ef_header(data[0], fid, space, data[3:5] + b"\xff\x00\x00\x00")
    return fs.add_child(df, header, space)


def _new_purse(df: Node, fid: int, data: bytes) -> list[Change]:
    if data[1:3] != b"\x02\x08" or fid not in (FID_ED, FID_EP):
        raise Sw(SW.BAD_DATA)
    header = bytes((data[0],)) + fid.to_bytes(2, "big") + bytes((data[3], data[4], data[6]))
    changes = fs.add_child(df, header + bytes(EF_HEADER - len(header)), PURSE_BODY)
    at = changes[0][0]
    return [*changes, (at + EF_HEADER, bytes(PURSE_BODY))]


def _new_file(df: Node, fid: int, data: bytes) -> list[Change]:
    kind = data[0] & KIND_MASK
    flags = data[0] & (WITH_MAC | WITH_CIPHER)
    if kind not in (FileKind.BINARY, *RECORD_KINDS) or data[0] != kind | flags:
        raise Sw(SW.BAD_DATA)
    space, state = int.from_bytes(data[1:3], "big"), bytes(3)
    if kind in (FileKind.FIXED, FileKind.CYCLIC):
        count, length = data[1], data[2]
        if count < 2 or not 2 <= length <= MAX_RECORD:
            raise Sw(SW.BAD_DATA)
        space, state = count * (length + 1), bytes((length, 0, 0))
    elif space == 0:
        raise Sw(SW.BAD_DATA)
    header = _ef_header(data[0], fid, space, data[3:5] + data[6:7] + state)
    return fs.add_child(df, header, space)


def erase_df(chip: Chip, _command: Apdu) -> bytes:
    """80 0E: everything below the current directory goes, free creation begins again."""
    df = current(chip)
    chip.demand(df.erase_right)
    chip.memory.commit(fs.empty_change(df))
    chip.memory.erase(df.body, df.space)
    chip.session.file = None
    chip.session.pending = chip.session.sam = chip.session.temporary = None
    chip.session.free = True
    return b""
