"""The fault catalogue and the status-word table belong together."""

from cardos import spec
from core.faults import catalogue


def test_every_status_word_has_a_catalogue_entry():
    codes = {f"CHIP-{sw:04X}" for sw in spec.SW_TEXTS if sw != spec.SW.OK}
    codes |= {f"CHIP-63C{left}" for left in range(4)} | {"CHIP-IMAGE"}
    assert codes <= set(catalogue())


def test_counting_status_words_are_read():
    assert spec.tries_left(0x63C2) == 2
    assert spec.tries_left(0x6300) is None
    assert "2 tries" in spec.sw_text(0x63C2)[0]
    assert "18" in spec.sw_text(0x6C12)[0]
