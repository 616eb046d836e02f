"""Commands and replies on the line, and what the driver believes of them (printer.md 2.1, 2.2)."""

import re

import pytest

from printer.frame import Kind, Reply, ReplyReader, Wire, encode
from printer.link import describe
from printer.sim.protocol import Command, CommandParser, reply
from printer.timing import CLASSIC, INSTANT


class ScriptedLink:
    """A line with a printer on it that always says the same."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.sent = b""
        self.notes: list[str] = []

    def write(self, data: bytes) -> bool:
        self.sent += data
        return True

    def read(self, until: float) -> bytes:
        data, self.answer = self.answer, b""
        return data

    def monotonic(self) -> float:
        return 0.0

    def discard_waiting(self) -> None:
        """Nothing waits."""

    def dropped(self, data: bytes) -> None:
        if data:
            self.notes.append(f"noise {describe(data)}")

    def note(self, way: str, text: str) -> None:
        self.notes.append(f"{way} {text}")


def ask(answer: bytes, *command: str, plain: bool = False) -> Reply:
    return Wire(ScriptedLink(answer), INSTANT, 115_200, plain).exchange(*command)  # type: ignore[arg-type]


def test_a_command_is_escape_name_parameters_return() -> None:
    assert encode("Sis") == b"\x1bSis\r"
    assert encode("Pc", "k", "=", 10) == b"\x1bPc;k;=;10\r"


def test_a_payload_may_hold_every_byte() -> None:
    assert encode("Dbc", "k", 2, 3, payload=b"\x1b;\r") == b"\x1bDbc;k;2;3;\x1b;\r\r"


@pytest.mark.parametrize("name", ["sis", "S", "Sisisis", "S1s", ""])
def test_names_are_a_capital_and_one_to_five_small_letters(name: str) -> None:
    with pytest.raises(ValueError):
        encode(name)


def test_separators_do_not_hide_in_parameters() -> None:
    with pytest.raises(ValueError):
        encode("Pr", "ymcko;Se")


def test_the_text_of_a_reply_ends_with_the_acknowledgement() -> None:
    assert ask(b"CARD\x06", "Rlr", "p") == Reply(Kind.ANSWER, "CARD")
    assert ask(b"\x06", "Sis") == Reply(Kind.ANSWER)


@pytest.mark.parametrize("code", "12TCFRKDW")
def test_a_refusal_carries_its_code(code: str) -> None:
    assert ask(b"\x15" + code.encode(), "Sp", "m") == Reply(Kind.REFUSED, nak=code)


def test_a_refusal_with_an_unknown_code_is_confusion() -> None:
    assert ask(b"\x15Z", "Sp", "m").kind is Kind.CONFUSED


def test_a_stale_answer_has_the_wrong_shape() -> None:
    """Seen on real machines: the ribbon query answered with the previous command's OK."""
    assert ask(b"OK\x06", "Rrt", "count").kind is Kind.CONFUSED
    assert ask(b"CARD\x06", "Sis").kind is Kind.CONFUSED


def test_silence_and_half_a_reply_are_silence() -> None:
    assert ask(b"", "Sis").kind is Kind.SILENT
    assert ask(b"SMART CA", "Rlr", "p").kind is Kind.SILENT
    assert ask(b"\x15", "Sis").kind is Kind.SILENT


def test_what_comes_behind_a_reply_is_noise() -> None:
    link = ScriptedLink(b"\x06\x06")
    Wire(link, INSTANT, 115_200).exchange("Sis")  # type: ignore[arg-type]
    assert link.notes == ["> Sis", "noise <06>", "< ACK"]


