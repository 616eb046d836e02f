"""Numbers, portraits and the synthetic city (residence.md 3 and 18)."""

import io
from datetime import date

import pytest
from PIL import Image

from core.errors import Rejected
from registry import identifiers, synthetic
from registry.points import places
from registry.residence import photo

TODAY = date(2007, 5, 8)


@pytest.mark.parametrize(
    ("body", "full"),
    [
        ("99430019850213001", "994300198502130012"),
        ("99510019900704002", "995100199007040022"),
        ("994300850213001", "994300198502130012"),
        ("９９４３００19850213001", "994300198502130012"),
    ],
)
def test_a_good_citizen_id_is_taken_in_its_stored_form(body: str, full: str) -> None:
    text = full if len(body) == 17 else body
    assert identifiers.validate_citizen_id(text, TODAY) == identifiers.Result(True, "", full)


def test_the_standards_own_sample_and_a_small_x() -> None:
    assert identifiers.validate_citizen_id("11010519491231002x", TODAY).normalized.endswith("X")


def test_the_leap_day_vectors() -> None:
    """Of the table of 3.1: a day that is there, and two that are not though their check digits are right."""
    assert identifiers.validate_citizen_id("994403197202290014", TODAY).ok
    for number in ("994403197302290011", "994403190002290018"):
        assert identifiers.validate_citizen_id(number, TODAY).code == "E-CID-DATE"
    assert identifiers.validate_citizen_id("994403197202290014", TODAY, synthetic=False).code == (
        "E-CID-DIV"
    )
    made = identifiers.make_citizen_id("994400", date(1972, 2, 29), 1)
    assert identifiers.validate_citizen_id(made, TODAY).ok


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("9943001985021300", "E-CID-LEN"),
        ("99430019850213A012", "E-CID-CHAR"),
        ("004300198502130012", "E-CID-DIV"),
        ("440300197302290018", "E-CID-DATE"),
        ("440300190002290014", "E-CID-DATE"),
        ("994300198502130013", "E-CID-CHECK"),
    ],
)
def test_the_first_failing_step_is_reported(text: str, code: str) -> None:
    assert identifiers.validate_citizen_id(text, TODAY).code == code


def test_a_birth_in_the_future_is_refused() -> None:
    made = identifiers.make_citizen_id("994300", date(2007, 5, 9), 1)
    assert identifiers.validate_citizen_id(made, TODAY).code == "E-CID-FUTURE"


def test_a_strict_validator_knows_no_synthetic_people() -> None:
    assert identifiers.validate_citizen_id("994300198502130012", TODAY, False).code == "E-CID-DIV"


def test_nobody_real_is_generated_by_accident() -> None:
    with pytest.raises(ValueError):
        identifiers.make_citizen_id("440308", date(1985, 2, 13), 1)
    with pytest.raises(ValueError):
        identifiers.make_organisation_code("D2143569")
    assert identifiers.make_organisation_code("D2143569", allow_real=True) == "D2143569X"


@pytest.mark.parametrize(
    ("body", "check"), [("PDY00001", "X"), ("PDY00002", "8"), ("PDY04217", "2"), ("PDY99999", "4")]
)
def test_organisation_codes(body: str, check: str) -> None:
    assert identifiers.make_organisation_code(body) == body + check
    assert identifiers.validate_organisation_code(f"{body}-{check}").normalized == body + check
    assert identifiers.validate_organisation_code(body + "7").code == "E-OC-CHECK"


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("4403080030010100001002001", "44-03-08-003-001-01-00001-002001-75"),
        ("4403080020030200012015003", "44-03-08-002-003-02-00012-015003-29"),
        ("4403080010020900017", "44-03-08-001-002-09-00017-60"),
    ],
)
def test_address_codes(code: str, printed: str) -> None:
    assert identifiers.print_address_code(code) == printed
    assert identifiers.validate_address_code(printed).normalized == code


