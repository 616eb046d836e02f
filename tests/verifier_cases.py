"""Bundles of the shared vectors as files and folders; lines, points and verifier keys that are none."""

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hsm_sim.ceremony import verifier

ROOT = Path(__file__).parents[1]
VECTORS = json.loads((ROOT / "tests/vectors/hsm-ceremony.json").read_text("utf-8"))
CEREMONY = VECTORS["ceremony"]
FILE = Path(verifier.__file__)


def bundle_files(bundle: dict[str, Any]) -> dict[str, bytes]:
    """A bundle of the vectors as files by name."""
    files = {
        "log.jsonl": "".join(line + "\n" for line in bundle["log"]),
        "keys.json": bundle["keys"],
    }
    files |= {f"checkpoints/{n:03d}.txt": text for n, text in enumerate(bundle["checkpoints"], 1)}
    files |= {f"scripts/{name}.json": text for name, text in bundle["scripts"].items()}
    files |= {f"ops/{name}.jsonl": text for name, text in bundle["ops"].items()}
    return {name: text.encode() for name, text in files.items()}


def lay_out(folder: Path, bundle: dict[str, Any]) -> Path:
    """A bundle of the vectors as a folder."""
    for name, data in bundle_files(bundle).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def patched(patch):
    bundle = {**CEREMONY["bundle"], **{name: part for name, part in patch.items() if name != "log"}}
    if "log" in patch:
        bundle["log"] = bundle["log"][: patch["log"]["keep"]] + patch["log"]["then"]
    return bundle


def alone(folder: Path, *arguments: str):
    """The copied file, run in an empty place with nothing of ours on the path."""
    program = folder / "verifier.py"
    program.write_bytes(FILE.read_bytes())
    return subprocess.run(
        [sys.executable, "-I", program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


LINES_THAT_ARE_NONE = [
    (b'"seq":3', b'"seq":3.0', "LOG-CANON"),
    (b'"seq":3', b'"seq":1e400', "LOG-CANON"),
    (b'"seq":3', b'"seq":NaN', "LOG-CANON"),
    (b'"seq":3', b'"seq":-0', "LOG-CANON"),
    (b'"seq":3', b'"seq":' + b"9" * 5000, "LOG-PARSE"),
    (b'"seq":3', b'"seq":"\\ud800"', "LOG-CANON"),
    (b'"seq":3', b'"seq":' + b"[" * 4000 + b"]" * 4000, "LOG-PARSE"),
    (b'"seq":3', b'"seq":"' + b"x" * 16_384 + b'"', "LOG-PARSE"),
    (b'"seq":3', b'"seq":true', "LOG-TYPE"),
    (b'"seq":3', b'"seq":-3', "LOG-TYPE"),
    (b'"v":1', b'"v":2', "LOG-TYPE"),
    (b'"cid":1', b'"cid":[]', "LOG-TYPE"),
    (b'"kid":"lmk-1"', b'"kid":{}', "LOG-TYPE"),
    (b'"custodian":"kc1"', b'"custodian":{"a":[]}', "QUO-CUSTODIAN"),
    (b'"quorum":{', b'"quorum":{"x":[1],', "LOG-TYPE"),
    (b'"quorum":{', b'"quorum":{"x":{"CA":-1},', "LOG-TYPE"),
    (b"\n", b"\r\n", "LOG-CANON"),
    (b"\n", b"\n\n", "LOG-PARSE"),
    (b"{", b"\xef\xbb\xbf{", "LOG-PARSE"),
    (b"{", b"\xff{", "LOG-PARSE"),
]


def _vkey(name: str, data: bytes) -> str:
    """A verifier key whose id is right, whatever its name and its data."""
    key_id = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(data).decode()}"


ED25519 = b"\x01" + bytes(range(32))
A_KEY = _vkey("hsm", ED25519)
KEYS_THAT_ARE_NONE = [
    _vkey("", ED25519),
    _vkey("an hsm", ED25519),
    _vkey("hsm", ED25519[:-1]),
    _vkey("hsm", ED25519 + b"\0"),
    _vkey("hsm", b"\x02" + ED25519[1:]),
    A_KEY.replace("hsm+", "hsn+"),
    A_KEY + "=",
]
POINTS_THAT_ARE_NONE = [
    (2).to_bytes(32, "little"),  # not on the curve
    (verifier.P + 3).to_bytes(32, "little"),  # on it, and written a second way
    (1 | 1 << 255).to_bytes(32, "little"),  # x = 0 has no sign
]
BASE64_THAT_IS_NONE = ["QQ", "QR==", "Q Q==", "QQ==\n", "é"]
