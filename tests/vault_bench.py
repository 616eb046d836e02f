"""The vault of a test run: a real HSM engine in this process, one for all its databases."""

import atexit
from contextlib import ExitStack
from functools import cache

from core.db import Database
from registry import vault
from runtime.training_vault import training_vault

_closing = ExitStack()


@cache
def run_vault() -> vault.Vault:
    """Made when first needed; a program that is no test run closes it when it ends."""
    atexit.register(close)
    return _closing.enter_context(training_vault())


def with_vault(db: Database) -> Database:
    """The same database, in which people can be registered."""
    vault.attach(db, run_vault())
    return db


def close() -> None:
    """The keys of the run end."""
    _closing.close()
    run_vault.cache_clear()
