"""Who acts: roles of residence.md 2 and the checks every deciding function makes."""

from dataclasses import dataclass
from enum import StrEnum

from core.errors import NotAllowed


class Role(StrEnum):
    """Role identifiers (residence.md 2, README decision 28)."""

    POLICE_CLERK = "police_clerk"
    STATION_CLERK = "station_clerk"
    REVIEWER = "reviewer"
    EMPLOYER_OP = "employer_op"
    LANDLORD = "landlord"
    CARD_OPERATOR = "card_operator"
    CARD_QC = "card_qc"
    STOCK_KEEPER = "stock_keeper"
    LABOUR_INSPECTOR = "labour_inspector"
    TERMINAL = "terminal"
    SERVICE_OWNER = "service_owner"
    AUDITOR = "auditor"
    PILOT_OFFICE = "pilot_office"
    SYSADMIN = "sysadmin"
    HOLDER = "holder"
    DATA_OFFICER = "data_officer"
    CARD_SUPERVISOR = "card_supervisor"
    KEY_CUSTODIAN = "key_custodian"
    SYSTEM = "system"


@dataclass(frozen=True)
class Actor:
    """A signed-in person or machine and what it may do."""

    name: str
    roles: frozenset[Role]

    @classmethod
    def of(cls, name: str, *roles: Role) -> "Actor":
        return cls(name, frozenset(roles))


SYSTEM = Actor.of("system", Role.SYSTEM)
CLERKS = (Role.POLICE_CLERK, Role.STATION_CLERK)


def require(actor: Actor, *roles: Role) -> None:
    """Raises NotAllowed E-ROLE unless the actor holds one of `roles`."""
    if not actor.roles.intersection(roles):
        raise NotAllowed("E-ROLE", f"{actor.name} holds none of {', '.join(roles)}")


def require_own(actor: Actor, person_id: str, *others: Role) -> None:
    """A holder acts for itself: its name is the person's id. Raises NotAllowed E-OWN.

    Whoever holds one of `others` acts for the people at the counter.
    """
    if actor.name != person_id and not actor.roles.intersection(others):
        raise NotAllowed("E-OWN", "the record belongs to another person")


def two_persons(first: Actor, second: Actor) -> None:
    """Raises NotAllowed E-SOD when both are the same person."""
    if first.name == second.name:
        raise NotAllowed("E-SOD", "a second, different person is needed")
