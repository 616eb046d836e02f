"""Money is integer fen (1/100 yuan). No float, no division."""

import re

FEN_PER_YUAN = 100
_YUAN = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,2}))?")


def parse_yuan(text: str) -> int:
    """Fen from a decimal yuan text: ``"12.5"`` is 1250. Raises ValueError for anything else."""
    match = _YUAN.fullmatch(text.strip())
    if match is None:
        raise ValueError("an amount is digits with at most two decimals")
    sign, yuan, cents = match.groups()
    fen = int(yuan) * FEN_PER_YUAN + int((cents or "0").ljust(2, "0"))
    return -fen if sign else fen


def format_yuan(fen: int) -> str:
    """``1250`` is ``"12.50"``; the inverse of `parse_yuan`."""
    sign = "-" if fen < 0 else ""
    yuan, cents = divmod(abs(fen), FEN_PER_YUAN)
    return f"{sign}{yuan}.{cents:02d}"


def fee(amount_fen: int, basis_points: int) -> int:
    """`basis_points` ten-thousandths of an amount, rounded half up to a fen (iso8583-host.md 13.1)."""
    if amount_fen < 0 or basis_points < 0:
        raise ValueError("a fee is computed over amounts and rates that are not negative")
    return (amount_fen * basis_points + 5_000) // 10_000
