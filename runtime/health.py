"""What this machine offers: fonts, PC/SC, database, browser. Read by ``citycard doctor`` and by the demo."""

import importlib.util
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

VPCD_DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
PCSCD = Path("/usr/sbin/pcscd")
FONT_FOLDER = Path("/usr/share/fonts/opentype/noto")
MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True)
class Check:
    """One thing looked at. `needed` False: the city runs without it, with less."""

    name: str
    ok: bool
    found: str
    fix: str
    needed: bool = True


def pcsc_available() -> bool:
    """Whether real PC/SC can be used here: daemon, virtual reader driver and Python binding."""
    return all(check.ok for check in _pcsc())


def _pcsc() -> list[Check]:
    binding = importlib.util.find_spec("smartcard") is not None
    return [
        Check(
            "pcscd", PCSCD.exists(), str(PCSCD), "apt-get install pcscd", needed=False
        ),
        Check(
            "virtual card reader", VPCD_DRIVER.exists(), str(VPCD_DRIVER),
            "apt-get install vsmartcard-vpcd", needed=False,
        ),
        Check(
            "pyscard", binding, "installed" if binding else "not installed",
            "apt-get install swig gcc libpcsclite-dev python3-dev, then make setup", needed=False,
        ),
    ]  # fmt: skip


def checks() -> list[Check]:
    """Everything, in the order a newcomer would mend it."""
    version = ".".join(map(str, sys.version_info[:3]))
    fonts = sorted(FONT_FOLDER.glob("NotoSansCJK-*.ttc"))
    free = shutil.disk_usage(Path.cwd()).free
    chromium = shutil.which("chromium")
    server = shutil.which("pg_ctlcluster") or shutil.which("postgres")
    return [
        Check("Python", sys.version_info >= MIN_PYTHON, version, "install Python 3.11 or newer"),
        Check("SQLite", sqlite3.sqlite_version_info >= (3, 35), sqlite3.sqlite_version, "install SQLite 3.35"),
        Check(
            "Chinese fonts", bool(fonts), fonts[0].name if fonts else "none",
            "apt-get install fonts-noto-cjk",
        ),
        Check("disk space", free > MIN_FREE_BYTES, f"{free // 1024**2} MiB free", "free some disk space"),
        *_pcsc(),
        Check("PostgreSQL", server is not None, server or "none", "apt-get install postgresql", needed=False),
        Check("Chromium", chromium is not None, chromium or "none", "apt-get install chromium", needed=False),
    ]  # fmt: skip
