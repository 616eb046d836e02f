"""The policy table as it works: every command x role x key usage x mode x state, and the order of checks."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import CityError
from hsm_sim import generic_requests as generic
from hsm_sim.client import Request, Role
from hsm_sim.engine import Engine
from hsm_sim.keystore import State
from hsm_sim.policy import FORMS, RULES, KeyRule, table
from hsm_sim.work import HANDLERS, Client, handles
from tests.hsm_bench import KnownKeys
from tests.unit.hsm_sim.test_hsm_requests import EVERY

ATTRIBUTES = [  # one resident key of each kind a rule asks for, and some nobody asks for
    *((f"{usage}", "T2", "X") for usage in range(10, 23)),
    ("E5", "T2", "X"), ("23", "A3", "C"), ("K0", "T2", "E"), ("K0", "A3", "B"), ("K1", "A3", "B"),
    ("D0", "A3", "B"), ("P0", "T2", "D"),
    ("M7", "H2", "C"), ("S0", "ED", "S"), ("P0", "T2", "B"), ("M1", "T2", "C"), ("M3", "T2", "C"),
    ("M6", "T2", "C"),
]  # fmt: skip
SAMPLES = {type(request): request for request in EVERY}
KEY_ERRORS = {"28", "10", "A6", "A8", "F1", "F4", "F9", "68", "15"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnownKeys]:
    made = KnownKeys(tmp_path_factory.mktemp("policy") / "hsm")
    for number, (usage, alg, mode) in enumerate(ATTRIBUTES):
        size = {"T2": 16, "A3": 32, "H2": 32, "ED": 32}[alg]
        made.load(f"key-{usage}{mode}", bytes((7 * number + n * n + 1) % 256 for n in range(size)), alg,
                  usage, mode, export="S", scope="psam" if usage == "19" else "test")  # fmt: skip
    made.hsm.policy = replace(made.hsm.policy, switched_on=frozenset({"46", "48"}), dev=True)
    made.hsm.limiter.off = True
    yield made
    made.hsm.log.close()


def slot(bench: KnownKeys, usage: str, mode: str) -> str:
    store = bench.hsm.keystore
    assert store is not None
    return f"K{store.entries[f'key-{usage}{mode}'].slot:03X}"


def sample(bench: KnownKeys, form: type[Request[Any]]) -> Request[Any]:
    """A well-formed request whose keys fit the rule (its MACs may be wrong)."""
    given = SAMPLES[form]
    keys = {}
    for name, rule in RULES[form].keys.items():
        usage, mode = next(
            (usage, mode)
            for usage, _, mode in ATTRIBUTES
            if (not rule.usages or usage in rule.usages) and (not rule.modes or mode in rule.modes)
        )
        keys[name] = slot(bench, usage, mode)
    return replace(given, **keys)  # type: ignore[type-var]


def ask(bench: KnownKeys, request: Request[Any], role: Role | None = None) -> str:
    """The error code."""
    client = Client("test", role or request.roles[0])
    body = b"0000" + request.code.encode() + request.encode()
    answer = bench.engine.execute(client, body, bulk=request.bulk)
    assert answer is not None
    return answer[6:8].decode()


FORM_IDS = [form.__name__ for form in RULES]


def test_every_form_has_a_sample_and_a_function() -> None:
    assert set(SAMPLES) == set(RULES)
    assert set(HANDLERS) == set(RULES)
    with pytest.raises(RuntimeError, match="policy table"):
        handles(Request)(lambda work, request: b"")
    with pytest.raises(RuntimeError, match="policy table"):
        handles(generic.Echo)(lambda work, request: b"")


@pytest.mark.parametrize("form", list(RULES), ids=lambda f: f.__name__)
def test_roles(bench: KnownKeys, form: type[Request[Any]]) -> None:
    for role in Role:
        code = ask(bench, sample(bench, form), role)
        assert (code == "F4") == (role not in form.roles), (role, code)


@pytest.mark.parametrize("form", list(RULES), ids=lambda f: f.__name__)
def test_usages_and_modes(bench: KnownKeys, form: type[Request[Any]]) -> None:
    good = sample(bench, form)
    for name, rule in RULES[form].keys.items():
        for usage, _, mode in ATTRIBUTES:
            wrong = replace(good, **{name: slot(bench, usage, mode)})  # type: ignore[type-var]
            code = ask(bench, wrong)
            if rule.usages and usage not in rule.usages:
                assert code == "A6", (name, usage, code)
            elif rule.modes and mode not in rule.modes:
                assert code == "A8", (name, usage, code)
            else:
                assert code not in {"A8", "28", "10", "F1"}, (name, usage, code)
        empty = replace(good, **{name: "KFFF"})  # type: ignore[type-var]
        other = "11" if name == "target" else "10"
        assert ask(bench, empty) == ("28" if rule.resident else other)
        if rule.resident:
            token = "SD0112P0AE00E0000" + "0" * 96
            assert ask(bench, replace(good, **{name: token})) == "28"  # type: ignore[type-var]


@pytest.mark.parametrize("form", list(RULES), ids=lambda f: f.__name__)
@pytest.mark.parametrize("state", list(State), ids=lambda s: s.value)
def test_states(bench: KnownKeys, form: type[Request[Any]], state: State) -> None:
    store = bench.hsm.keystore
    assert store is not None
    good = sample(bench, form)
    for name, rule in RULES[form].keys.items():
        entry = store.at(int(getattr(good, name)[1:], 16))
        assert entry is not None
        store.put(replace(entry, state=state))
        try:
            code = ask(bench, good)
        finally:
            store.put(entry)
        alone = form.code == "86" and state is State.DEACTIVATED  # no newer version to seal with
        assert (code == "F1") == (state not in rule.states or alone), (name, code)


def test_a_locked_hsm_does_nothing(bench: KnownKeys) -> None:
    inside, bench.hsm._inside = bench.hsm._inside, None
    try:
        for form in RULES:
            assert ask(bench, replace(SAMPLES[form])) == "F9"  # type: ignore[type-var]
            wrong = next((role for role in Role if role not in form.roles), None)
            assert wrong is None or ask(bench, SAMPLES[form], wrong) == "F4"
    finally:
        bench.hsm._inside = inside


def test_order_of_checks(bench: KnownKeys) -> None:
    """Role before syntax, syntax before keys (R-18)."""
    client = Client("test", Role.MONITOR)
    for body, code in (
        (b"40garbage", "F4"),
        (b"40", "F4"),
        (b"B2zz", "15"),
        (b"ZZ", "68"),
        (b"90", "68"),
    ):
        answer = bench.engine.execute(client, b"0000" + body)
        assert answer is not None
        assert answer[6:8].decode() == code
    purse = Client("test", Role.PURSE)
    wrong_key_and_syntax = b"000040" + b"1KFFF1" + b"00" * 3
    answer = bench.engine.execute(purse, wrong_key_and_syntax)
    assert answer is not None
    assert answer[6:8] == b"15"


def test_switched_off_commands_are_unknown(bench: KnownKeys) -> None:
    policy, bench.hsm.policy = bench.hsm.policy, replace(bench.hsm.policy, switched_on=frozenset())
    try:
        for code in ("46", "48"):
            assert ask(bench, sample(bench, FORMS[code][0])) == "68"
            garbage = bench.engine.execute(Client("test", Role.PURSE), f"0000{code}?".encode())
            assert garbage == f"0000{code[0]}{chr(ord(code[1]) + 1)}68".encode()
    finally:
        bench.hsm.policy = policy


def test_frames_without_a_code_end_the_connection(bench: KnownKeys) -> None:
    client = Client("test", Role.MONITOR)
    for body in (b"", b"0000", b"0000N", b"00\x0000NC", b"0000\xff\xff", b"0000N\x00"):
        assert bench.engine.execute(client, body) is None


def test_trailers_come_back_in_every_case(bench: KnownKeys) -> None:
    client = Client("test", Role.MONITOR)
    for body, told in ((b"NC", b"00"), (b"B2zz", b"15"), (b"ZZ", b"68"), (b"40", b"F4")):
        answer = bench.engine.execute(client, b"abcd" + body + b"\x19trail")
        assert answer is not None
        assert answer[:4] == b"abcd"
        assert answer[6:8] == told
        assert answer.endswith(b"\x19trail")


def test_an_error_inside_says_41_and_nothing_else(
    bench: KnownKeys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "0123456789ABCDEF"

    def broken(work: Any, request: Any) -> bytes:
        raise ValueError(f"key {secret} is bad")

    monkeypatch.setitem(HANDLERS, generic.Echo, broken)
    with caplog.at_level(logging.DEBUG):
        assert ask(bench, generic.Echo(b"x")) == "41"
    assert "ValueError" in caplog.text
    assert secret not in caplog.text


def test_what_cannot_be_counted_is_not_answered(
    bench: KnownKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsm_sim.durable import LogUnavailable

    def full(*_: Any, **__: Any) -> None:
        raise LogUnavailable("HSM-F3", "no space")

    client, frames = Client("t", Role.MONITOR), [b"0000N0032", b"0001B20002hi\x19t"]
    for broken in ("record", "flush", "settle"):
        with monkeypatch.context() as patch:
            patch.setattr(bench.hsm if broken == "settle" else bench.hsm.usage, broken, full)
            answers = bench.engine.execute_many(client, frames)
        assert answers == [b"0000N1F3", b"0001B3F3\x19t"]
    assert bench.engine.execute(client, frames[1]) == b"0001B300hi\x19t"


def test_an_engine_needs_all_its_functions(
    bench: KnownKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(HANDLERS, generic.Echo)
    with pytest.raises(RuntimeError, match="Echo"):
        Engine(bench.hsm)


def test_the_table_names_every_form() -> None:
    text = table()
    assert all(form.__name__ in text for form in RULES)
    assert "| `40` | Load | PURSE | master: 11, X, ACTIVE, resident | verify | yes |" in text


def test_masters_do_one_thing() -> None:
    """R-19: no rule that computes with a master lets it be anything but derived from."""
    for form, rule in RULES.items():
        for key in rule.keys.values():
            if set(key.usages) & {str(n) for n in range(10, 23)}:
                assert key.modes == "X", form
                assert key.resident, form


def test_unknown_keys_are_refused_by_field(bench: KnownKeys) -> None:
    with pytest.raises(CityError, match="HSM-83"):
        bench.hsm.keys.key("S" + "D0999", KeyRule(()))


def test_the_documents_have_this_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "hsm.md"
    assert page.read_text("utf-8").endswith(table())
