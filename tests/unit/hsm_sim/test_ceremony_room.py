"""The people around the console at a terminal: what is shown, asked, hidden, and asked again."""

import pytest

from core.errors import NotAllowed, Rejected
from hsm_sim.ceremony.room import TerminalRoom
from tests.ceremony_bench import City, scripts, state_of


@pytest.fixture
def city(tmp_path):
    city = City(tmp_path / "hsm")
    yield city
    city.hsm.close()


def terminal(answers, secrets_typed, people):
    shown = []
    typed = iter(secrets_typed)
    room = TerminalRoom(
        shown.append,
        lambda question: answers if "Yes" in question else "",
        lambda _: next(typed),
        lambda who, _: people[who],
        lambda: None,
    )
    return room, shown


def test_at_a_terminal_a_component_is_typed_twice_the_same(city):
    room, shown = terminal(
        "Yes", ["11" * 16, "12" * 16, "zz", "zz", "ab" * 16, "ab" * 16], city.people
    )
    assert room.component("kc1", "dpk-01", 1, 16) == b"\xab" * 16
    assert shown == ["The two entries differ.", "That is not hex."]
    room, shown = terminal("Yes", ["11" * 15, "11" * 15, "ab" * 16, "ab" * 16], city.people)
    assert room.component("kc1", "dpk-01", 1, 16) == b"\xab" * 16
    assert shown == ["32 hex digits are needed."]
    room, _ = terminal("Yes", ["11" * 16, "12" * 16] * 3, city.people)
    with pytest.raises(Rejected, match="CER-COMPONENT"):
        room.component("kc1", "dpk-01", 1, 16)


def test_a_slip_of_the_finger_costs_no_components(city):
    typed = iter(["wrong", "{}", "right"])

    def unlock(who, passphrase):
        if passphrase != b"right":
            raise NotAllowed("CER-KEYFILE", "the key file does not open")
        return city.people[who]

    shown = []
    room = TerminalRoom(shown.append, str, lambda _: next(typed), unlock, lambda: None)
    message = b"hsm-sim sign-in v1\nabc"
    assert room.sign("kc1", message) == city.people["kc1"].sign(message)
    said = ["hsm-sim sign-in v1", "abc", "CER-KEYFILE: once more.", "CER-ENTRY: once more."]
    assert shown == said
    typed = iter(["right"])
    room.sign("kc2", message)
    assert shown == said
    typed = iter(["wrong"] * 3)
    with pytest.raises(NotAllowed, match="CER-KEYFILE"):
        room.sign("kc1", message)


@pytest.mark.parametrize("said", ["yes", "YES", "Yes ", "y", ""])
def test_only_the_exact_word_goes_on(city, said):
    room, _ = terminal(said, [], city.people)
    with pytest.raises(Rejected, match="CER-NOT-CONFIRMED"):
        room.confirm("Ready?")


def test_a_whole_ceremony_at_a_terminal(city):
    parts = [f"{n:02x}" * 32 for n in (0x11, 0x26, 0x4C)]
    secrets_typed = ["pass"] * 6
    for part in parts:
        secrets_typed += ["pass"] * 2 + [part, part]
    secrets_typed += ["pass"] * (5 + 2 + 3)
    room, shown = terminal("Yes", secrets_typed, city.people)
    city.room = room
    city.run(scripts()[0]).run()
    assert not any(part in line for part in parts for line in shown)
    assert state_of(city.hsm, "lmk-1") == "ACTIVE"
