"""The terminal's memory: what survives a stop at every byte, what damage is noticed, what is never dropped."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import DeviceFault, EvidenceMismatch, Rejected, Unavailable
from payments import terminal_store
from payments.purse_records import LoadRequest, PurchaseRecord, PurchaseStatus
from payments.terminal_records import ALLOWED, LoadCase, LoadState, PurchaseEntry
from payments.terminal_store import TRACE_BLOCK, SystemDisk, TerminalStore


def request(amount: int = 5_000) -> LoadRequest:
    return LoadRequest(
        issuer=bytes(8), asn=bytes(10), random=b"rand", key_index=1, key_version=1, algorithm=0,
        counter=7, balance=100, amount=amount, type=2, psam=bytes(6), mac1=b"mac1",
    )  # fmt: skip


def load(number: int = 1, **changes: object) -> LoadCase:
    return replace(LoadCase(number, "41", 42, 106, request()), **changes)  # type: ignore[arg-type]


def purchase(number: int = 1, status: PurchaseStatus = PurchaseStatus.DONE) -> PurchaseEntry:
    record = PurchaseRecord(
        status=status, issuer=bytes(8), asn=bytes(10), random=b"rand", key_index=1, key_version=1,
        algorithm=0, counter=3, amount=250, type=6, psam=bytes(6), psam_serial=bytes(10),
        date=bytes(4), time=bytes(3), balance_before=900, terminal_counter=number, tac=b"TAC!",
    )  # fmt: skip
    return PurchaseEntry(number, record, sale=f"sale-{number}")


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = TerminalStore(path)
    case = load().to(LoadState.REVERSING, reason="98")
    store.put_load(case)
    store.put_purchase(purchase(2))
    store.put_purchase(purchase(3, PurchaseStatus.PENDING))
    store.put_purchase(purchase(4, PurchaseStatus.UNCERTAIN))
    store.mark(batch="42", day="2026-11-28")
    store.close()
    again = TerminalStore(path)
    assert again.loads == {1: case}
    assert again.purchases == store.purchases
    assert [e.number for e in again.waiting()] == [2]
    assert [e.number for e in again.torn()] == [3]
    assert again.marks == {"batch": "42", "day": "2026-11-28"}
    assert again.next_number() == 5
    assert again.sale("sale-2") == purchase(2)
    assert not again.empty()


def test_a_void_purchase_is_forgotten(tmp_path: Path) -> None:
    store = TerminalStore(tmp_path / "store")
    store.put_purchase(purchase(1, PurchaseStatus.PENDING))
    store.put_purchase(purchase(1, PurchaseStatus.VOID))
    assert store.purchases == {}
    assert store.sale("sale-1") is None
    store.close()
    assert TerminalStore(tmp_path / "store").empty()


def test_any_cut_of_the_last_record_leaves_the_state_before_it(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = TerminalStore(path)
    store.put_load(load())
    before = path.stat().st_size
    store.put_load(load().to(LoadState.DECLINED, code="51"))
    store.close()
    whole = path.read_bytes()
    for cut in range(before, len(whole)):
        path.write_bytes(whole[:cut])
        again = TerminalStore(path)
        assert again.loads[1].state is LoadState.SENT
        assert again.torn_bytes == cut - before
        again.put_load(load(2))
        again.close()
        last = TerminalStore(path)
        assert set(last.loads) == {1, 2}
        last.close()


def test_damage_inside_the_file_is_never_skipped(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = TerminalStore(path)
    store.put_load(load())
    middle = path.stat().st_size
    store.put_purchase(purchase(2))
    store.close()
    whole = bytearray(path.read_bytes())
    whole[middle - 20] ^= 1
    path.write_bytes(whole)
    with pytest.raises(EvidenceMismatch, match="TERM-STORE-DAMAGED"):
        TerminalStore(path)
    assert path.read_bytes() == whole


def test_one_process_at_a_time(tmp_path: Path) -> None:
    store = TerminalStore(tmp_path / "store")
    with pytest.raises(Unavailable, match="TERM-STORE-BUSY"):
        TerminalStore(tmp_path / "store")
    store.compact()
    with pytest.raises(Unavailable, match="TERM-STORE-BUSY"):
        TerminalStore(tmp_path / "store")
    store.close()
    TerminalStore(tmp_path / "store").close()


def test_a_trace_number_never_comes_twice(tmp_path: Path) -> None:
    path = tmp_path / "store"
    seen: list[int] = []
    for _ in range(3):
        store = TerminalStore(path)
        seen += [store.next_trace() for _ in range(TRACE_BLOCK + 1)]
        store.close()
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)


def test_the_trace_wraps_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_store, "MAX_TRACE", 40)
    store = TerminalStore(tmp_path / "store")
    assert [store.next_trace() for _ in range(42)] == [*range(1, 41), 1, 2]


def test_sales_stop_before_the_store_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_store, "SALES_STOP", 2)
    store = TerminalStore(tmp_path / "store")
    store.put_purchase(purchase(1))
    store.check_room()
    store.put_purchase(purchase(2))
    with pytest.raises(Rejected, match="TERM-STORE-FULL"):
        store.check_room()
    store.put_purchase(replace(purchase(1), settled=True))  # of a closed batch: only its id is kept
    store.check_room()


def test_closing_a_batch_keeps_what_still_waits(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = TerminalStore(path)
    store.put_load(load(1, state=LoadState.CONFIRMED))
    store.put_load(load(2, state=LoadState.REVERSING))
    store.put_load(load(3, state=LoadState.CONFIRMED, batch=43))
    store.put_purchase(replace(purchase(4), batch=42, trace=9, code="00", sale=""))
    store.put_purchase(replace(purchase(5), batch=42, trace=10))
    store.put_purchase(purchase(6, PurchaseStatus.PENDING))
    long = path.stat().st_size
    store.close_batch(42)
    assert path.stat().st_size < long
    store.close()
    again = TerminalStore(path)
    assert set(again.loads) == {2, 3}
    assert set(again.purchases) == {5, 6}
    assert again.next_number() == 7


def test_a_failing_disk_stops_the_terminal(tmp_path: Path) -> None:
    class Full(SystemDisk):
        broken = False

        def sync(self, file: int) -> None:
            if self.broken:
                raise OSError(28, "No space left on device")
            super().sync(file)

    disk = Full()
    store = TerminalStore(tmp_path / "store", disk)
    disk.broken = True
    with pytest.raises(DeviceFault, match="TERM-STORE-WRITE"):
        store.put_load(load())
    assert store.loads == {}
    disk.broken = False
    with pytest.raises(DeviceFault, match="an earlier write failed"):
        store.put_load(load())


def test_only_listed_steps_of_a_load_exist() -> None:
    for state in LoadState:
        for target in LoadState:
            if target in ALLOWED[state]:
                assert load(state=state).to(target).state is target
            else:
                with pytest.raises(ValueError, match="does not go"):
                    load(state=state).to(target)


def test_the_account_shows_in_no_repr() -> None:
    assert "6200000000042759" not in repr(load(account="6200000000042759"))


def test_a_file_that_grows_long_is_rewritten_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_store, "COMPACT_LINES", 7)
    path = tmp_path / "store"
    store = TerminalStore(path)
    for number in range(1, 40):
        store.put_purchase(purchase(number))
        store.put_load(load(number + 100))
        trace = store.next_trace()
    kept = dict(store.purchases), dict(store.loads)
    store.close()
    again = TerminalStore(path)
    assert (again.purchases, again.loads) == kept
    assert again.next_trace() > trace
    again.close()


def test_a_sale_is_remembered_for_one_batch_more(tmp_path: Path) -> None:
    store = TerminalStore(tmp_path / "store")
    store.put_purchase(replace(purchase(1), batch=42, trace=1, code="00"))
    store.close_batch(42)
    store.close_batch(42)  # told again after a stop
    assert store.sale("sale-1") is not None
    assert store.empty()
    store.close_batch(43)
    assert store.sale("sale-1") is None
