"""The tampering lab: ten ways to alter an audit bundle without any key, and the check that catches each.

For training auditors (console.md 4): every alteration is made in a copy. What an operator with the HSM's own
signing key could do is in the tests, since it needs that key.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Rejected
from hsm_sim import canonical
from hsm_sim.ceremony import verifier


@dataclass(frozen=True)
class Alteration:
    """One way to tamper: a name, what it does in both languages, the codes that must fire."""

    name: str
    english: str
    chinese: str
    codes: frozenset[str]
    apply: Callable[[Path], None]
    needs_uses: bool = False


@dataclass(frozen=True)
class Trial:
    """An altered bundle and what the verifier said of it."""

    alteration: Alteration
    folder: Path
    fired: frozenset[str]

    @property
    def caught(self) -> bool:
        """All the codes that had to fire did."""
        return self.alteration.codes <= self.fired


def run_lab(bundle: Path, trust: dict[str, Any], target: Path) -> Iterator[Trial]:
    """Alter a good bundle in every way, each in a folder of its own below `target`.

    Two of the ten need uses of keys and are left out when the bundle has none. Raises Rejected (LAB-BUNDLE)
    when the bundle has findings already or no ceremony, and (AUDIT-TARGET) when the target is not empty.
    """
    honest = verifier.verify(bundle, trust)
    if honest.findings or not honest.summary["ceremonies"]:
        raise Rejected("LAB-BUNDLE", "the lab needs a good bundle with a ceremony")
    if target.exists() and any(target.iterdir()):
        raise Rejected("AUDIT-TARGET", "the folder for the lab is not empty")
    for alteration in ALTERATIONS:
        if alteration.needs_uses and not honest.summary["uses"]:
            continue
        folder = target / alteration.name
        shutil.copytree(bundle, folder)
        alteration.apply(folder)
        found = verifier.verify(folder, trust).findings
        yield Trial(alteration, folder, frozenset(entry["code"] for entry in found))


def _lines(folder: Path) -> list[bytes]:
    return (folder / "log.jsonl").read_bytes().splitlines()


def _write(folder: Path, lines: list[bytes]) -> None:
    (folder / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def _first(lines: list[bytes], kind: str) -> int:
    return next(n for n, line in enumerate(lines) if f'"type":"{kind}"'.encode() in line)


def _newest(folder: Path) -> Path:
    def size(path: Path) -> int:
        return int(path.read_text("utf-8").split("\n")[1])

    return max((folder / "checkpoints").iterdir(), key=size)


def _edit_line(folder: Path) -> None:
    lines = _lines(folder)
    place = _first(lines, "ceremony.step")
    value = canonical.decode(lines[place])
    value["body"]["result"]["kcv"] = "ABCDEF"
    lines[place] = canonical.encode(value)
    _write(folder, lines)


def _delete_line(folder: Path) -> None:
    lines = _lines(folder)
    del lines[_first(lines, "ceremony.step")]
    _write(folder, lines)


def _swap_lines(folder: Path) -> None:
    lines = _lines(folder)
    place = _first(lines, "ceremony.step")
    lines[place], lines[place + 1] = lines[place + 1], lines[place]
    _write(folder, lines)


def _cut_tail(folder: Path) -> None:
    _write(folder, _lines(folder)[:-1])


def _respell(folder: Path) -> None:
    lines = _lines(folder)
    place = _first(lines, "ceremony.step")
    lines[place] = lines[place].replace(b'":', b'": ')
    _write(folder, lines)


def _raise_checkpoint(folder: Path) -> None:
    path = _newest(folder)
    name, size, rest = path.read_text("utf-8").split("\n", 2)
    path.write_text(f"{name}\n{int(size) + 1}\n{rest}", "utf-8")


def _directory(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = folder / "keys.json"
    entries = json.loads(path.read_bytes())
    change(entries)
    path.write_bytes(canonical.encode(sorted(entries, key=lambda entry: str(entry["kid"]))))


def _add_key(folder: Path) -> None:
    def change(entries: list[dict[str, Any]]) -> None:
        entries.append({**entries[0], "kid": "ghost-01", "fp": "0" * 32, "uses": 0})

    _directory(folder, change)


def _lower_counter(folder: Path) -> None:
    def change(entries: list[dict[str, Any]]) -> None:
        used = next(entry for entry in entries if entry["uses"])
        used["uses"] -= 1

    _directory(folder, change)


def _change_script(folder: Path) -> None:
    path = min((folder / "scripts").iterdir())
    script = canonical.decode(path.read_bytes())
    script["plan"].pop()
    path.write_bytes(canonical.encode(script))


def _forget_uses(folder: Path) -> None:
    path = min((folder / "ops").iterdir())
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


NEED_USES = ("08-lowered-counter", "10-forgotten-use")
ALTERATIONS = tuple(
    Alteration(name, english, chinese, frozenset(codes.split()), apply, name in NEED_USES)
    for name, english, chinese, codes, apply in (
        ("01-edited-line", "a check value was changed in a line", "改动了一行中的校验值",
         "LOG-CHAIN CHK-ROOT", _edit_line),
        ("02-deleted-line", "a step was taken out", "删去了一个步骤", "LOG-SEQ CHK-SIZE", _delete_line),
        ("03-swapped-lines", "two steps changed places", "两个步骤互换了位置",
         "LOG-SEQ LOG-CHAIN", _swap_lines),
        ("04-cut-tail", "the last line was cut off", "截去了最后一行", "CHK-SIZE BND-EXPORT", _cut_tail),
        ("05-respelled-line", "a line says the same with spaces in it", "某行内容不变但加了空格",
         "LOG-CANON LOG-CHAIN", _respell),
        ("06-raised-checkpoint", "a checkpoint claims one line more", "检查点多报了一行",
         "CHK-SIG", _raise_checkpoint),
        ("07-ghost-key", "a key was added to the directory", "密钥目录中多了一把密钥",
         "KEY-ORIGIN BND-KEYS", _add_key),
        ("08-lowered-counter", "a key shows one use less", "某密钥少报了一次使用",
         "USE-SUM BND-KEYS", _lower_counter),
        ("09-changed-script", "a script lost its last step", "脚本少了最后一步", "CER-SCRIPT", _change_script),
        ("10-forgotten-use", "a use was taken out of the record", "使用记录中删去了一次使用",
         "USE-OPS", _forget_uses),
    )
)  # fmt: skip
