"""What the card centre and the works deliver, for tests: see `runtime.training_works`."""

from runtime.training_works import PIN, PurseWorks, verify_pin

__all__ = ["PIN", "PurseWorks", "verify_pin"]
