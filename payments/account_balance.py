"""Asking what the funding account holds (iso8583-host.md 7.3): the PIN goes to the bank, no ledger entry."""

from core.errors import CityError
from payments.decisions import BankAnswer, BankLeg, Decision, Request, Rule, refuse
from payments.field_parts import field54
from payments.loads import Desk, response_of, translated_pin
from payments.matrix import account_of


def ask(request: Request, desk: Desk) -> Rule:
    """0200 / 310000."""
    try:
        pin = yield from translated_pin(request, desk)
    except CityError as error:
        return refuse(response_of(error), store=False)
    reference = desk.references()

    def issue(bank: BankAnswer) -> Decision:
        if bank.response != "00":
            return Decision(bank.response, {37: reference})
        return Decision("00", {37: reference, 54: field54(bank.balance)})

    leg = BankLeg("balance", reference, 0, account_of(request.message), pin)
    return Decision("", leg=leg, issue=issue)
