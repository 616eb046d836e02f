"""``citycard station run`` as a shift runs it: real HSM behind TLS, serial printer, PC/SC reader."""

import json
import random
import sys
from pathlib import Path

import pytest

from cardos.chipmaker import ChipMaker
from cardos.vpcd import VirtualSlot
from cli import main as command_line
from core.clock import SystemClock
from hsm_sim.ceremony.city import hold_city_ceremonies
from hsm_sim.certificates import make_certificates
from hsm_sim.device import Hsm, make_hsm
from hsm_sim.launch import start_hsm
from personalization import artwork, balance
from printer.sim.control import PrinterSimulator
from printer.sim.plastic import SimCard
from tests.floor_bench import LOT, centre_in

OPERATOR = ("--as", "operator Deng:card_operator")


@pytest.mark.slow
def test_a_station_works_through_a_batch(
    tmp_path: Path,
    slots: dict[str, VirtualSlot],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader, slot = next(iter(slots.items()))
    folder = tmp_path / "city"
    city = centre_in(folder, ordered=2)
    dice = random.Random(5)
    ceremony = hold_city_ceremonies(
        tmp_path / "hsm", SystemClock(), 1, make_hsm, tmp_path / "audit", LOT
    )
    assert isinstance(ceremony.hsm, Hsm)
    certificates = tmp_path / "certificates"
    clients = make_certificates(certificates, SystemClock())
    ceremony.hsm.set_policy(ceremony.hsm.policy.with_clients(clients))
    maker = ChipMaker(dice.randbytes)
    ceremony.room.hand_over(f"lot-{LOT}-01", maker.install)
    ceremony.hsm.close()

    def run(*words: str, ends: int = 0) -> dict:
        line = ["citycard", "station", *words, "--data", str(folder), "--json"]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        answer = capsys.readouterr()
        assert ended.value.code == ends, answer
        return dict(json.loads(answer.out))

    template = artwork.released()
    with (
        start_hsm(tmp_path / "hsm", certificates, ceremony.unlock_secrets) as process,
        PrinterSimulator(
            slot=slot, ribbon=template.ribbon, stock=artwork.stock(template), out=tmp_path / "cards"
        ) as machine,
    ):
        chips = [maker.blank() for _ in range(4)]
        machine.load_cards(SimCard(f"B{n}", LOT, chip) for n, chip in enumerate(chips))
        words = ("--printer", machine.url, "--reader", "?", "--timing", "instant")
        run("attach", "S1", *OPERATOR, *words)
        paired = run("pair", "S1", *OPERATOR)
        assert paired["reader"] == reader
        machine.empty_reject_box()
        city.issue(city.release(), "S1", 3)
        done = run(
            "run", "S1", *OPERATOR, "--until-idle", "--hsm", f"127.0.0.1:{process.port}",
            "--certificates", str(certificates), "--slots", str(tmp_path / "hsm" / "slots.json"),
        )  # fmt: skip
        assert done["ends"] == {"made": 2, "idle": 1}
        assert len(machine.machine.hopper) == 2
    with city.db.read() as tx:
        assert balance.station_balance(tx, "S1").good == 2
    city.db.close()
