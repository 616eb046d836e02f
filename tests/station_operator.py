"""The people of a floor, for tests: an operator who does what a station's sentence says, two who look for cards.

`Floor` also knows where every plastic ended, so that the books can be compared with the piles.
"""

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import select

from cardos.client import CardSession
from personalization import batches, chip, counts, floor, resolution, stock
from personalization.plastic import Spoil
from personalization.states import GOOD, SpoilCode, WorkState
from personalization.station_desk import Told
from personalization.station_outcome import End, Outcome
from personalization.tables import PlasticRow, SpoilRow, TrayRow, WorkOrderRow
from printer.port import Panel, Side
from printer.sim.plastic import SimCard
from registry.residence.tables import CardRow
from tests.floor_bench import KEEPER, OTHER_KEEPER, SECOND, SUPERVISOR
from tests.station_floor import RIBBON, Bay, chip_of

INKED = {Side.FRONT: set(Panel), Side.BACK: {Panel.BLACK}}
RIBBON_CODES = frozenset({"P-R01", "P-R02", "P-R03", "P-R04", "P-R06"})
POWER_CODES = frozenset({"P-L05", "P-L06", "P-L07", "P-L08"})
STUCK_CODES = frozenset({"P-M03", "P-M04"})


@dataclass
class Floor:
    """The bays of one batch and the piles beside them."""

    bays: list[Bay]
    fed_at_start: int
    hopper: list[SimCard] = field(default_factory=list)
    rejects: list[SimCard] = field(default_factory=list)
    hands: list[SimCard] = field(default_factory=list)
    helped: Counter[str] = field(default_factory=Counter)

    # -- the operator -----------------------------------------------------------------------------------

    def help(self, bay: Bay, outcome: Outcome) -> None:
        """Do what the sentence says."""
        code, machine = outcome.code, bay.simulator
        self.helped[code] += 1
        if outcome.end is End.STOPPED:
            with bay.centre.db.write() as tx:
                floor.clear(tx, bay.centre.clock, bay.name, SUPERVISOR)
        elif outcome.end is End.UNCERTAIN or code == "P-U04":
            machine.clean_sensor()
            self.search(bay, outcome.work_order)
        elif code == "P-F01":
            machine.load_cards([])
        elif code in RIBBON_CODES:
            machine.replace_ribbon(RIBBON)
        elif code in ("P-C01", "P-C02"):
            machine.close_cover()
        elif code in ("P-H01", "P-H03"):
            self.hopper += machine.empty_hopper()
        elif code in ("P-H02", "P-H04"):
            self.rejects += machine.empty_reject_box()
        elif code in ("P-T01", "P-T02"):
            machine.cool_head()
        elif code in STUCK_CODES:
            self.pull(bay)
        elif code in ("P-K01", "P-K02"):
            machine.take_ribbon_out()
            assert bay.station is not None
            bay.station.clean()
            machine.replace_ribbon(RIBBON)
        elif code == "P-U05":
            machine.clean_sensor()
        elif code in POWER_CODES:
            machine.power_on()
        elif outcome.end is End.NEEDS_PERSON and code not in ("P-F02", "P-L09"):
            raise AssertionError(f"nobody knows what to do: {outcome}")

    def pull(self, bay: Bay) -> None:
        """Open the cover, take the stuck card, close, and say so."""
        bay.simulator.open_cover()
        if bay.simulator.machine.inside is not None:
            self.hands.append(bay.simulator.remove_card())
        bay.simulator.close_cover()
        assert bay.station is not None
        bay.station.card_removed()

    # -- the two who search -----------------------------------------------------------------------------

    def piles(self, bay: Bay) -> dict[str, list[SimCard]]:
        """Where a card of this bay can lie."""
        machine = bay.simulator.machine
        mine = [card for card in self.hopper if card.card_id.startswith(f"{bay.name}-")]
        waste = [c for c in (*self.rejects, *self.hands) if c.card_id.startswith(f"{bay.name}-")]
        return {"good": [*machine.hopper, *mine], "waste": [*machine.reject_box, *waste]}

    def search(self, bay: Bay, work_order: str) -> None:
        """Scan the piles; a card without numbers is one that nobody else claims."""
        city = bay.centre
        with city.db.write() as tx:
            row = tx.get(WorkOrderRow, work_order)
            assert row is not None
            if row.state != WorkState.UNCERTAIN:
                return
            cards = tx.scalars(
                select(PlasticRow)
                .where(PlasticRow.work_order == work_order, PlasticRow.token == row.token)
                .order_by(PlasticRow.feed)
            ).all()
            spoil = Spoil(SpoilCode.UN1, "search", f"{bay.name}-reject", witness=SECOND.name)
            chip_serial, card_serial = cards[0].chip_serial, cards[0].card_serial
            good = chip_serial and any(
                c.chip_serial == chip_serial and whole(c, card_serial or "")
                for c in self.piles(bay)["good"]
            )
            extras = [card.id for card in cards[1:]]
            if good:
                resolution.found_good(
                    tx, city.clock, work_order, chip_serial or "", card_serial or "", SUPERVISOR,
                    SECOND,
                )  # fmt: skip
            else:
                self._take_out(bay)
                resolution.found_bad(tx, city.clock, work_order, spoil, SUPERVISOR, SECOND)
            for extra in extras:
                resolution.stray_found(tx, city.clock, extra, spoil, SUPERVISOR, SECOND)

    def _take_out(self, bay: Bay) -> None:
        """A card that is still inside an uncertain machine comes out by hand."""
        if bay.simulator.machine.inside is not None:
            bay.simulator.open_cover()
            self.hands.append(bay.simulator.remove_card())
            bay.simulator.close_cover()

    # -- the books against the piles ------------------------------------------------------------------------

    def violations(self, orders: int) -> list[str]:
        """I1 to I7 and the equation of fed blanks; empty when all is explained."""
        found: list[str] = []
        good_piles: dict[str, SimCard] = {}
        waste, fed = 0, 0
        for bay in self.bays:
            piles = self.piles(bay)
            good_piles |= {card.chip_serial: card for card in piles["good"]}
            waste += len(piles["waste"])
            fed += len(piles["good"]) + len(piles["waste"])
            if bay.simulator.machine.inside is not None:
                found.append(f"{bay.name} still holds a card")
        with self.bays[0].centre.db.read() as tx:
            cards = tx.scalars(select(PlasticRow)).all()
            spoiled = set(tx.scalars(select(SpoilRow.card)))
            live = Counter(
                row.permit_no for row in tx.scalars(select(CardRow)) if row.state != "VOID"
            )
            tx.expunge_all()
        good = [card for card in cards if card.place in GOOD]
        if len(cards) != fed:
            found.append(f"{fed} blanks were fed, {len(cards)} are on the books")
        if len(good) != orders or len(live) != orders or any(count != 1 for count in live.values()):
            found.append(f"{len(good)} good cards for {orders} orders, live {live.most_common(3)}")
        chips = [card.chip_serial for card in cards if card.chip_serial]
        if len(chips) != len(set(chips)):
            found.append("a chip is on two cards")
        for card in good:
            plastic = good_piles.pop(card.chip_serial or "", None)
            if plastic is None or not whole(plastic, card.card_serial or ""):
                found.append(f"good card {card.card_serial} is not in a hopper or not whole")
        late = [card for card in cards if card.place not in GOOD and card.id not in spoiled]
        found += [f"card {card.id} is {card.place} without a reason" for card in late]
        return found

    def close(self) -> list[str]:
        """Finish, count blindly, return the blanks, close; what refuses is a violation."""
        city = self.bays[0].centre
        for bay in self.bays:
            assert bay.station is not None
            bay.station._desk.say(Told("READY"))
        good = sum(len(self.piles(bay)["good"]) for bay in self.bays)
        waste = sum(len(self.piles(bay)["waste"]) for bay in self.bays)
        blanks = {bay.name: len(bay.simulator.machine.feeder) for bay in self.bays}
        with city.db.read() as tx:  # waste that lies in the hopper is sorted out at the bench
            booked = sum(place in GOOD for place in tx.scalars(select(PlasticRow.place)))
        good, waste = booked, waste + good - booked
        with city.db.write() as tx:
            trays = {tray.station: tray for tray in tx.scalars(select(TrayRow))}
            batch = next(iter(trays.values())).batch
            batches.finish(tx, city.clock, batch, SUPERVISOR)
            said = {counts.GOOD: good, counts.SPOILED: waste, counts.BLANKS: sum(blanks.values())}
            for what in counts.COUNTED_THINGS:
                counted = counts.count(tx, city.clock, batch, what, said[what], KEEPER)
                if counted.verdict != counts.AGREES:
                    return [f"count of {what}: {counted.verdict}, said {said[what]}"]
            for name, left in blanks.items():
                if left:
                    stock.give_back(tx, city.clock, trays[name].id, left, KEEPER, OTHER_KEEPER)
            sums = batches.close(tx, city.clock, batch, KEEPER)
        return [] if sums.difference == 0 else [f"difference {sums.difference}"]


def whole(plastic: SimCard, card_serial: str) -> bool:
    """Whether a plastic is what a good card is: closed chip with this serial, every panel printed once."""
    card = chip_of(plastic)
    card.reset()
    return chip.card_serial_on(CardSession(card)) == card_serial and plastic.panels_used == sum(
        map(len, INKED.values())
    )
