"""Draw the kept pictures of both faces anew, after a second person approved a change of the design."""

from pathlib import Path

from personalization import artwork, orders
from tests.station_bench import card_data

GOLDEN = Path(__file__).parent / "golden"


def main() -> None:
    template = artwork.released()
    record = orders.face(card_data(1), "07001000000102")
    for side, picture in artwork.proof(template, record).items():
        picture.save(GOLDEN / f"{template.name}-{template.version}-{side.value}.png", optimize=True)


if __name__ == "__main__":
    main()
