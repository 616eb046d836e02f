"""Random changes to an honest bundle: every one is found, and none makes the verifier stumble."""

import json
import random
import shutil

import pytest

from tests.ceremony_bench import Attack


def changed(data: bytes, dice: random.Random) -> bytes:
    """One byte replaced, dropped or added."""
    place = dice.randrange(len(data))
    kind = dice.randrange(4)
    if kind == 0:
        return data[:place] + data[place + 1 :]
    if kind == 1:
        return data[:place] + bytes([dice.randrange(256)]) + data[place:]
    other = data[place] ^ (1 << dice.randrange(8) if kind == 2 else dice.randrange(1, 256))
    return data[:place] + bytes([other]) + data[place + 1 :]


def missed_changes(attack, seed: int, count: int) -> list[tuple[str, int]]:
    """Random one-byte changes anywhere in the bundle that the verifier did not see."""
    dice = random.Random(seed)
    paths = sorted(path for path in attack.folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in paths]
    missed = []
    for number in range(count):
        path = dice.choices(paths, sizes)[0] if number % 2 else dice.choice(paths)
        data = path.read_bytes()
        fresh = changed(data, dice)
        path.write_bytes(fresh)
        if fresh != data and not attack.codes():
            missed.append((path.name, number))
        path.write_bytes(data)
    assert attack.codes() == set()
    return missed


def test_one_byte_changes_are_all_found(attack):
    assert missed_changes(attack, 7, 60) == []


@pytest.mark.slow
def test_a_thousand_one_byte_changes_are_all_found(attack):
    assert missed_changes(attack, 20261123, 1000) == []


@pytest.mark.slow
def test_lines_deleted_and_swapped_at_random_are_found(attack):
    dice = random.Random(1)
    raw = attack.raw()
    for number in range(100):
        lines = list(raw)
        one, two = dice.sample(range(len(lines)), 2)
        if number % 2:
            del lines[one]
        else:
            lines[one], lines[two] = lines[two], lines[one]
        attack.write(lines)
        assert attack.codes()


STRANGE = (
    None, True, False, 0, 1, -1, 2**53, 2**60, 1.5, "", "x", "kc1", "lmk-1", "\u001b[2J", "ab" * 32, [], [[]],
    [None], {}, {"kid": "x"}, {"x": {}}, "A" * 88, "e\u0301", "\ud800",
)  # fmt: skip


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else ()
    for name, member in enumerate(value) if isinstance(value, list) else inside:
        yield from places(member, (*path, name))


def put_strange(line, dice: random.Random) -> None:
    """Replace, drop or repeat something somewhere in a line."""
    path = dice.choice([path for path in places(line) if path])
    holder = line
    for name in path[:-1]:
        holder = holder[name]
    kind = dice.randrange(6)
    if kind == 0:
        del holder[path[-1]]
    elif kind == 1 and isinstance(holder, list):
        holder.append(holder[path[-1]])
    elif kind == 1:
        holder["more"] = dice.choice(STRANGE)
    else:
        holder[path[-1]] = dice.choice(STRANGE)


def strange_values(honest_bundle, folder, seed: int, count: int) -> None:
    """R puts strange values anywhere and chains and signs anew: findings, and never a crash."""
    dice = random.Random(seed)
    for number in range(count):
        attack = Attack(honest_bundle, folder / str(number))
        before = attack.raw()
        for _ in range(dice.randrange(1, 4)):
            put_strange(dice.choice(attack.lines), dice)
        attack.chain([loose(line) for line in attack.lines])
        assert attack.codes() or attack.raw() == before, number
        shutil.rmtree(attack.folder)


def loose(line) -> bytes:
    """JSON text of anything, canonical or not."""
    return json.dumps(line, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def test_strange_values_are_findings_and_never_a_crash(honest_bundle, tmp_path):
    strange_values(honest_bundle, tmp_path, 4, 15)


@pytest.mark.slow
def test_five_hundred_strange_values(honest_bundle, tmp_path):
    strange_values(honest_bundle, tmp_path, 5, 500)
