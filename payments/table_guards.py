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


def guards(dialect: str) -> tuple[str, ...]:
    """The statements that make transfers immutable, for the schema's migrations too."""
    if dialect == "sqlite":
        return tuple(_SQLITE_GUARDS.format(verb=verb) for verb in ("UPDATE", "DELETE"))
    return (_POSTGRES_FUNCTION, _POSTGRES_GUARD)