@pytest.mark.parametrize("end", [b"\0", b"\r", b"\r\n"])
def test_plain_mode_ends_texts_with_nul_or_return(end: bytes) -> None:
    assert ask(b"CARD" + end, "Rlr", "p", plain=True) == Reply(Kind.ANSWER, "CARD")
    assert ask(b"OK" + end, "Sis", plain=True).kind is Kind.ANSWER
    assert ask(b"ERR FEEDER" + end, "Sis", plain=True) == Reply(Kind.REFUSED, nak="F")
    assert ask(b"SOMETHING" + end, "Sis", plain=True).kind is Kind.CONFUSED


def test_a_reply_may_come_in_pieces() -> None:
    reader = ReplyReader()
    assert reader.push(b"SMART") is None
    assert reader.push(b" CARD\x06") == ("SMART CARD", "")


def test_payloads_are_logged_as_length_and_digest() -> None:
    """A photo never gets into a log."""
    link = ScriptedLink(b"\x06")
    Wire(link, INSTANT, 115_200).exchange("Dbc", "y", 32, 5000, payload=bytes(5000))  # type: ignore[arg-type]
    assert re.fullmatch(r"> Dbc;y;32;5000;\[5000 bytes, SHA-256 [0-9a-f]{16}\]", link.notes[0])


def test_deadlines_follow_the_movement_and_the_line() -> None:
    """2 s, 1.3 times the line, 3 times the movement. Source: printer.md 2.7."""
    assert CLASSIC.deadline("Sis", 5, 115_200) == pytest.approx(2 + 3 * 2.2, abs=0.01)
    assert CLASSIC.deadline("Dbc;y;32;95056", 115_200, 115_200) == pytest.approx(2 + 13)
    assert INSTANT.deadline("Scp", 5, 9_600) == 1.0


# -- the printer's end ----------------------------------------------------------------------------------


def parsed(data: bytes) -> list[Command]:
    return CommandParser().push(data)


def test_payload_bytes_are_counted_never_searched() -> None:
    payload = b"\x1bSe\r;;\r"
    frames = encode("Dbc", "k", 2, len(payload), payload=payload) + encode("Rlr")
    assert parsed(frames) == [Command("Dbc", ("k", "2", "7"), payload), Command("Rlr")]


def test_the_length_of_an_uncompressed_panel_is_implied() -> None:
    payload = bytes(range(256)) * 321 + bytes(120)
    assert parsed(encode("Db", "k", 2, payload=payload)) == [Command("Db", ("k", "2"), payload)]


def test_nuls_between_commands_are_idle_and_escape_may_be_missing() -> None:
    """The captured driver fills up to 64 bytes with NULs; the guide allows a missing ESC."""
    assert parsed(b"\0\0\x1bSis\r" + bytes(32) + b"Se\r") == [Command("Sis"), Command("Se")]


def test_an_escape_inside_a_header_forgets_the_command_before() -> None:
    """A movement whose end was lost on the line must not be carried out late."""
    assert parsed(b"\x1bSp;y\x1bRlr\r") == [Command("Rlr")]


def test_a_payload_without_its_return_is_malformed() -> None:
    assert parsed(b"\x1bDbc;k;2;2;ab\x1b") == [Command("Dbc", error="ERR PARAM")]


@pytest.mark.parametrize("junk", [b"\x1bsis\r", b"\x1b\xff\xfe\r", b"A" * 70])
def test_junk_is_a_command_error(junk: bytes) -> None:
    assert parsed(junk)[0].error == "ERR COMMAND"


def test_commands_may_come_byte_by_byte() -> None:
    parser = CommandParser()
    frames = encode("Dbc", "k", 2, 4, payload=b"\r\r\r\r") + encode("Sp", "k")
    found = [command for byte in frames for command in parser.push(bytes([byte]))]
    assert [command.name for command in found] == ["Dbc", "Sp"]


def test_answers_on_the_line() -> None:
    assert reply("OK", "CARD") == b"CARD\x06"
    assert reply("OK") == b"\x06"
    assert reply("ERR RIBBON END") == b"\x15R"
    assert reply("ERR RIBBON END", plain=True) == b"ERR RIBBON END\0"
