"""The rules' numbers in one named place (residence.md 20, profile pilot-2007). Money in fen, spans in days."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Policy:
    """One version of the rules. A changed value is a new version (2 bytes on the chip)."""

    version: int = 1
    deadline_days: int = 3
    grace_employment: int = 7
    grace_residence: int = 7
    notice: int = 3
    lease: int = 90
    list_max_age: timedelta = timedelta(hours=48)
    floor_fen: int = 5_000
    cancel_dormant_months: int = 24
    objection_days: int = 10
    objection_decision_days: int = 5  # working days
    breaker_share_percent: int = 2
    breaker_count: int = 200
    breaker_employer_percent: int = 50
    breaker_floor: int = 10  # below so many sleepers a share says nothing
    feed_silence: timedelta = timedelta(hours=24)
    valid_years_rp: int = 10
    valid_months_trp: int = 6
    fee_new_fen: int = 2_000
    fee_replacement_fen: int = 2_000
    working_days: int = 15
    max_returns: int = 2
    renew_days_before: int = 60
    unclaimed_days: int = 90
    loss_propagation: timedelta = timedelta(hours=24)
    loss_confirm_days: int = 15
    settle_days: int = 10
    adult_age: int = 16
    sla_verify: int = 3  # working days, as the four below
    sla_review: int = 2
    sla_prepare: int = 2
    sla_produce: int = 5
    sla_deliver: int = 3


PILOT = Policy()
ISSUER_NAME = "深圳市公安局盐田分局"
