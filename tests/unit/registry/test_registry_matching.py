"""Free-text Chinese addresses: one spelling, parts, matching with measured quality (residence.md 7.4, 7.5)."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import synthetic_addresses
from registry.rental.matching import AddressIndex, Verdict, distance, measure
from registry.rental.normalise import MAX_TEXT, Parts, normalise, number_value, parse

PLACES = synthetic_addresses.town(2_000)
INDEX = AddressIndex(PLACES)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("盐田区深盐路88号302房", "深盐路88号302房"),
        ("广东省 深圳市，盐田区 沙头角街道 深盐路８８号３０２室", "深盐路88号302房"),
        ("深圳市深圳市盐田区海涛社区海景路3号5栋2门101号房", "海景路3号5栋2单元101房"),
        ("海景路三号五幢二单元一百零一室", "海景路3号5栋2单元101房"),
        ("东海道12号附3号201", "东海道12-3号201房"),
        ("东海道12附3号201", "东海道12-3号201房"),
        ("东海道十二号之三201房", "东海道12-3号201房"),
        ("梅沙路9号A座3楼02房", "梅沙路9号a栋302房"),
        ("梅沙路9号a座302", "梅沙路9号a栋302房"),
        ("北山道7号海涛花园3-1-502", "北山道7号海涛花园3栋1单元502房"),
        ("沙深路5号101房", "沙盐路5号101房"),
        ("海山大道5号101房", "海山路5号101房"),
        ("大梅沙村二十一号二〇三室", "大梅沙村21号203房"),
        ("金融路100号12号楼1205室", "金融路100号12栋1205房"),
    ],
)
def test_one_place_has_one_spelling(text: str, wanted: str) -> None:
    assert normalise(text) == wanted


def test_a_village_name_keeps_its_numerals() -> None:
    assert parse("三洲田路5号101房").road == "三洲田路"


def test_the_parts_of_an_address() -> None:
    assert parse("深盐路2088-1号海涛花园3栋1单元502房") == Parts(
        "深盐路", "2088-1", "海涛花园", "3", "1", "502"
    )


@pytest.mark.parametrize(
    ("numeral", "value"),
    [("十", "10"), ("二十", "20"), ("一百一十", "110"), ("一千零一", "1001"), ("零五", "05"), ("两百", "200")],
)  # fmt: skip
def test_numerals(numeral: str, value: str) -> None:
    assert number_value(numeral) == value


@given(st.text(max_size=2 * MAX_TEXT))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_any_text_at_all_gets_an_answer(text: str) -> None:
    assert len(normalise(text)) <= 4 * MAX_TEXT
    assert INDEX.match(text).verdict in Verdict


@given(st.sampled_from(PLACES), st.randoms(use_true_random=False))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_the_spelling_is_stable(place: tuple[str, str], dice: Random) -> None:
    once = normalise(synthetic_addresses.styled(place[1], dice))
    assert normalise(once) == once == normalise(place[1])


@given(st.sampled_from(PLACES))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_what_is_written_properly_is_found(place: tuple[str, str]) -> None:
    code, text = place
    assert INDEX.match(text).code == code


def test_a_number_is_never_corrected() -> None:
    index = AddressIndex([("a", "海景路3号1栋502房"), ("b", "海景路3号1栋503房")])
    assert index.match("海景路3号1栋520房").verdict is Verdict.UNMATCHED
    assert index.match("海景路3号1栋502房").code == "a"


def test_a_misspelt_road_goes_to_a_person_and_an_existing_road_is_no_misspelling() -> None:
    index = AddressIndex([("a", "海景路3号502房"), ("b", "海山路3号502房")])
    assert index.match("海井路3号502房").verdict is Verdict.QUEUE
    assert [code for code, _ in index.match("海井路3号502房").candidates] == ["a", "b"]
    assert index.match("海景路3号502房").code == "a"


def test_two_places_with_one_key_go_to_a_person() -> None:
    index = AddressIndex([("a", "海景路3号502房"), ("b", "海景路3号502室")])
    found = index.match("海景路3号502房")
    assert (found.verdict, len(found.candidates)) == (Verdict.QUEUE, 2)


def test_without_a_room_nobody_can_tell() -> None:
    assert INDEX.match("盐田区深盐路88号").verdict is Verdict.UNMATCHED


def test_the_quality_over_a_gold_sample() -> None:
    """A6: precision at least 99.5 %. The share taken without a person is reported, not promised."""
    gold = synthetic_addresses.gold_sample(PLACES, 1_500)
    quality = measure(INDEX, gold)
    assert quality.texts >= 500
    assert quality.precision_bp >= 9_950
    assert quality.recall_bp >= 9_000
    assert quality.assisted_recall_bp >= 9_900


def test_distance_counts_a_swap_as_one() -> None:
    assert distance("", "海景") == 2
    assert distance("海景山", "海山景") == 1
