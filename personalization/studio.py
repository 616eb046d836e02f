"""Cards drawn ahead: while one is printed, data and pictures of the next are made (production.md 7).

Only what does not depend on the plastic is kept: checks, the chip's portrait, faces without the card serial. The
buffer is bounded, and a card's pictures leave it when the card is claimed (production.md 6, data minimisation).
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from personalization import artwork, orders, records
from personalization.artwork import Template
from personalization.records import Prepared
from printer.port import Layers, Side
from registry.residence.cards import CardData

AHEAD = 64  # cards; about 3.4 MB each
SERIAL_SOURCES = frozenset({"qr", "card_serial_text"})


@dataclass(frozen=True, repr=False)
class Drawn:
    """What could be made of a card before its plastic was known."""

    prepared: Prepared
    faces: Mapping[Side, Layers]


class Studio:
    """Shared by the stations of one process; safe for threads."""

    def __init__(self, template: Template, ahead: int = AHEAD) -> None:
        self.template = template
        self._ahead = ahead
        self._lock = Lock()
        self._drawn: OrderedDict[str, Drawn] = OrderedDict()
        said = [field for field in template.fields if field.source in SERIAL_SOURCES]
        self._late = frozenset(field.side for field in said)

    def waiting(self) -> frozenset[str]:
        """Digests of the cards drawn ahead."""
        with self._lock:
            return frozenset(self._drawn)

    def draw_ahead(self, data: CardData) -> None:
        """Make what can be made now. Raises what `records.prepare` raises."""
        key = orders.data_digest(data)
        if key in self.waiting():
            return
        drawn = self._draw(data)
        with self._lock:
            self._drawn[key] = drawn
            while len(self._drawn) > self._ahead:
                self._drawn.popitem(last=False)

    def take(self, data: CardData) -> Drawn:
        """The card's data and early faces, drawn now when nobody did before. Raises as `records.prepare`."""
        with self._lock:
            found = self._drawn.pop(orders.data_digest(data), None)
        if found is None:
            return self._draw(data)
        # status and lease may have moved since; what is printed has not, or the digest would differ
        fresh = Prepared(data, found.prepared.chip_photo, found.prepared.digest)
        return Drawn(fresh, found.faces)

    def finish(self, drawn: Drawn, art: artwork.Record) -> dict[Side, Layers]:
        """All faces, now that the card serial is known."""
        return {
            side: drawn.faces[side] if side in drawn.faces else self._face(art, side)
            for side in self.template.sides
        }

    def _draw(self, data: CardData) -> Drawn:
        prepared = records.prepare(data, self.template)
        art = orders.face(data, records.UNBOUND)
        early = [side for side in self.template.sides if side not in self._late]
        return Drawn(prepared, {side: self._face(art, side) for side in early})

    def _face(self, art: artwork.Record, side: Side) -> Layers:
        return artwork.render_side(self.template, art, side)
