"""Code 128, set B, as bars for a label (ISO/IEC 15417): start B, characters, check character, stop."""

MAX_CHARS = 40
START_B, STOP = 104, 106
MODULUS = 103
# Widths of bars and spaces in turn, by value 0 to 106.
_TABLE = (
    "212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 "
    "122132 122231 113222 123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 "
    "321221 312212 322112 322211 212123 212321 232121 111323 131123 131321 112313 132113 132311 "
    "211313 231113 231311 112133 112331 132131 113123 113321 133121 313121 211331 231131 213113 "
    "213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 111422 "
    "121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111 "
    "241112 134111 111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121 "
    "412121 111143 111341 131141 114113 114311 411113 411311 113141 114131 311141 411131 211412 "
    "211214 211232 2331112"
)
PATTERNS = _TABLE.split()


def values(text: str) -> list[int]:
    """Symbol values with start, check and stop. ValueError for characters outside ASCII 32 to 126.

    >>> values("PJJ123C")[-2]
    55
    """
    if not 1 <= len(text) <= MAX_CHARS or any(not 32 <= ord(char) <= 126 for char in text):
        raise ValueError("1 to 40 printable ASCII characters")
    data = [ord(char) - 32 for char in text]
    check = (START_B + sum(place * value for place, value in enumerate(data, 1))) % MODULUS
    return [START_B, *data, check, STOP]


def bars(text: str) -> list[int]:
    """Widths in modules, bar first, then space, and so on."""
    return [int(width) for value in values(text) for width in PATTERNS[value]]
