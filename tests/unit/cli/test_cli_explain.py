"""``citycard explain``: bytes in, fields out, in both languages and as one JSON object."""

import json

import pytest
from typer.testing import CliRunner

from cli.explain import app, padded
from core.errors import Rejected

RUN = CliRunner()
PURCHASE = "805001020B01000000640011223344550F"


def lines(*words: str, lang: str = "en") -> list[str]:
    done = RUN.invoke(app, list(words), env={"CITYCARD_LANG": lang})
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def fields(*words: str) -> list[dict[str, str]]:
    done = RUN.invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["fields"]


def test_an_apdu_is_shown_line_by_line_with_its_rule():
    shown = lines("apdu", PURCHASE)
    amount = next(line for line in shown if "amount" in line)
    assert amount.startswith("00000064")
    assert "1.00 CNY" in amount
    assert amount.endswith("[purse-card.md 8]")


def test_the_same_in_chinese():
    assert any("金额" in line and "1.00" in line for line in lines("apdu", PURCHASE, lang="zh"))
    assert "PIN或密钥错误,剩余2次" in lines("sw", "63C2", lang="zh")[0]


def test_json_has_both_languages_and_the_bytes():
    found = fields("sw", "94 01")
    assert found == [
        {
            "hex": "9401",
            "name_en": "status word, an error",
            "name_zh": "状态字(错误)",
            "meaning_en": "not enough money",
            "meaning_zh": "金额不足",
            "rule": "purse-card.md 16",
        }
    ]


@pytest.mark.parametrize(
    ("command", "answer", "names"),
    [
        (PURCHASE, "0000222E0001000000010012345678 9000",
         ["balance", "offSN", "overdraft limit", "key version", "algorithm", "card random"]),
        ("805000020B01000000640011223344550F"[:-2] + "10", "0000222E00010100112233445566778 8 9000",
         ["balance", "onSN", "key version", "algorithm", "card random", "MAC1"]),
        ("805401000F" + "00" * 15 + "08", "1122334455667788 9000", ["TAC", "MAC2"]),
        ("805A0006020001 08", "1122334455667788 9000", ["MAC2 or MAC3", "TAC"]),
        ("805C000204", "0000222E9000", ["balance"]),
        ("00B201C400", "00010000000000 04E206000000000001200708011215009000",
         ["serial after", "overdraft limit", "amount", "type", "terminal", "date", "time"]),
        ("04B095000411223344 02", "AABB11223344 9000", ["data", "MAC"]),
        ("00A40000023F00", "6F05840331323390 00", ["FCI template", "  directory name"]),
    ],
)  # fmt: skip
def test_answers_are_read_in_the_light_of_the_command(command, answer, names):
    command_only = fields("apdu", command)
    both = fields("apdu", command, "--answer", answer)
    assert [field["name_en"] for field in both[len(command_only) : -1]] == names
    assert both[-1]["hex"] == "9000"


def test_a_pin_is_not_repeated():
    done = RUN.invoke(app, ["apdu", "0020000003123456", "--json"])
    assert "123456" not in done.stdout
    assert json.loads(done.stdout)["bytes"] is None


def test_tlv_keeps_the_tree():
    found = fields("tlv", "61:11:4F:09:A0:00:00:00:03:86:98:07:01:50:04:50:42:4F:43")
    assert [field["name_en"] for field in found] == [
        "directory entry",
        "  application identifier",
        "  application label",
    ]
    assert found[2]["meaning_en"] == '50424F43 "PBOC"'


@pytest.mark.parametrize(
    "words", [["apdu", "00A40400FF00"], ["tlv", "6111"], ["sw", "90"], ["apdu", "00", "A4"]]
)
def test_bytes_that_cannot_be_it_are_rejected_with_a_code(words):
    done = RUN.invoke(app, words)
    assert isinstance(done.exception, Rejected)
    assert done.exception.code == "CARD-BYTES"
    assert done.exception.facts["reason"]


@pytest.mark.parametrize(
    "words", [["apdu", "0G"], ["sw", "900"], ["tlv", ""], ["tlv", "00" * 5000]]
)
def test_no_hex_is_a_usage_error(words):
    assert RUN.invoke(app, words).exit_code == 2


def test_chinese_takes_two_columns():
    assert padded("金额", 6) == "金额  "
    assert padded("amount", 6) == "amount"
