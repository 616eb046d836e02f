"""Which address code does a free text mean? Exact keys first, then weighted agreement (residence.md 7.4).

Numbers must agree: a plate, building, unit or room is never "corrected". Only the name of a road may be
misspelt, and only when no road has the name that was written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from registry.rental.normalise import Parts, parse

W_PLATE, W_ROAD, W_BUILDING, W_ROOM, W_REST = 0.30, 0.25, 0.20, 0.20, 0.05
AUTO_SCORE, AUTO_RUNNER_UP, QUEUE_SCORE = 0.98, 0.90, 0.80
MAX_CANDIDATES = 5
_SUFFIXES = ("路", "街", "道", "巷", "村", "里", "坊")


class Verdict(StrEnum):
    """What becomes of a text."""

    AUTO = "AUTO"
    QUEUE = "QUEUE"
    UNMATCHED = "UNMATCHED"


@dataclass(frozen=True)
class Match:
    """Candidates with scores, best first, and the verdict over them."""

    verdict: Verdict
    candidates: tuple[tuple[str, float], ...]

    @property
    def code(self) -> str | None:
        """The code, when it was taken without a person."""
        return self.candidates[0][0] if self.verdict is Verdict.AUTO else None


class AddressIndex:
    """All ACTIVE addresses by key, plate and road. Built once, then read only."""

    def __init__(self, addresses: Iterable[tuple[str, str]]) -> None:
        """`addresses`: (code, text) pairs."""
        self._by_key: dict[tuple[str, ...], list[str]] = {}
        self._by_numbers: dict[tuple[str, ...], list[tuple[str, Parts]]] = {}
        self._roads: set[str] = set()
        for code, text in addresses:
            parts = parse(text)
            self._by_key.setdefault(parts.key, []).append(code)
            self._by_numbers.setdefault(_numbers(parts), []).append((code, parts))
            self._roads.add(parts.road)

    def match(self, text: str) -> Match:
        """The codes a text may mean, at most five."""
        wanted = parse(text)
        if not wanted.room or not (wanted.plate or wanted.building):
            return Match(Verdict.UNMATCHED, ())
        scores: dict[str, float] = dict.fromkeys(self._by_key.get(wanted.key, ()), 1.0)
        for code, parts in self._candidates(wanted):
            score = self._score(wanted, parts)
            if score >= QUEUE_SCORE and score > scores.get(code, 0.0):
                scores[code] = score
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:MAX_CANDIDATES]
        return Match(_verdict(ranked), tuple(ranked))

    def _candidates(self, wanted: Parts) -> Iterable[tuple[str, Parts]]:
        """Every address whose numbers agree; a unit may be missing on one side."""
        yield from self._by_numbers.get(_numbers(wanted), ())

    def _score(self, wanted: Parts, other: Parts) -> float:
        score = W_PLATE + W_BUILDING + W_ROOM  # `_numbers` are the same
        score += W_ROAD * self._road_agreement(wanted.road, other.road)
        rest = (wanted.compound == other.compound) + (wanted.unit == other.unit)
        return score + W_REST * rest / 2

    def _road_agreement(self, written: str, known: str) -> float:
        if written == known:
            return 1.0
        if written in self._roads:
            return 0.0  # it exists: not a misspelling of another
        left, right = _stem(written), _stem(known)
        longest = max(len(left), len(right))
        return 0.0 if not longest else max(0.0, 1 - distance(left, right) / longest)


def _numbers(parts: Parts) -> tuple[str, ...]:
    return (parts.plate, parts.building, parts.room)


def _verdict(ranked: list[tuple[str, float]]) -> Verdict:
    if not ranked:
        return Verdict.UNMATCHED
    runner_up = ranked[1][1] if len(ranked) > 1 else 0.0
    if ranked[0][1] >= AUTO_SCORE and runner_up <= AUTO_RUNNER_UP:
        return Verdict.AUTO
    return Verdict.QUEUE


def _stem(road: str) -> str:
    return road[:-1] if road.endswith(_SUFFIXES) and len(road) > 1 else road


def distance(left: str, right: str) -> int:
    """Edit distance with neighbouring letters swapped counted as one.

    >>> distance("海景", "海井"), distance("深盐", "盐深"), distance("环梅", "梅")
    (1, 1, 1)
    """
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before = before, row
        row = [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]


@dataclass(frozen=True)
class Quality:
    """A6: how well texts were matched against a gold sample (7.5). Shares in hundredths of a percent."""

    texts: int
    auto: int
    right: int
    queued: int
    queued_with_right: int
    unmatched: int
    should_match: int

    @property
    def precision_bp(self) -> int:
        """Right among those taken without a person."""
        return 10_000 * self.right // self.auto if self.auto else 0

    @property
    def recall_bp(self) -> int:
        """Right without a person among all texts that have a right answer."""
        return 10_000 * self.right // self.should_match if self.should_match else 0

    @property
    def assisted_recall_bp(self) -> int:
        """The same, counting texts where the right answer lies before a person in the queue."""
        found = self.right + self.queued_with_right
        return 10_000 * found // self.should_match if self.should_match else 0


def measure(index: AddressIndex, gold: Mapping[str, str | None]) -> Quality:
    """Match every text of a gold sample; None: the text means no known address."""
    auto = right = queued = with_right = unmatched = 0
    for text, code in gold.items():
        found = index.match(text)
        if found.verdict is Verdict.AUTO:
            auto += 1
            right += found.code == code
        elif found.verdict is Verdict.QUEUE:
            queued += 1
            with_right += code in [candidate for candidate, _ in found.candidates]
        else:
            unmatched += 1
    should = sum(code is not None for code in gold.values())
    return Quality(len(gold), auto, right, queued, with_right, unmatched, should)
