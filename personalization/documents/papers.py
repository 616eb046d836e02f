"""Papers as PDF: the same facts always give the same bytes, so a digest names a paper (production.md 13).

Each paper is a typst file beside this module that gets its facts as JSON. Nothing on a paper shows an
expected count before a blind count (I25), a full name or an identity number.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import segno
import typst

from core.clock import SHANGHAI
from core.db import Tx
from core.errors import Rejected
from personalization import batches, destruction, dispatch, plastic, typeface
from personalization.documents import code128
from personalization.shift import ShiftReport
from personalization.states import ParcelState, Place
from registry.points.places import by_code
from registry.residence import cards

CENTRE_ZH, CENTRE_EN = "特种证件制作中心", "Card production centre"
DAY, MINUTE = "%Y-%m-%d", "%Y-%m-%d %H:%M"


def parcel_label(tx: Tx, number: str, copy: int = 1) -> bytes:
    """100 x 70 mm: from, to, bag, seals, date, bar code and symbol; the count is on the manifest inside.

    Raises NotFound W-PARCEL; Rejected W-STATE before the seal.
    """
    parcel = dispatch.get(tx, number)
    if parcel.state == ParcelState.OPEN:
        raise Rejected("W-STATE", "seal it first", state=parcel.state, allowed=ParcelState.SEALED)
    point = by_code(parcel.point)
    facts = {
        "number": number, "point": parcel.point, "point_zh": point.name_zh,
        "point_en": point.name_en, "seals": (parcel.seals or "").split(","),
        "date": parcel.opened_at.astimezone(SHANGHAI).strftime(DAY),
        "bars": code128.bars(number), "qr": _qr(dispatch.label_code(tx, number)), "copy": copy,
    }  # fmt: skip
    return _pdf("parcel_label", facts)


def manifest(tx: Tx, number: str, copy: int = 1) -> bytes:
    """A4, in duplicate inside the bag: one line a card, masked. Raises NotFound W-PARCEL."""
    parcel = dispatch.get(tx, number)
    point = by_code(parcel.point)
    facts = {
        "number": number, "point": parcel.point, "point_zh": point.name_zh,
        "point_en": point.name_en, "seals": (parcel.seals or "-").split(","),
        "date": parcel.opened_at.astimezone(SHANGHAI).strftime(DAY),
        "digest": dispatch.manifest_digest(tx, number),
        "lines": [vars(line) for line in dispatch.manifest(tx, number)], "copy": copy,
    }  # fmt: skip
    return _pdf("manifest", facts)


def traveller(tx: Tx, number: str, copy: int = 1) -> bytes:
    """A5, goes with the tray: batch, design, boxes for counts, two signatures; no planned count.

    Raises NotFound W-BATCH.
    """
    batch = batches.get(tx, number, lock=False)
    facts = {
        "number": number, "point": batch.point or "mixed 混合", "template": batch.template,
        "design": batch.template_sha256[:16], "profile": batch.profile,
        "released_by": batch.released_by or "-", "bars": code128.bars(number), "copy": copy,
    }  # fmt: skip
    return _pdf("traveller", facts)


def box_label(box: str, station: str, opened: str, seals: tuple[str, str], copy: int = 1) -> bytes:
    """A reject box: its number, station, when it was opened, its seals."""
    facts = {
        "box": box, "station": station, "opened": opened, "seals": list(seals),
        "bars": code128.bars(box), "copy": copy,
    }  # fmt: skip
    return _pdf("box_label", facts)


def hand_over_receipt(
    tx: Tx, card_serial: str, clerk: str, old_card_taken: bool, copy: int = 1
) -> bytes:
    """A5 for the holder's signature. Raises NotFound W-CARD; Rejected W-STATE before the hand-over."""
    card = plastic.by_serial(tx, card_serial, lock=False)
    issued_at = cards.by_serial(tx, card_serial).issued_at
    if card.place != Place.HANDED_OVER or issued_at is None:
        raise Rejected("W-STATE", "not handed over", state=card.place, allowed=Place.HANDED_OVER)
    facts = {
        "card_serial": card_serial, "holder": dispatch.masked_holder(tx, card.acc_no),
        "acc_tail": card.acc_no[-6:], "clerk": clerk, "old": old_card_taken,
        "at": issued_at.astimezone(SHANGHAI).strftime(MINUTE),
        "chip_tail": (card.chip_serial or "")[-4:], "copy": copy,
    }  # fmt: skip
    return _pdf("receipt", facts)


def destruction_act(tx: Tx, number: str, copy: int = 1) -> bytes:
    """A4: every card by its number with its reason, never a quantity alone. Raises NotFound W-ACT."""
    act, lines = destruction.act_lines(tx, number)
    facts = {
        "number": number, "at": act.at.astimezone(SHANGHAI).strftime(MINUTE), "method": act.method,
        "first": act.first_person, "second": act.second_person, "photo": act.photo_ref,
        "lines": [vars(line) for line in lines], "copy": copy,
    }  # fmt: skip
    return _pdf("act", facts)


def shift_report(report: ShiftReport, copy: int = 1) -> bytes:
    """A4: blanks, batches, stops with their cause, ribbons, people."""
    return _pdf("shift", {**report.as_facts(), "copy": copy})


def _qr(text: str) -> str:
    """The symbol as SVG text."""
    return segno.make(text, error="m", micro=False).svg_inline(border=2, omitsize=True)


@cache
def _template(name: str) -> bytes:
    """A paper behind what all papers share."""
    folder = resources.files("personalization.documents")
    shared = folder.joinpath("shared.typ").read_bytes()
    return shared + b"\n" + folder.joinpath(f"{name}.typ").read_bytes()


@cache
def _fonts() -> typst.Fonts:
    """The operating system's Noto Sans CJK alone: a paper must not depend on what else is installed."""
    folder = typeface.font_file("regular").parent
    return typst.Fonts(include_system_fonts=False, font_paths=[folder])


def _pdf(name: str, facts: Mapping[str, Any]) -> bytes:
    """Raises NotFound A-FONT."""
    packed = json.dumps(
        {**facts, "centre_zh": CENTRE_ZH, "centre_en": CENTRE_EN},
        ensure_ascii=False,
        sort_keys=True,
    )
    return typst.compile(
        _template(name),
        format="pdf",
        font_paths=_fonts(),
        ignore_system_fonts=True,
        sys_inputs={"facts": packed},
    )
