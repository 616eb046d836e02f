"""The HSM as a process: mutual TLS, roles by certificate, a clean end whoever ends it."""

import json
import select
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.errors import CityError
from hsm_sim import data_requests as data
from hsm_sim import generic_requests as generic
from hsm_sim import issue_requests as issue
from hsm_sim import purse_requests as purse
from hsm_sim.ceremony import verifier
from hsm_sim.certificates import make_certificates
from hsm_sim.client import Role
from hsm_sim.device import Hsm
from hsm_sim.frame import HEADER_LENGTH, pack
from hsm_sim.launch import HsmProcess, start_hsm
from hsm_sim.tcp import ClientTls, TcpHsm, roles_of
from tests.hsm_bench import CARD, LOT, HsmCity, give_certificates, hold

NONCE = "5e" * 16


class Served:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bench: HsmCity = hold(folder)
        self.bench.hsm.close()
        self.certificates = folder / "certificates"
        self.socket = folder / "bulk.sock"
        give_certificates(folder / "hsm", self.certificates)
        self.process: HsmProcess = self.start()

    def start(self) -> HsmProcess:
        return start_hsm(
            self.folder / "hsm",
            self.certificates,
            self.bench.city.unlock_secrets,
            bulk_socket=self.socket,
        )

    def client(self, *roles: Role) -> TcpHsm:
        tls = roles_of(self.certificates, roles or tuple(Role))
        return TcpHsm("127.0.0.1", self.process.port, tls, self.process.bulk_port)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"))
    yield made
    made.process.stop()


def test_commands_travel_ahead_and_come_back_in_order(served: Served) -> None:
    with served.client(Role.MONITOR) as hsm:
        sent = [generic.Echo(f"number {n}".encode()) for n in range(200)]
        assert hsm.call_many(sent) == [one.data for one in sent]
        assert hsm.call(generic.Diagnose())[1] == "0001-SIM0"


def test_many_threads_share_one_client(served: Served) -> None:
    """Answers find their callers: eight threads on two connections."""

    def ask(thread: int) -> bool:
        sent = [f"{thread}/{n}".encode() for n in range(60)]
        return [hsm.call(generic.Echo(one)) for one in sent] == sent

    with served.client(Role.MONITOR) as hsm, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(8)))


def test_a_connection_is_kept_for_who_chose_it(served: Served) -> None:
    """One caller's answer may come while another looks at the pool: that is no sign of a closed connection."""
    ask = generic.Echo(b"soon")
    with served.client(Role.MONITOR) as hsm:
        chosen = hsm._connection(ask)
        chosen._send_all(pack(b"0" * HEADER_LENGTH + ask.code.encode() + ask.encode()))
        assert chosen._ready(select.POLLIN, seconds=10)
        assert hsm._connection(ask) is chosen
        assert not chosen.closed


def test_an_answer_fits_into_a_frame(served: Served) -> None:
    """Sixteen fields of the longest kind go in and would come out longer than 8,192 bytes."""
    entries = tuple(data.Entry(b"c", bytes(494)) for _ in range(16))
    with served.client(Role.DATA) as hsm:
        key = served.bench.slots["registers-data-01"]
        with pytest.raises(CityError, match="HSM-80"):
            hsm.call(data.EncryptFields(key, entries))
        assert len(hsm.call(data.EncryptFields(key, entries[:8]))) == 8


def test_the_port_picks_the_connection_by_the_request(served: Served) -> None:
    with served.client() as hsm:
        assert len(hsm.call(generic.RandomBytes("016"))) == 16
        records = CARD + bytes(26)
        verdict = hsm.call(
            purse.CheckPurchaseTacs(served.bench.slots["purse-dtk-01"], (), records * 3)
        )
        assert (verdict.count, verdict.bad, verdict.bitmap) == (3, 3, b"\x00")


def bulk_records(count: int) -> tuple[bytes, int]:
    """Records with random TACs: all bad but for a chance of one in four thousand million."""
    return b"".join(
        CARD[:4] + n.to_bytes(4, "big") + bytes(22) + b"tac!" for n in range(count)
    ), count


def test_bulk_goes_beside_the_host_port(served: Served) -> None:
    """While a bulk frame is worked on, other clients are answered; TCP and Unix socket say the same."""
    records, count = bulk_records(20_000)
    request = purse.CheckPurchaseTacs(served.bench.slots["purse-dtk-01"], (), records)
    echoed = 0
    with served.client(Role.PURSE) as bulk, served.client(Role.MONITOR) as hsm:
        with ThreadPoolExecutor(1) as threads:
            verdict = threads.submit(bulk.call, request)
            while not verdict.done():
                echoed += hsm.call(generic.Echo(b"x")) == b"x"
        assert (verdict.result().count, verdict.result().bad) == (count, count)
    assert echoed > 1
    tls = roles_of(served.certificates, (Role.PURSE,))
    with TcpHsm("127.0.0.1", 1, tls, bulk_socket=served.socket) as unix:
        assert unix.call(request) == verdict.result()


def test_a_role_has_its_commands_only(served: Served) -> None:
    wrong = {Role.PURSE: ClientTls.of(served.certificates, "monitor")}
    with TcpHsm("127.0.0.1", served.process.port, wrong) as hsm:
        with pytest.raises(CityError) as refused:
            hsm.call(purse.CheckTacs("2", "K003", (purse.TacEntry((CARD,), bytes(22), bytes(4)),)))
        assert refused.value.code == "HSM-F4"
    with served.client(Role.MONITOR) as hsm, pytest.raises(CityError) as refused:
        hsm.call(purse.CheckTacs("2", "K003", (purse.TacEntry((CARD,), bytes(22), bytes(4)),)))
    assert refused.value.code == "HSM-ROLE"


