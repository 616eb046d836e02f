"""Small deeds that the terminal's tests share."""

from cardos.client import CardSession
from cardos.purse_requests import GetBalance
from payments.messages import Message
from payments.purse import open_purse
from payments.terminal_loads import LoadWish
from tests.unit.payments.purse_bench import verify_pin
from tests.unit.payments.terminal_bench import Bench, BenchHost, permit

CREDIT, DEBIT = 0x52, 0x54


def wish(amount: int = 5_000) -> LoadWish:
    return LoadWish(amount, verify_pin)


def balance(card: object) -> int:
    card.reset()
    session = CardSession(card)
    open_purse(session)
    return session.send(GetBalance())


def losing(mti: str, fate: str, times: int = 1) -> object:
    left = [times]

    def lose(message: Message) -> str:
        if message.mti == mti and left[0]:
            left[0] -= 1
            return fate
        return ""

    return lose


def states(host: BenchHost) -> list[str]:
    return [load.state for load in host.loads.values()]


def loaded(bench: Bench, amount: int = 5_000) -> object:
    card = permit()
    bench.lay(card)
    bench.terminal.load(wish(amount))
    return card
