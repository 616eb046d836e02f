"""Cards: what is known of each, and its two faces as they left the printer."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse
from pydantic import BaseModel

from api.deps import City, Insider
from core.errors import NotFound
from registry.residence import cards, permits
from registry.residence.domain import ChipStatus
from runtime.board import picture_of

router = APIRouter(prefix="/api/cards", tags=["cards"], dependencies=[Insider])
CardSerial = Annotated[str, Path(pattern=r"^\d{14}$", description="Card serial, 14 digits.")]


class Face(StrEnum):
    """A side of the card."""

    FRONT = "front"
    BACK = "back"


class CardOut(BaseModel):
    """One card: its numbers, its state in the register, its permit's status."""

    card_serial: str
    chip_serial: str
    permit_no: str
    issue_no: int
    state: str
    permit_status: str


@router.get("/{card_serial}")
def read_card(city: City, card_serial: CardSerial) -> CardOut:
    """One card. 404 E-CARD when there is none of this serial."""
    with city.db.read() as tx:
        card = cards.by_serial(tx, card_serial)
        status = permits.get(tx, card.permit_no).status
        return CardOut(
            card_serial=card.card_serial, chip_serial=card.chip_serial, permit_no=card.permit_no,
            issue_no=card.issue_no, state=card.state, permit_status=ChipStatus(status).name,
        )  # fmt: skip


@router.get("/{card_serial}/{face}.png", response_class=FileResponse)
def read_picture(city: City, card_serial: CardSerial, face: Face) -> FileResponse:
    """A face, 1016 x 648 pixels at 300 dpi. 404 CARD-NO-PICTURE when no picture was kept."""
    with city.db.read() as tx:
        path = picture_of(tx, city.settings.data, card_serial, face)
    if path is None:
        raise NotFound("CARD-NO-PICTURE", "no picture of this card", card=card_serial)
    return FileResponse(path, media_type="image/png")
