"""What the card centre and the works deliver, for tests: see `runtime.training_works`."""

from runtime.training_works import PIN, PurseWorks, verify_pin

__all__ = ["PATIENT", "PIN", "PurseWorks", "verify_pin"]
PATIENT = {
    "card_failures": 1_000_000,
    "client_failures_per_minute": 1_000_000,
    "pin_failures_per_minute": 1_000_000,
}
"""Limits for a model that puts weeks of faults into a minute of the HSM's own time."""
