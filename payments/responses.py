"""Response codes (field 39) as data, read by host and terminal alike (iso8583-host.md 10, I-24)."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

APPROVED = "00"
# "Approved with a defect" on the UnionPay switch: approvals, whatever some terminals make of them.
APPROVALS = frozenset({"00", "A2", "A4", "A5", "A6"})


@dataclass(frozen=True)
class ResponseCode:
    """One code. `final`: it ends the terminal's record; else the record is kept and sent again."""

    code: str
    en: str
    zh: str
    final: bool
    slip: bool

    @property
    def approved(self) -> bool:
        """Whether it is an approval."""
        return self.code in APPROVALS


@cache
def table() -> dict[str, ResponseCode]:
    """All codes we send or understand."""
    text = resources.files("payments").joinpath("responses.toml").read_text("utf-8")
    return {code: ResponseCode(code, **entry) for code, entry in tomllib.loads(text).items()}


def code(value: str) -> ResponseCode:
    """What a code means; one that is not in the table is a refusal that ends the record."""
    return table().get(value) or ResponseCode(
        value, f"Declined ({value})", f"交易失败（{value}）", True, False
    )


def reads(value: str, lang: str = "en") -> str:
    """The code's text for a screen or a receipt."""
    found = code(value)
    return found.zh if lang == "zh" else found.en