def test_a_transposed_address_code_is_caught() -> None:
    assert identifiers.validate_address_code("440308003001010000100201075").code == "E-AC-CHECK"


def test_numbers_the_system_issues() -> None:
    made = identifiers.make_acceptance_no("028", date(2007, 9, 15), 4211)
    assert made == "028070915000421195"
    assert identifiers.validate_acceptance_no(made).ok
    assert identifiers.make_permit_no(2007, 1) == "440308070000000154"
    assert identifiers.make_card_serial("07001", 1) == "07001000000102"
    assert identifiers.make_purse_account(1) == "9156030800000010"
    assert identifiers.validate_purse_account("9156030800000011").code == "E-NUMBER"
    assert identifiers.validate_card_serial("07001000000103").code == "E-NUMBER"


def test_there_are_23_points() -> None:
    points = places.all_points()
    assert [p.kind for p in points].count("police") == 5
    assert [p.kind for p in points].count("rental") == 18
    assert places.by_code("011").name_zh == "沙头角综管站"


def test_the_same_seed_gives_the_same_city() -> None:
    first, again = synthetic.residents(20), synthetic.residents(20)
    assert [p.citizen_id for p in first] == [p.citizen_id for p in again]
    assert [p.citizen_id for p in synthetic.residents(20, seed=2)] != [p.citizen_id for p in first]
    assert first[0].portrait() == again[0].portrait()


def test_synthetic_people_are_valid_and_not_assignable() -> None:
    for person in synthetic.residents(200):
        assert person.citizen_id.startswith("99")
        assert identifiers.validate_citizen_id(person.citizen_id, TODAY).ok
        assert identifiers.citizen_sex(person.citizen_id) == person.sex
        assert person.phone.startswith("100")
        assert len(person.name.encode("utf-16-le")) <= 30


def test_synthetic_addresses_and_employers() -> None:
    rooms = synthetic.addresses(60)
    assert len({room.code for room in rooms}) == 60
    assert {room.station for room in rooms} == {f"{n:03d}" for n in range(11, 29)}
    assert all(identifiers.validate_address_code(room.code).ok for room in rooms)
    for employer in synthetic.employers(5, rooms):
        assert identifiers.validate_organisation_code(employer.code).ok


@pytest.mark.parametrize("number", range(0, 24, 3))
def test_drawn_portraits_pass_the_photo_rule_and_fit_the_chip(number: int) -> None:
    jpeg = synthetic.residents(24)[number].portrait()
    photo.check(jpeg)
    assert len(photo.for_chip(jpeg)) <= 4096


def _jpeg(size: tuple[int, int], colour: tuple[int, int, int], dpi: int = 350) -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", size, colour).save(packed, "JPEG", dpi=(dpi, dpi))
    return packed.getvalue().ljust(9000, b"\x00")


def _gigapixels() -> bytes:
    """A small file whose frame header says 65,000 by 65,000."""
    jpeg = _jpeg((358, 441), (255, 255, 255))
    at = jpeg.index(b"\xff\xc0") + 5  # marker, length, precision; then height and width
    return jpeg[:at] + (65_000).to_bytes(2, "big") * 2 + jpeg[at + 4 :]


@pytest.mark.parametrize(
    ("jpeg", "code"),
    [
        (b"", "E-PHOTO-SIZE"),
        (b"x" * 9000, "E-PHOTO-MODE"),
        (_gigapixels(), "E-PHOTO-MODE"),
        (_jpeg((300, 400), (255, 255, 255)), "E-PHOTO-DIM"),
        (_jpeg((358, 441), (255, 255, 255), 72), "E-PHOTO-DPI"),
        (_jpeg((358, 441), (90, 120, 200)), "E-PHOTO-BG"),
        (_jpeg((358, 441), (255, 255, 255)), "E-PHOTO-FACE"),
    ],
)
def test_a_bad_portrait_is_named(jpeg: bytes, code: str) -> None:
    with pytest.raises(Rejected) as refusal:
        photo.check(jpeg)
    assert refusal.value.code == code
