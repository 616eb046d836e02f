"""What the HSM's two-character error codes mean, and which of the six errors each becomes (section 6).

An error carries the code ``HSM-xx`` where xx is what stood on the wire. After parsing a verification has
two outcomes only: good, or HSM-01 (R-17).
"""

from core.errors import CityError, DeviceFault, EvidenceMismatch, NotAllowed, Rejected, Unavailable

OK = "00"


class HsmRejected(Rejected):
    """The HSM does not do this: wrong input, wrong key, a format or an attribute forbids it."""


class HsmForbidden(NotAllowed):
    """This client, these people or this hour may not do it."""


class HsmBusy(Unavailable):
    """Not now: locked, rate limited, log not writable, not reachable. Nothing was computed."""


class HsmMismatch(EvidenceMismatch):
    """A MAC, TAC, tag, proof or check value is not what it should be."""


class HsmFault(DeviceFault):
    """The HSM failed inside or spoke nonsense."""


MEANINGS: dict[str, tuple[type[CityError], str]] = {
    "01": (HsmMismatch, "verification failed"),
    "02": (HsmRejected, "key length does not suit the algorithm"),
    "05": (HsmRejected, "key length flag"),
    "10": (HsmRejected, "source key unusable"),
    "11": (HsmRejected, "destination key unusable"),
    "13": (HsmRejected, "LMK identifier"),
    "15": (HsmRejected, "bad input"),
    "17": (HsmForbidden, "needs a ceremony or an authorised state"),
    "20": (HsmRejected, "PIN block content"),
    "22": (HsmRejected, "account number or diversification factor"),
    "23": (HsmRejected, "PIN format not allowed"),
    "24": (HsmRejected, "PIN length"),
    "26": (HsmRejected, "key scheme not allowed"),
    "27": (HsmRejected, "key length mismatch"),
    "28": (HsmRejected, "wrong kind of key"),
    "29": (HsmRejected, "key function not permitted"),
    "41": (HsmFault, "internal error; details only in the HSM's log"),
    "68": (HsmRejected, "command disabled or unknown"),
    "69": (HsmRejected, "PIN format disabled"),
    "75": (HsmRejected, "weak key, or a single-length key posing as double"),
    "80": (HsmRejected, "data length"),
    "82": (HsmRejected, "check value length"),
    "83": (HsmRejected, "key block format"),
    "84": (HsmMismatch, "key check value mismatch"),
    "A4": (HsmMismatch, "key block authentication failed"),
    "A6": (HsmRejected, "key usage not allowed here"),
    "A7": (HsmRejected, "algorithm not allowed here"),
    "A8": (HsmRejected, "mode of use not allowed here"),
    "A9": (HsmRejected, "key version not allowed"),
    "AA": (HsmRejected, "exportability forbids it"),
    "F0": (HsmBusy, "rate limited; nothing was computed"),
    "F1": (HsmRejected, "key state does not allow it"),
    "F2": (HsmForbidden, "quorum missing"),
    "F3": (HsmBusy, "log cannot be written; all work refused"),
    "F4": (HsmForbidden, "this client may not use this command"),
    "F5": (HsmRejected, "unknown or expired handle"),
    "F6": (HsmRejected, "quota of batch, key or channel used up"),
    "F7": (HsmRejected, "key outside its validity dates"),
    "F8": (HsmMismatch, "the message's own MAC is wrong; nothing in it was looked at"),
    "F9": (HsmBusy, "HSM locked"),
}


def refusal(code: str, detail: str = "", **facts: str | int) -> CityError:
    """The error for a two-character code; an unknown code is the HSM's own fault."""
    kind, meaning = MEANINGS.get(code, (HsmFault, "a code nobody knows"))
    return kind(f"HSM-{code}" if code in MEANINGS else "HSM-41", detail or meaning, **facts)
