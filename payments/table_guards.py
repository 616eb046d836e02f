"""A transfer is history: no statement may change or drop it, whatever program is connected."""

_SQLITE_GUARDS = (
    "CREATE TRIGGER ledger_transfer_no_{verb} BEFORE {verb} ON ledger_transfer "
    "BEGIN SELECT RAISE(ABORT, 'ledger transfers are immutable'); END"
)
_POSTGRES_FUNCTION = (
    "CREATE OR REPLACE FUNCTION ledger_transfer_immutable() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'ledger transfers are immutable'; END $$"
)
_POSTGRES_GUARD = (
    "CREATE TRIGGER ledger_transfer_immutable BEFORE UPDATE OR DELETE ON ledger_transfer "
    "FOR EACH ROW EXECUTE FUNCTION ledger_transfer_immutable()"
)
_POSTGRES_EMPTYING = (  # TRUNCATE touches no row; SQLite has no such statement
    "CREATE TRIGGER ledger_transfer_not_emptied BEFORE TRUNCATE ON ledger_transfer "
    "FOR EACH STATEMENT EXECUTE FUNCTION ledger_transfer_immutable()"
)


def guards(dialect: str) -> tuple[str, ...]:
    """The statements that make transfers immutable, in the order they are made in."""
    if dialect == "sqlite":
        return tuple(_SQLITE_GUARDS.format(verb=verb) for verb in ("UPDATE", "DELETE"))
    return (_POSTGRES_FUNCTION, _POSTGRES_GUARD, _POSTGRES_EMPTYING)
