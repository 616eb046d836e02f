"""The numbers people type and the system issues: validation and synthetic generation (residence.md 3 and 18).

`validate_*` are pure and answer a `Result`, never raise. `make_*` refuse (ValueError) to produce
numbers outside the synthetic ranges unless told ``allow_real=True``: nobody real may appear by accident.
"""

import unicodedata
from dataclasses import dataclass
from datetime import date

from core.checks import luhn, luhn_valid, mod_11_2, mod_97_10, mod_97_10_valid

DIVISION = "440308"
DIVISION_DIGITS = 6
SYNTHETIC_PROVINCE = "99"
SYNTHETIC_ORGANISATION = "PDY"
SYNTHETIC_PURSE = "9156"
PROVINCES = frozenset(
    f"{number:02d}"
    for block in ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83))
    for number in range(block[0], block[1] + 1)
)
MAX_AGE = 120
ADDRESS_DIGITS = 25
BUILDING_DIGITS = 19
_ADDRESS_LEVELS = (2, 2, 2, 3, 3, 2, 5, 6)
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_ORGANISATION_CHARS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
POINT_RANGES = (range(1, 6), range(11, 29))


@dataclass(frozen=True)
class Result:
    """Outcome of a check: `code` of residence.md 4.5 when not ok, else the number in its stored form."""

    ok: bool
    code: str = ""
    normalized: str = ""


def _plain(text: str) -> str:
    """Full-width digits to ASCII, blanks and hyphens away, capitals."""
    return "".join(unicodedata.normalize("NFKC", text).split()).replace("-", "").upper()


# -- citizen id (3.1) ---------------------------------------------------------------------------------


def validate_citizen_id(text: str, today: date, synthetic: bool = True) -> Result:
    """GB 11643: length, characters, division, date, not in the future, check digit; first failure wins.

    A 15-digit number is completed to 18. `synthetic` False refuses the non-assigned province 99, behind which
    a real province stands and any district: the vectors of 3.1 have 03, the synthetic city has 00 (section 18).
    """
    number = _plain(text)
    if len(number) == 15 and number.isascii() and number.isdigit():
        body = number[:6] + "19" + number[6:]
        number = body + mod_11_2(body)
    if len(number) != 18:
        return Result(False, "E-CID-LEN")
    body, check = number[:17], number[17]
    if not (body.isascii() and body.isdigit()) or check not in "0123456789X":
        return Result(False, "E-CID-CHAR")
    if not _division_known(body[:6], synthetic):
        return Result(False, "E-CID-DIV")
    try:
        birth = citizen_birth(number)
    except ValueError:
        return Result(False, "E-CID-DATE")
    if birth > today or birth.year < today.year - MAX_AGE:
        return Result(False, "E-CID-FUTURE")
    if mod_11_2(body) != check:
        return Result(False, "E-CID-CHECK")
    return Result(True, normalized=number)


def _division_known(division: str, synthetic: bool) -> bool:
    if division.startswith(SYNTHETIC_PROVINCE):
        return synthetic and division[2:4] in PROVINCES
    return division[:2] in PROVINCES


def citizen_birth(citizen_id: str) -> date:
    """Birth date inside an 18-character number; ValueError when there is no such day."""
    return date(int(citizen_id[6:10]), int(citizen_id[10:12]), int(citizen_id[12:14]))


def citizen_sex(citizen_id: str) -> int:
    """GB/T 2261.1: 1 male (odd sequence), 2 female."""
    return 1 if int(citizen_id[16]) % 2 else 2


def make_citizen_id(division: str, birth: date, sequence: int, *, allow_real: bool = False) -> str:
    """18 characters with the right check digit. Synthetic divisions are ``99`` + province + ``00``."""
    if not allow_real and not (division.startswith(SYNTHETIC_PROVINCE) and division[4:] == "00"):
        raise ValueError("the division is not in the synthetic range")
    if not 0 <= sequence <= 999 or not _division_known(division, synthetic=True):
        raise ValueError("division or sequence is out of range")
    body = f"{division}{birth:%Y%m%d}{sequence:03d}"
    return body + mod_11_2(body)


# -- organisation code (3.2) --------------------------------------------------------------------------


def _organisation_check(body: str) -> str:
    total = sum(
        weight * _ORGANISATION_CHARS.index(char)
        for weight, char in zip(_ORGANISATION_WEIGHTS, body, strict=True)
    )
    return "0" if total % 11 == 0 else "X" if total % 11 == 1 else str(11 - total % 11)


def validate_organisation_code(text: str) -> Result:
    """GB 11714: 8 body characters and a check character, hyphen allowed. E-OC-CHECK."""
    code = _plain(text)
    good = (
        len(code) == 9
        and all(char in _ORGANISATION_CHARS for char in code)
        and _organisation_check(code[:8]) == code[8]
    )
    return Result(True, normalized=code) if good else Result(False, "E-OC-CHECK")


