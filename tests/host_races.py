"""A load and its reversal at the same moment on two hosts of one database (iso8583-host.md 16, number 4).

Whatever the order, it ends well: the load is reversed, or its reversal was first and it was never held; bank and
ledger agree, and MAC2 never leaves again.
"""

import threading
from collections import Counter
from pathlib import Path

from payments import ledger, messages
from payments import requests as r
from payments.authorize import Authorizer
from payments.requests import reversal
from payments.tables import LoadRow
from tests.host_bench import Keys, LabCard, LabHost


def race(keys: Keys, url: str, rounds: int, books: Path | None = None) -> Counter[str]:
    """`rounds` races of a bank load against its reversal; outcomes by (answer, answer, state)."""
    host = LabHost(keys, url=url, books=books)
    other = Authorizer(
        host.db, host.clock, keys.hsm, host.bank, keys.masters,
        type(host.profile)(
            name="host-2", issuers=host.profile.issuers, parameters=host.profile.parameters
        ),
        host.gate,
    )  # fmt: skip
    terminal = host.terminal()
    terminal.sign_on()
    seen: Counter[str] = Counter()
    try:
        for number in range(rounds):
            card = LabCard(f"{10_000_000 + number:014d}")
            request, _ = terminal.load_request(card, 5000, r.LOAD)
            frames = (terminal.sealed(request), terminal.sealed(reversal(request, "98")))
            answers = _together((host.authorizer, other), frames)
            answers = [
                answer or author.answer(frame)
                for answer, author, frame in zip(
                    answers, (host.authorizer, other), frames, strict=True
                )
            ]
            codes = [messages.parse(a).response if a else "none" for a in answers]
            with host.db.read() as tx:
                row = tx.get(LoadRow, _key(request))
                state = "none" if row is None else row.state
                held = ledger.balance(tx, ledger.purse(card.asn.hex()))
            host.authorizer.forward_orders()
            _check(host, terminal, request, codes, state, held)
            seen[f"{codes[0]} {codes[1]} {state}"] += 1
    finally:
        other.close()
        host.close()
    return seen


def _key(request: messages.Message) -> str:
    return f"{request.merchant}{request.terminal}{request.batch}{request.trace}0200"


def _together(
    hosts: tuple[Authorizer, Authorizer], frames: tuple[bytes, bytes]
) -> list[bytes | None]:
    barrier = threading.Barrier(2)
    found: list[bytes | None] = [None, None]

    def ask(index: int) -> None:
        barrier.wait()
        found[index] = hosts[index].answer(frames[index])

    threads = [threading.Thread(target=ask, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _check(
    host: LabHost,
    terminal: object,
    request: messages.Message,
    codes: list[str],
    state: str,
    held: ledger.Balance,
) -> None:
    """What must hold after every race."""
    assert codes[1] in ("00", "25"), codes
    if codes[1] == "00":  # reversed: nothing promised, the bank got its money back, MAC2 is gone
        assert state == "REVERSED", (codes, state)
    else:  # the reversal was first: a tombstone, and the load was never held
        assert (codes[0], state) == ("22", "none"), (codes, state)
    assert held == ledger.Balance(0, 0)
    assert host.bank.net_debited() == 0
    late = terminal.ask(request)  # type: ignore[attr-defined]  # a LabTerminal
    assert (late.response, 58 in late) == ("22", False)
