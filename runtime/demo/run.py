"""The demo from beginning to end: seven chapters, one report, nothing left behind."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from cardos.client import CardSession
from cardos.purse_requests import GetBalance
from core.errors import Rejected, Unavailable
from hsm_sim.ceremony import verifier
from hsm_sim.client import Role
from payments.purse import open_purse
from personalization.hsm_keys import HsmCardKeys
from registry import vault
from registry.dormancy.hsm_desk import HsmDesk
from runtime.board import PICTURES, SUMMARY
from runtime.demo import accounts, delivery, desks, floor, keys, people, shops, sleep
from runtime.demo.city import City, Options, Progress, city_clock
from runtime.demo.delivery import MadeCard
from runtime.demo.lanes import Lane
from runtime.demo.shops import Shop, Till, Wire
from runtime.demo.slots import Slots, open_slots
from runtime.demo.summary import SCHEMA, broken
from runtime.services import build
from runtime.settings import Settings

STATIONS = ("S1", "S2")
LANES = 2
SLOTS = len(STATIONS) + 2 * LANES
PIN_DIGITS = 6
SLEEPER = 1  # the second applicant loses a job
LOCK_FILE = ".citycard-run"
FIXED_STEPS = 2 + LANES + 2  # ceremonies held and verified; batches settled; day closed and audited


def run_demo(
    options: Options, progress: Progress = lambda _what, _steps: None,
    total: Callable[[int], None] = lambda _steps: None,
) -> dict[str, Any]:  # fmt: skip
    """The whole job in `options.out`, whose earlier content is replaced. Returns the report and leaves it there.

    Raises Rejected RUN-FOLDER (the folder is not an earlier run's), Unavailable RUN-TWICE, CARD-PCSCD-MISSING.
    """
    total(FIXED_STEPS + 5 * options.cards + 1)
    with ExitStack() as closing:
        _take_folder(options.out, closing)
        services = build(Settings(data=options.out), city_clock())
        closing.callback(services.close)
        dice = random.Random(options.seed)  # noqa: S311 - people and prices, never keys
        clock = city_clock()
        began = clock.monotonic()
        city = City(options, services.db, clock, progress, closing, dice)
        report = _chapters(city)
        report["seconds"] = round(clock.monotonic() - began, 1)
    report["broken"] = broken(report)
    text = json.dumps(report, ensure_ascii=False, indent=1)
    (options.out / SUMMARY).write_text(text + "\n", "utf-8")
    return report


def _take_folder(out: Path, closing: ExitStack) -> None:
    """Make the folder ours and empty; only a folder of an earlier run is ever emptied."""
    lock = out / LOCK_FILE
    if out.exists() and any(out.iterdir()) and not lock.exists():
        raise Rejected("RUN-FOLDER", f"{out} holds other things", folder=str(out))
    out.mkdir(parents=True, exist_ok=True)
    held = closing.enter_context(lock.open("w"))
    try:
        flock(held, LOCK_EX | LOCK_NB)
    except OSError as reason:
        raise Unavailable("RUN-TWICE", f"another run uses {out}", folder=str(out)) from reason
    for entry in out.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != lock:
            entry.unlink()


@dataclass(frozen=True)
class _Cast:
    """Everybody and everything that the later chapters need."""

    cards: list[MadeCard]
    pins: list[str]
    shops: list[Shop]
    desk: HsmDesk
    wire: Wire


def _chapters(city: City) -> dict[str, Any]:
    room = keys.hold_ceremonies(city, pads=2 * LANES)
    vault.attach(city.db, vault.Vault(room.client(city, Role.DATA), room.slots))
    applicants = people.apply_all(city)
    slots = open_slots(city.options.reader, SLOTS, city.closing, city.folder("logs"))
    card_keys = HsmCardKeys(room.client(city, Role.ISSUE, Role.DESK), room.slots)
    produced = floor.make_cards(city, slots, card_keys, room.chip_maker.blank, STATIONS)
    lanes = [Lane(number, *slots.take(f"lane {number + 1}")) for number in range(LANES)]
    cards = delivery.made_cards(city, produced, applicants.acceptance)
    delivery.inspect_all(city, lanes, cards)
    stock = produced.balance
    delivery.close_batch(city, produced, stock.left, stock.spoiled, stock.good)
    delivery.deliver(city, cards)
    cast = _open_shops(city, room, slots, lanes, cards)
    till = Till()
    shops.issue_and_load(city, cast.shops, cast.desk, cards, cast.pins, till)
    shops.pay_off_line(city, cast.shops, cards, till)
    shops.upload_and_settle(city, cast.shops)
    dormancy = _dormancy(city, cast, applicants)
    balances = _chip_balances(lanes, cards)
    cleared = accounts.close_day(city, room, balances)
    sealed = keys.seal_events(city, room)
    day = keys.audit_the_day(city, room)
    return {
        "schema": SCHEMA,
        "reader": slots.kind,
        "out": str(city.out),
        "pictures": str(city.out / PICTURES),
        "verifier": str(Path(verifier.__file__)),
        "seed": city.options.seed,
        "applications": {
            "received": applicants.received, "approved": applicants.approved,
            "refused": applicants.refused, "refusal": people.NO_RECORD,
        },
        "cards": accounts.card_lines(city, cards, balances),
        "stock": accounts.stock_line(city),
        "purse": accounts.purse_line(city, till, balances),
        "iso8583": {
            "messages": sum(cast.wire.by_mti.values()), "by_mti": dict(sorted(cast.wire.by_mti.items())),
        },
        "tear": {"torn": till.torn, "recovered": till.recovered},
        "duplicates_rejected": accounts.repeated(city),
        "dormancy": dormancy,
        "clearing": cleared,
        "ceremony": _proof(room.ceremony),
        "day": {**_proof(day), "events_sealed": sealed, "seal_key": str(day.trust.with_name(keys.SEAL_KEY))},
    }  # fmt: skip


def _open_shops(
    city: City, room: keys.KeyRoom, slots: Slots, lanes: Sequence[Lane], cards: list[MadeCard]
) -> _Cast:
    """Pads keyed, PSAMs issued, the host started, terminals signed on."""
    terms = room.client(city, Role.TERMS, Role.ISSUE)
    keyed = [desks.key_pad(terms, room, pad) for pad in room.pads]
    counters = [desks.counter_desk(terms, pad) for pad in keyed[LANES:]]
    identities = shops.register_terminals(city, keyed[:LANES])
    port = accounts.start_host(city, room)
    wire = Wire()
    opened = []
    for lane, identity, pad, counter in zip(lanes, identities, keyed, counters, strict=False):
        hand, reader = slots.take(f"PSAM {lane.number + 1}")
        hand.insert(room.chip_maker.blank("psam"))
        reader.wait(True, 5.0)
        psam = desks.make_psam(city, room, terms, reader, lane.number + 1, identity.psam)
        terminal = shops.open_terminal(city, lane, identity, pad, psam, port, wire)
        opened.append(Shop(lane, terminal, counter))
    desk = HsmDesk(room.client(city, Role.DESK), room.slots)
    pins = [f"{city.dice.randrange(10**PIN_DIGITS):0{PIN_DIGITS}d}" for _ in cards]
    return _Cast(cards, pins, opened, desk, wire)


def _dormancy(city: City, cast: _Cast, applicants: people.Applicants) -> dict[str, Any]:
    card, settler = cast.cards[SLEEPER], applicants.settlers[SLEEPER]
    lane = cast.shops[0].lane
    nights = sleep.end_job(city, settler, card.permit_no)
    for shop in cast.shops:
        shop.terminal.update_lists()
    code = shops.refused_load(cast.shops[0], card, cast.pins[SLEEPER])
    with lane.holding(card.chip):
        asleep = desks.update_status(city, lane, cast.desk, card)
    sleep.new_job(city, settler, card.permit_no)
    with lane.holding(card.chip):
        awake = desks.update_status(city, lane, cast.desk, card)
    for shop in cast.shops:
        shop.terminal.update_lists()
    return {
        "slept": int(asleep == "DORMANT"), "woken": int(awake == "ACTIVE"), "nights": nights,
        "load_refused_code": code, "permit_no": card.permit_no,
    }  # fmt: skip


def _chip_balances(lanes: Sequence[Lane], cards: Sequence[MadeCard]) -> dict[str, int]:
    """What every chip says it holds, read through the reader, in fen by card serial."""
    found: dict[str, int] = {}
    for card in cards:
        with lanes[0].holding(card.chip), lanes[0].connected() as channel:
            session = CardSession(channel)
            open_purse(session)
            found[card.card_serial] = session.send(GetBalance())
    return found


def _proof(proven: keys.Ceremony) -> dict[str, Any]:
    verdict = proven.verdict
    return {
        "bundle": str(proven.bundle), "trust": str(proven.trust), "verdict": verdict["verdict"],
        "findings": verdict["findings"], "checks": len(verdict["checks"]),
    }  # fmt: skip
