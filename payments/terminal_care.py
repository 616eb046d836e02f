"""What a terminal fetches and reports between customers: lists, parameters, status (iso8583-host.md 7.8 to 7.10).

Parameters are checked one by one and applied all or none; a list is applied only when complete (I-15).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from core.clock import SHANGHAI
from core.errors import EvidenceMismatch, Rejected
from payments.field_parts import (
    LIST_BLACK,
    LIST_STATUS,
    MERCHANT_NAME_BYTES,
    PAGE_NOTHING,
    ListAsk,
    ListPage,
    PartFault,
    parse_items,
)
from payments.messages import Message
from payments.terminal_host import HostSession, Reply, expect_done
from payments.terminal_lists import CardLists, Collector, load_lists, save_lists
from payments.terminal_sales import SaleRules, SalesDesk, paid_at

MAX_PAGES = 10_000
_LENGTHS = {
    "11": 2, "12": 2, "13": 1, "14": 14, "15": 14, "16": 14, "17": 14, "23": 1, "80": 12, "81": 12,
    "82": 12, "83": 3, "84": 4, "85": 8, "86": 4, "87": 12, "88": 4,
}  # fmt: skip
MERCHANT_NAME = "22"
PARAMETER = "parameter "  # marks of the store: each item as it came


@dataclass
class CareDesk:
    """Lists, parameters and status of one terminal; the lists stand in a file of their own."""

    session: HostSession
    path: Path

    def __post_init__(self) -> None:
        self.lists: CardLists = load_lists(self.path)

    # -- lists --------------------------------------------------------------------------------------

    def update_lists(self) -> CardLists:
        """Bring both lists to the host's version. Raises Unavailable TERM-SILENT, EvidenceMismatch TERM-LIST."""
        for letters in (LIST_BLACK, LIST_STATUS):
            self._update(letters)
        return self.lists

    def _update(self, letters: str) -> None:
        session = self.session
        pages = Collector(letters, self.lists.version(letters))
        for _ in range(MAX_PAGES):
            page = self._page(ListAsk(letters, pages.in_hand, pages.next_index))
            if page.flag == PAGE_NOTHING and pages.untouched(page):
                self._keep(self.lists.checked(letters, session.now()))
                return
            pages.take(page)
            if pages.complete:
                break
        else:
            raise EvidenceMismatch("TERM-LIST", "the list does not end")
        self._keep(self.lists.applied(letters, pages, session.now()))
        expect_done(
            session.ask(
                lambda: session.station().list_done(session.trace(), letters, pages.version),
                session.waits.other,
            )
        )

    def _page(self, ask: ListAsk) -> ListPage:
        session = self.session
        answer = expect_done(
            session.ask(
                lambda: session.station().list_page(session.trace(), ask), session.waits.other
            )
        )
        try:
            return ListPage.parse(answer.octets(62))
        except PartFault as fault:
            raise EvidenceMismatch("TERM-LIST", fault.detail) from fault

    def _keep(self, lists: CardLists) -> None:
        save_lists(self.path, lists)
        self.lists = lists

    # -- parameters ---------------------------------------------------------------------------------

    def update_parameters(self, rules: SaleRules) -> SaleRules:
        """Fetch and check all parameters; returns the new rules. Rejected TERM-PARAMETER leaves the old ones."""
        session = self.session
        answer = expect_done(self._ask(lambda: session.station().parameters(session.trace())))
        try:
            values = parse_items(answer.octets(62))
        except PartFault as fault:
            raise Rejected("TERM-PARAMETER", fault.detail, tag="62") from fault
        changed = self._apply(values, rules)
        session.store.mark(**{PARAMETER + tag: value for tag, value in values.items()})
        expect_done(self._ask(lambda: session.station().parameters_done(session.trace())))
        return changed

    def remembered(self) -> SaleRules:
        """The rules of the last download: a start does not forget them."""
        marks = self.session.store.marks
        known = {
            name.removeprefix(PARAMETER): value
            for name, value in marks.items()
            if name.startswith(PARAMETER)
        }
        return self._apply(known, SaleRules())

    def _apply(self, values: Mapping[str, str], rules: SaleRules) -> SaleRules:
        changed = sale_rules(values, rules)
        if "12" in values:
            waits = self.session.waits
            self.session.waits = replace(waits, load=max(int(values["12"]), 1))
        return changed

    def _ask(self, make: Callable[[], Message]) -> Reply:
        return self.session.ask(make, self.session.waits.other)

    # -- status -------------------------------------------------------------------------------------

    def report(self, sales: SalesDesk | None) -> None:
        """0820 / 362: how much waits, which list, where the PSAM's counter stands, what the clock says."""
        session = self.session
        waiting = session.store.waiting()
        first = paid_at(waiting[0].record) if waiting else None
        age = session.now() - first if first is not None else timedelta(0)
        values = {
            "70": f"{len(waiting):04d}",
            "71": f"{min(max(int(age.total_seconds()) // 60, 0), 999_999):06d}",
            "72": f"{self.lists.black_version:08d}",
            "73": session.identity.psam.hex().upper(),
            "75": session.now().astimezone(SHANGHAI).strftime("%Y%m%d%H%M%S"),
            "76": f"{sum(c.state == 'reversing' for c in session.store.open_loads()):03d}",
        }
        if sales is not None:
            values["74"] = f"{sales.psam_counter():08X}"
        ordered = dict(sorted(values.items()))
        expect_done(self._ask(lambda: session.station().status(session.trace(), ordered)))


def sale_rules(values: Mapping[str, str], rules: SaleRules) -> SaleRules:
    """Rules of sales from checked parameters. Raises Rejected TERM-PARAMETER for any bad one."""
    for tag, value in values.items():
        length = _LENGTHS.get(tag)
        if tag == MERCHANT_NAME:
            good = len(value.encode("gb18030")) <= MERCHANT_NAME_BYTES
        else:
            good = length is not None and len(value) == length and value.isascii()
            good = good and value.strip().isdigit()
        if not good:
            raise Rejected("TERM-PARAMETER", f"parameter {tag} is not usable", tag=tag)
    return replace(
        rules,
        upload_records=max(int(values.get("83", rules.upload_records)), 1),
        upload_after=timedelta(minutes=int(values["84"])) if "84" in values else rules.upload_after,
        largest=int(values.get("87", rules.largest)),
        oldest_list=timedelta(hours=int(values["88"])) if "88" in values else rules.oldest_list,
    )
