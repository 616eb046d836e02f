"""Who may do what (residence.md 2, SD-07): every deciding function of the registers, tried with every role."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import Enum
from functools import cache
from typing import Any, get_type_hints
from unittest.mock import MagicMock

import pytest
from sqlalchemy.exc import SQLAlchemyError

import registry
from core.clock import Clock, FixedClock
from core.db import Database, Tx
from core.errors import CityError, NotAllowed
from registry.roles import Actor, Role
from runtime.services import declare_tables

CLERKS = "police_clerk station_clerk"
ACCOUNT = f"employer_op {CLERKS} labour_inspector"
RULES = "pilot_office reviewer"
REPAIR = "data_officer sysadmin"
MATRIX = {
    "dormancy.engine.release": RULES,
    "dormancy.objections.file_objection": f"{CLERKS} holder",
    "dormancy.objections.decide_objection": "reviewer",
    "dormancy.objections.shelter": "reviewer",
    "employment.accounts.own_account": ACCOUNT,
    "employment.accounts.own_record": ACCOUNT,
    "employment.accounts.worker_list": ACCOUNT,
    "employment.accounts.confirm_list": ACCOUNT,
    "employment.accounts.declare_zero": ACCOUNT,
    "employment.batches.import_hires": ACCOUNT,
    "employment.batches.import_leavers": ACCOUNT,
    "employment.batches.save_draft": ACCOUNT,
    "employment.batches.submit_draft": ACCOUNT,
    "employment.inspections.open_case": "labour_inspector",
    "employment.inspections.find_worker": "labour_inspector",
    "employment.inspections.count_heads": "labour_inspector",
    "employment.inspections.close_case": "labour_inspector",
    "employment.inspections.decide_dispute": "labour_inspector",
    "exchange.dead_letters.discard": REPAIR,
    "exchange.replay.replay": REPAIR,
    "exchange.replay.replay_all": REPAIR,
    "rental.patrols.upload": CLERKS,
    "rental.patrols.confirm_ghost": "station_clerk",
    "rental.patrols.verify": CLERKS,
    "rental.patrols.dispute": CLERKS,
    "rental.units.own_unit": f"landlord {CLERKS}",
    "residence.access.look_up": CLERKS,
    "residence.applications.save": f"{CLERKS} employer_op",
    "residence.applications.submit": f"{CLERKS} employer_op",
    "residence.applications.accept": CLERKS,
    "residence.applications.approve": "reviewer",
    "residence.applications.refuse": "reviewer",
    "residence.applications.send_back": "reviewer",
    "residence.applications.drafted": f"{CLERKS} employer_op",
    "residence.applications.send_in": f"{CLERKS} employer_op",
    "residence.applications.take_in": CLERKS,
    "residence.applications.withdraw": f"{CLERKS} employer_op holder",
    "residence.applications.resubmit": f"{CLERKS} employer_op",
    "residence.applications.unchanged": "reviewer",
    "residence.applications.verify": f"{CLERKS} reviewer system",
    "residence.access.look_at_applicant": CLERKS,
    "residence.access.look_at_status": CLERKS,
    "residence.window.accept_here": CLERKS,
    "residence.window.accept_walk_in": CLERKS,
    "residence.window.apply_again": CLERKS,
    "residence.retention.place_hold": "reviewer",
    "residence.retention.lift_hold": "reviewer",
    "residence.window.examine": f"{CLERKS} employer_op",
    "residence.window.read": f"{CLERKS} reviewer pilot_office auditor employer_op holder",
    "residence.window.sits_at": CLERKS,
    "residence.window.take_down": f"{CLERKS} employer_op",
    "residence.window.work_list": f"{CLERKS} reviewer pilot_office",
    "residence.fees.set_price": RULES,
    "residence.losses.report": f"{CLERKS} holder",
    "residence.losses.confirm": CLERKS,
    "residence.losses.withdraw": "police_clerk",
    "residence.losses.found_card": CLERKS,
    "residence.permits.report_loss": f"{CLERKS} holder",
    "residence.permits.withdraw_loss": "police_clerk",
    "residence.permits.cancel": "reviewer",
    "residence.persons.correct": f"{CLERKS} reviewer",
}
"""Roles that pass a function's door; what counts behind it (own objects, second persons) other tests say."""
ELSEWHERE = {
    "employment.accounts.admit_operator": "two actors: test_registry_employment",
    "residence.access.my_access_log": "own record only: test_registry_residence",
    "residence.steps.second_person": "not who accepted it: test_registry_applications",
    "residence.steps.own_case": "operators their own only: test_registry_owners",
    "exchange.dead_letters.close": "no door: the end of discard and replay",
}
PACKAGES = ("dormancy", "employment", "exchange", "rental", "residence")
ROLE_CODES = frozenset({"E-ROLE", "E-PURPOSE"})
CLOCK = FixedClock(datetime(2007, 5, 8, 4, tzinfo=UTC))


@cache
def functions() -> dict[str, Callable[..., Any]]:
    """Every public function of the five packages that is told who acts."""
    found = {}
    for package in PACKAGES:
        for info in pkgutil.iter_modules([f"{registry.__path__[0]}/{package}"]):
            module = importlib.import_module(f"registry.{package}.{info.name}")
            for name, one in inspect.getmembers(module, inspect.isfunction):
                if one.__module__ != module.__name__ or name.startswith("_"):
                    continue
                if Actor in get_type_hints(one).values():
                    found[f"{package}.{info.name}.{name}"] = one
    return found


def argument(hint: Any, tx: Tx, actor: Actor) -> Any:
    """Some value of a parameter's type; the door must answer before it looks at it."""
    plain = {
        Actor: actor, Tx: tx, Clock: CLOCK, str: "x", int: 1, bool: False, bytes: b"x",
        date: date(2007, 5, 8), datetime: CLOCK.now(),
    }  # fmt: skip
    if hint in plain:
        return plain[hint]
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return next(iter(hint))
    return MagicMock()


def passes(db: Database, act: Callable[..., Any], role: Role) -> bool:
    """Whether the door lets a person of this role in."""
    hints = get_type_hints(act)
    actor = Actor.of("somebody", role)
    with db.read() as tx:
        values = {
            name: argument(hints.get(name), tx, actor)
            for name, parameter in inspect.signature(act).parameters.items()
            if parameter.default is parameter.empty or hints.get(name) is Actor
        }
        try:
            act(**values)
        except NotAllowed as refusal:
            return refusal.code not in ROLE_CODES
        except (CityError, SQLAlchemyError, LookupError, TypeError, ValueError, AttributeError):
            return True  # refused behind the door, for what the arguments are
    return True


@pytest.fixture(scope="module")
def db() -> Database:
    """Nobody and nothing in it."""
    declare_tables()
    found = Database("sqlite://")
    found.create_tables()
    return found


def test_every_deciding_function_stands_in_the_matrix() -> None:
    assert set(functions()) == set(MATRIX) | set(ELSEWHERE)


@pytest.mark.parametrize("name", sorted(MATRIX))
def test_only_these_roles_pass(db: Database, name: str) -> None:
    allowed = {role for role in Role if passes(db, functions()[name], role)}
    assert allowed == {Role(one) for one in MATRIX[name].split()}
