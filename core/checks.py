"""Check digits: ISO/IEC 7064 MOD 11-2 and MOD 97-10, Luhn (residence.md 3).

All functions take digits as text and raise ValueError when a character does not belong.
"""

_MOD_11_2_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_MOD_11_2_CHECKS = "10X98765432"


def _digits(text: str) -> str:
    if not text.isascii() or not text.isdigit():
        raise ValueError("only the digits 0 to 9 belong here")
    return text


def mod_11_2(body17: str) -> str:
    """Check character of a citizen number's 17-digit body (GB 11643).

    >>> mod_11_2("11010519491231002")
    'X'
    """
    if len(_digits(body17)) != len(_MOD_11_2_WEIGHTS):
        raise ValueError("the body has 17 digits")
    total = sum(w * int(d) for w, d in zip(_MOD_11_2_WEIGHTS, body17, strict=True))
    return _MOD_11_2_CHECKS[total % 11]


def mod_97_10(body: str) -> str:
    """Two check digits so that the whole number leaves 1 modulo 97.

    >>> mod_97_10("4403080030010100001002001")
    '75'
    """
    return f"{98 - int(_digits(body)) * 100 % 97:02d}"


def mod_97_10_valid(number: str) -> bool:
    """Whether a number with its two check digits at the end is intact."""
    return number.isascii() and number.isdigit() and len(number) > 2 and int(number) % 97 == 1


def luhn(body: str) -> str:
    """Luhn check digit.

    >>> luhn("915603080000001")
    '0'
    """
    total = 0
    for position, digit in enumerate(reversed(_digits(body))):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def luhn_valid(number: str) -> bool:
    """Whether the last digit is the Luhn digit of the rest."""
    return (
        number.isascii()
        and number.isdigit()
        and len(number) > 1
        and luhn(number[:-1]) == number[-1]
    )