def test_strangers_are_turned_away(served: Served, tmp_path: Path) -> None:
    make_certificates(tmp_path, SystemClock())
    foreign = ClientTls(
        served.certificates / "ca.pem", tmp_path / "monitor.pem", tmp_path / "monitor.key"
    )
    tls = {Role.MONITOR: foreign}
    with TcpHsm("127.0.0.1", served.process.port, tls) as hsm, pytest.raises(CityError) as refused:
        hsm.call(generic.Diagnose())
    assert refused.value.code in ("HSM-GONE", "HSM-TLS")
    other_ca = {Role.MONITOR: ClientTls.of(tmp_path, "monitor")}
    with (
        TcpHsm("127.0.0.1", served.process.port, other_ca) as hsm,
        pytest.raises(CityError) as refused,
    ):
        hsm.call(generic.Diagnose())
    assert refused.value.code == "HSM-TLS"


def _first_bytes(port: int, context: ssl.SSLContext, sent: bytes) -> bytes:
    """What the server says to these bytes; b"" when it ends the connection, during the handshake too."""
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="hsm.local") as tls:
                tls.sendall(sent)
                return tls.recv(100)
        except OSError:
            return b""


ECHO = b"\x00\x0c0000B20002hi"


def test_no_certificate_no_old_tls(served: Served) -> None:
    old = ClientTls.of(served.certificates, "monitor").context()
    assert _first_bytes(served.process.port, old, ECHO) == b"\x00\x0a0000B300hi"
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert _first_bytes(served.process.port, old, ECHO) == b""
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(served.certificates / "ca.pem")
    assert _first_bytes(served.process.port, bare, ECHO) == b""


@pytest.mark.parametrize("wrong", [b"\x00\x00", b"\xff\xff" + bytes(10), b"\x00\x05" + b"0000N"])
def test_a_broken_stream_is_closed_and_others_go_on(served: Served, wrong: bytes) -> None:
    context = ClientTls.of(served.certificates, "monitor").context()
    assert _first_bytes(served.process.port, context, wrong) == b""
    assert _first_bytes(served.process.port, context, ECHO) == b"\x00\x0a0000B300hi"


def test_ends_cleanly_and_the_audit_passes(served: Served) -> None:
    with served.client() as hsm:
        hsm.call(generic.Diagnose())
    assert served.process.stop() == 0
    hsm = Hsm.open(served.folder / "hsm", SystemClock())
    assert hsm.usage.unaccounted is None
    hsm.unlock(served.bench.city.unlock_secrets, ("so1",))
    served.bench.city.hsm = hsm
    bundle = served.bench.city.audit(served.folder / "bundle", NONCE)
    trust = json.loads((served.folder / "audit" / "trust.json").read_text())
    found = verifier.verify(bundle, trust)
    hsm.close()
    assert found.findings == []
    served.process = served.start()


def test_killed_while_serving_nothing_goes_uncounted(served: Served) -> None:
    """SIGKILL: clients get HSM-GONE and go on after the restart; exports are in the log; the bound is true."""
    slots = served.bench.slots
    export = issue.ProtectCardKey(
        slots["purse-dlk-01"], (CARD,), slots[f"lot-{LOT}-01"], (CARD,), bytes(8),
        bytes.fromhex("84D401011C"), bytes(5),
    )  # fmt: skip
    with served.client() as hsm:
        hsm.call_many([generic.Echo(b"x")] * 100)
        hsm.call(export)
        served.process.process.kill()
        served.process.stop()
        with pytest.raises(CityError, match="HSM-GONE"):
            hsm.call(generic.Echo(b"x"))
    opened = Hsm.open(served.folder / "hsm", SystemClock())
    bound = opened.usage.unaccounted
    assert bound is not None
    assert bound >= 101
    opened.unlock(served.bench.city.unlock_secrets)
    assert (
        opened.batches.left(opened.batches._batches[0].name) == opened.batches._batches[0].cards - 1
    )
    assert [e["body"]["kid"] for e in opened.log.events("export")] == ["purse-dlk-01"]
    served.bench.city.hsm = opened
    bundle = served.bench.city.audit(served.folder / "after-kill", "6f" * 16)
    trust = json.loads((served.folder / "audit" / "trust.json").read_text())
    found = verifier.verify(bundle, trust)
    opened.close()
    assert found.findings == []
    served.process = served.start()


def test_ends_when_its_parent_is_gone(served: Served) -> None:
    served.process.stop()
    process = served.start()
    assert process.process.stdin is not None
    process.process.stdin.close()
    assert process.process.wait(20) == 0
    process.stop()
    served.process = served.start()


def test_wrong_secrets_do_not_open_it(served: Served) -> None:
    served.process.stop()
    command = [
        sys.executable,
        "-m",
        "hsm_sim.serve",
        "--home",
        str(served.folder / "hsm"),
    ]
    command += ["--certificates", str(served.certificates)]
    given = b"00" * 16 + b"\n" + b"11" * 16 + b"\n\n"
    done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=60)
    assert done.returncode == 4
    assert b"HSM-UNLOCK" in done.stderr
    assert b"00" * 16 not in done.stdout + done.stderr
    served.process = served.start()
