"""One owner per fact: tables, messages, addresses; and a fee that does not exceed the cost."""

import ast
import random
from fractions import Fraction
from pathlib import Path

import pytest

from core.db import Table
from core.errors import NotFound, Rejected
from registry.exchange.catalogue import all_interfaces
from registry.exchange.messages import Type
from registry.identifiers import print_address_code, validate_address_code
from registry.parameters import PILOT
from registry.pilot.cost import CostModel
from registry.profiles import profiles
from registry.rental import address
from registry.rental import service as rental
from registry.synthetic import addresses
from runtime.services import declare_tables
from tests.registry_bench import city

REGISTERS = ("residence", "employment", "rental")
SHARED = {Type.PERSON_LINKED, Type.HEARTBEAT}  # each register sends its own of these
ROOT = Path(__file__).parents[3]


def test_every_register_keeps_its_own_tables() -> None:
    declare_tables()
    for mapper in Table.registry.mappers:
        name, module = mapper.local_table.name, mapper.class_.__module__
        for register in REGISTERS:
            mine = module == f"registry.{register}.tables"
            assert name.startswith(f"{register}_") == mine, f"{name} in {module}"
        for key in mapper.local_table.foreign_keys:
            other = key.column.table.name.split("_")[0]
            if name.split("_")[0] in REGISTERS and other in REGISTERS:
                assert name.startswith(other), f"{name} reaches into {other}"


def test_the_three_registers_stay_three() -> None:
    for register in REGISTERS:
        others = {f"registry.{one}" for one in REGISTERS if one != register}
        for path in (ROOT / "registry" / register).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
                    reached = {one for one in names if one.startswith(tuple(others))}
                    assert not reached, f"{path.name} imports {reached}"


def test_every_message_has_one_owner() -> None:
    for kind, interface in all_interfaces().items():
        assert (len(interface.owner) == 1) == (kind not in SHARED), kind
        assert not set(interface.owner) & set(interface.to), kind


def test_nobody_lives_where_no_active_code_is() -> None:
    town = city(count=2)
    person, unknown = town.people[0], addresses(40)[39].code
    with town.db.write() as tx:
        with pytest.raises(NotFound, match="E-AC-UNKNOWN"):
            rental.move_in(tx, town.clock, unknown, person.citizen_id, person.name, town.today)
        address.propose(tx, town.clock, unknown, "盐田区深盐路9号101房")
        with pytest.raises(Rejected, match="E-AC-"):  # coded, but not yet seen at the door
            rental.move_in(tx, town.clock, unknown, person.citizen_id, person.name, town.today)
        address.activate(tx, town.clock, unknown)
        assert rental.move_in(tx, town.clock, unknown, person.citizen_id, person.name, town.today)


def test_a_mistyped_code_is_always_caught() -> None:
    dice = random.Random(27)
    for place in addresses(1_000):
        printed = print_address_code(place.code).replace("-", "").replace(" ", "")
        assert validate_address_code(printed).ok
        at = dice.randrange(len(printed))
        wrong = dice.choice([digit for digit in "0123456789" if digit != printed[at]])
        typed = printed[:at] + wrong + printed[at + 1 :]
        assert not validate_address_code(typed).ok, (printed, typed)


def test_the_fee_is_at_most_the_cost() -> None:
    cost = CostModel().of_a_card()
    assert cost == Fraction(CostModel().equipment_fen, 156_315) / Fraction(98, 100) + Fraction(
        1_730 * 100, 98
    )
    assert PILOT.fee_new_fen <= cost
    assert all(profile.fee.fen <= cost for profile in profiles().values())
    assert CostModel(spoilage=Fraction(1, 2)).of_a_card() > cost
    with pytest.raises(ValueError, match="no card"):
        CostModel(spoilage=Fraction(1)).of_a_card()