def make_organisation_code(body: str, *, allow_real: bool = False) -> str:
    """Body and check character; without `allow_real` only the standard's own range PDY00001 to PDY99999."""
    if len(body) != 8 or any(char not in _ORGANISATION_CHARS for char in body):
        raise ValueError("the body has 8 capitals or digits")
    if not allow_real and not (body.startswith(SYNTHETIC_ORGANISATION) and body[3:].isdigit()):
        raise ValueError("the body is not in the synthetic range")
    return body + _organisation_check(body)


# -- address code (3.4, 7.1) --------------------------------------------------------------------------


def validate_address_code(text: str) -> Result:
    """25 digits (room) or 19 (building), with or without the two check digits. E-AC-CHECK."""
    code = _plain(text)
    if not code.isascii() or not code.isdigit():
        return Result(False, "E-AC-CHECK")
    if len(code) in (ADDRESS_DIGITS, BUILDING_DIGITS):
        return Result(True, normalized=code)
    if len(code) in (ADDRESS_DIGITS + 2, BUILDING_DIGITS + 2) and mod_97_10_valid(code):
        return Result(True, normalized=code[:-2])
    return Result(False, "E-AC-CHECK")


def print_address_code(code: str) -> str:
    """The printed form: levels with hyphens and the two check digits.

    >>> print_address_code("4403080030010100001002001")
    '44-03-08-003-001-01-00001-002001-75'
    """
    if len(code) not in (ADDRESS_DIGITS, BUILDING_DIGITS):
        raise ValueError("an address code has 25 digits, a building code 19")
    parts, at = [], 0
    for width in _ADDRESS_LEVELS:
        if at < len(code):
            parts.append(code[at : at + width])
        at += width
    return "-".join((*parts, mod_97_10(code)))


def building_code(address_code: str) -> str:
    """The first 19 digits."""
    return address_code[:BUILDING_DIGITS]


# -- numbers the system issues (3.5) ------------------------------------------------------------------


def _sealed(body: str) -> str:
    return body + mod_97_10(body)


def _within(value: int, digits: int) -> str:
    if not 0 <= value < 10**digits:
        raise ValueError(f"the value does not fit {digits} digits")
    return f"{value:0{digits}d}"


def make_acceptance_no(point: str, day: date, sequence: int) -> str:
    """Point 3, yyMMdd 6, sequence 7, check 2.

    >>> make_acceptance_no("001", date(2007, 5, 1), 1)
    '001070501000000180'
    """
    if not valid_point(point):
        raise ValueError("there is no such point")
    return _sealed(point + f"{day:%y%m%d}" + _within(sequence, 7))


def make_permit_no(year: int, serial: int, division: str = DIVISION) -> str:
    """Division 6, year 2, serial 8, check 2.

    >>> make_permit_no(2007, 1)
    '440308070000000154'
    """
    return _sealed(division + _within(year % 100, 2) + _within(serial, 8))


def make_card_serial(lot: str, sequence: int) -> str:
    """Lot 5, sequence 7, check 2.

    >>> make_card_serial("07001", 1)
    '07001000000102'
    """
    if len(lot) != 5 or not lot.isdigit():
        raise ValueError("a lot has 5 digits")
    return _sealed(lot + _within(sequence, 7))


def make_purse_account(sequence: int) -> str:
    """Synthetic prefix 9156, division's last four digits, sequence 7, Luhn digit: 16 digits."""
    body = SYNTHETIC_PURSE + DIVISION[2:] + _within(sequence, 7)
    return body + luhn(body)


def valid_point(code: str) -> bool:
    """001 to 005 police stations, 011 to 028 rental stations."""
    return len(code) == 3 and code.isdigit() and any(int(code) in r for r in POINT_RANGES)


def validate_acceptance_no(text: str) -> Result:
    """18 digits, MOD 97-10. E-NUMBER."""
    number = _plain(text)
    good = len(number) == 18 and mod_97_10_valid(number) and valid_point(number[:3])
    return Result(True, normalized=number) if good else Result(False, "E-NUMBER")


def validate_permit_no(text: str) -> Result:
    """18 digits, MOD 97-10. E-NUMBER."""
    number = _plain(text)
    good = len(number) == 18 and mod_97_10_valid(number)
    return Result(True, normalized=number) if good else Result(False, "E-NUMBER")


def validate_card_serial(text: str) -> Result:
    """14 digits, MOD 97-10. E-NUMBER."""
    number = _plain(text)
    good = len(number) == 14 and mod_97_10_valid(number)
    return Result(True, normalized=number) if good else Result(False, "E-NUMBER")


def validate_purse_account(text: str) -> Result:
    """16 digits, Luhn. E-NUMBER."""
    number = _plain(text)
    good = len(number) == 16 and luhn_valid(number)
    return Result(True, normalized=number) if good else Result(False, "E-NUMBER")
