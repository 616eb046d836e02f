"""The station's diary: what a crash can tear, and what nobody can change unseen (production.md 6, I11, I19)."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import FixedClock
from core.errors import EvidenceMismatch, Rejected, Unavailable
from personalization.station_journal import (
    FIRST_HASH,
    Entry,
    Phase,
    StationJournal,
    Step,
    check_chain,
    read_journal,
)

CLOCK = FixedClock(datetime(2007, 6, 18, 1, 0, tzinfo=UTC))


def filled(path: Path, cards: int = 2) -> list[Entry]:
    with StationJournal(path, "S1", CLOCK) as journal:
        for number in range(cards):
            journal.intent(Step.CLAIM, f"w{number}", 3)
            journal.intent(Step.FEED, f"w{number}", 3, cards=number, panels=0)
            journal.result(Step.FEED, f"w{number}", 3, chip="43484950")
        return list(journal.after(0))


def test_lines_are_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    with StationJournal(path, "S1", CLOCK) as journal:
        entry = journal.intent(Step.FEED, "w1", 1, cards=7)
        assert read_journal(path) == (entry,)
        assert (entry.seq, entry.previous, entry.phase) == (1, FIRST_HASH, Phase.INTENT)


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    before = filled(path)
    with StationJournal(path, "S1", CLOCK) as journal:
        assert journal.last_seq == 6
        entry = journal.result(Step.EJECT, "w1", 3, to="hopper")
        assert entry.previous == before[-1].hash
        assert [line.step for line in journal.open_card()] == [
            Step.CLAIM, Step.FEED, Step.FEED, Step.EJECT,
        ]  # fmt: skip
        journal.result(Step.DONE, "w1", 3)
        assert journal.open_card() == ()


def test_every_torn_end_is_cut_off_and_nothing_else(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    entries = filled(whole)
    raw = whole.read_bytes()
    last = raw[:-1].rfind(b"\n") + 1
    for length in range(last, len(raw)):
        path = tmp_path / f"{length}.jsonl"
        path.write_bytes(raw[:length])
        with StationJournal(path, "S1", CLOCK) as journal:
            assert list(journal.after(0)) == entries[:-1]
            journal.intent(Step.FEED, "w1", 3, cards=1)
        assert read_journal(path)[-1].seq == 6


@settings(derandomize=True, max_examples=60, deadline=None)
@given(place=st.integers(0, 1_000_000), bit=st.integers(0, 7))
def test_one_changed_bit_is_seen(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "s1.jsonl"
    filled(path)
    raw = bytearray(path.read_bytes())
    raw[place % (len(raw) - 1)] ^= 1 << bit  # the last byte is the end of the last line: a torn end
    path.write_bytes(raw)
    with pytest.raises((EvidenceMismatch, Rejected)) as seen:
        StationJournal(path, "S1", CLOCK)
    assert seen.value.code in ("J-CHAIN", "J-STATION")


def test_deleted_and_swapped_lines_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    entries = filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    for wrong in (lines[1:], lines[:2] + lines[3:], [lines[1], lines[0], *lines[2:]]):
        path.write_bytes(b"".join(wrong))
        if wrong == lines[1:]:
            assert read_journal(path)[0].seq == 2  # a page from the middle may be read
            continue
        with pytest.raises(EvidenceMismatch):
            read_journal(path)
    check_chain(entries[2:])
    with pytest.raises(EvidenceMismatch):
        check_chain(entries[:2] + entries[3:])


def test_a_recomputed_line_breaks_the_next(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    entries = filled(path)
    forged = Entry(**{**vars(entries[2]), "facts": {"chip": "00"}, "hash": ""})
    forged = Entry(**{**vars(forged), "hash": forged.digest()})
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = forged.line()
    path.write_bytes(b"".join(lines))
    with pytest.raises(EvidenceMismatch) as seen:
        StationJournal(path, "S1", CLOCK)
    assert seen.value.facts["seq"] == 4


def test_another_station_and_a_second_process(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    filled(path)
    with pytest.raises(Rejected, match="J-STATION"):
        StationJournal(path, "S2", CLOCK)
    with StationJournal(path, "S1", CLOCK), pytest.raises(Unavailable, match="J-LOCKED"):
        StationJournal(path, "S1", CLOCK)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    for line in (b"[]", b"{}", b'{"facts": {}}', b"no json", json.dumps({"facts": 1}).encode()):
        path.write_bytes(line + b"\n")
        with pytest.raises(EvidenceMismatch):
            read_journal(path)
