"""Card art: both faces against kept pictures, the proof against what the ribbon leaves, checks before release."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import NotFound, Rejected
from personalization import artwork, cardstock, orders, typeface
from printer.port import Panel, Side
from tests.station_bench import card_data, face

GOLDEN = Path(__file__).parents[2] / "golden"
TEMPLATE = artwork.released()
SERIAL = "07001000000102"
NOTICEABLE = 32  # of 255: smaller differences are another version of the font renderer
ALLOWED_SHARE = 0.0005


def reference(**changes: object) -> artwork.Record:
    return orders.face(card_data(1, **changes), SERIAL)


@pytest.mark.parametrize("side", list(Side))
def test_faces_look_as_approved(side: Side) -> None:
    """Golden pictures; after an approved change of design: `python -m tests.make_golden`."""
    drawn = np.asarray(artwork.proof(TEMPLATE, reference())[side]).astype(int)
    kept = np.asarray(Image.open(GOLDEN / f"residence-permit-1-{side.value}.png")).astype(int)
    assert drawn.shape == kept.shape
    changed = (np.abs(drawn - kept) > NOTICEABLE).any(axis=2).mean()
    assert changed < ALLOWED_SHARE


def test_rendering_is_a_pure_function() -> None:
    first, second = (artwork.render(TEMPLATE, reference()) for _ in range(2))
    for side in TEMPLATE.sides:
        for panel in Panel:
            assert (first[side].plane(panel) == second[side].plane(panel)).all()


def test_no_ink_and_no_varnish_on_the_contacts() -> None:
    front = artwork.render(TEMPLATE, reference())[Side.FRONT]
    left, top, width, height = artwork.box_pixels((8.5, 17.0, 14.0, 14.0))
    for panel in Panel:
        assert not front.plane(panel)[top : top + height, left : left + width].any()
    assert front.o.mean() > 0.9


def test_resin_never_lies_in_the_portrait() -> None:
    front = artwork.render(TEMPLATE, reference())[Side.FRONT]
    box = next(item for item in TEMPLATE.fields if item.kind == "photo").pixels()
    left, top, width, height = box
    assert not front.k[top : top + height, left : left + width].any()
    outside = front.c.copy()
    outside[top : top + height, left : left + width] = 0
    assert not outside.any()  # colour is the portrait's alone


def test_a_rare_name_has_its_glyphs_and_an_unknown_one_is_refused() -> None:
    artwork.preflight(TEMPLATE, reference(name="喆龘"))
    with pytest.raises(Rejected) as refused:
        artwork.preflight(TEMPLATE, reference(name="林\U000f0000"))
    assert refused.value.code == "A-GLYPH"
    assert refused.value.facts["characters"] == "U+F0000"


def test_sixteen_characters_with_a_middle_dot_fit_one_line() -> None:
    artwork.preflight(TEMPLATE, reference(name="阿卜杜热合曼江·艾合买提江买买提"))
    with pytest.raises(Rejected, match="A-FIT"):
        artwork.preflight(TEMPLATE, reference(name="长" * 40))


def test_an_empty_field_is_refused() -> None:
    with pytest.raises(Rejected, match="A-FIELD"):
        artwork.preflight(TEMPLATE, reference(household_address=" "))


def jpeg(image: Image.Image) -> bytes:
    packed = io.BytesIO()
    image.save(packed, "JPEG")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("photo", "problem"),
    [
        (b"no picture", "format"),
        (jpeg(Image.new("RGB", (441, 358), "white")), "size"),
        (jpeg(Image.new("L", (358, 441), 255)), "size"),
        (jpeg(Image.new("RGB", (358, 441), (200, 200, 200))), "background"),
    ],
)
def test_portraits_that_break_the_rule(photo: bytes, problem: str) -> None:
    with pytest.raises(Rejected) as refused:
        artwork.preflight(TEMPLATE, reference(photo=photo))
    assert (refused.value.code, refused.value.facts["problem"]) == ("A-PHOTO", problem)


def test_the_face_index_gives_chinese_shapes() -> None:
    """Index 0 of the collection is the Japanese face: same file, other shapes, no warning."""
    assert typeface.font(typeface.Style("regular", 8)).getname() == (
        "Noto Sans CJK SC", "Regular",
    )  # fmt: skip


def test_lines_break_as_chinese_does() -> None:
    style = typeface.Style("regular", 8)
    room = typeface.width("中" * 6, style)
    lines = typeface.break_lines("深圳市盐田区，沙头角Avenue", style, room)
    assert all(line[0] not in "，。、" for line in lines)
    assert any("Avenue" in line for line in lines)


def test_templates_are_checked_when_read() -> None:
    text = (Path(artwork.__file__).parent / "templates" / "residence-permit-1.toml").read_text()
    covered = text.replace("box = [12.4, 12.2, 43.2, 4.7]", "box = [12.4, 13.2, 43.2, 4.7]")
    assert covered != text
    for wrong in (b"[card]", b"\xff", b"x" * 70_000, covered.encode()):
        with pytest.raises(Rejected, match="A-TEMPLATE"):
            artwork.parse_template(wrong)
    with pytest.raises(NotFound, match="A-STOCK"):
        cardstock.preprinted("unknown", Side.FRONT, ())


def test_a_portrait_is_only_resampled_once() -> None:
    assert artwork._photo(face(), 307, 378).shape == (378, 307, 3)
