"""One write over HTTP: who sends it, under which ``Idempotency-Key``, in which transaction (residence.md 5.5)."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel, ConfigDict

from api.deps import City, Who
from core.clock import Clock
from core.db import Tx
from registry import repeats, vault
from registry.roles import Actor
from registry.vault import Vault

A = TypeVar("A", bound=BaseModel)
Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Chosen by the sender, a new one for each new request; a repeat keeps it.",
    ),
]


class Body(BaseModel):
    """What is sent in: a field nobody knows is a mistake of the sender."""

    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64")


class Write:
    """A route's hold on its request: the sender, the clock, and `once`."""

    def __init__(self, request: Request, city: City, who: Who, key: Key) -> None:
        self.actor: Actor = who.actor
        self.point = who.point
        self.clock: Clock = city.clock
        self._db, self._key = city.db, key
        self._asked = f"{request.method} {request.url.path}?{request.url.query}\n"

    @property
    def vault(self) -> Vault:
        """For what is sealed before a transaction begins. Raises Unavailable VAULT-NONE."""
        return vault.of(self._db)

    def once(self, answer: type[A], body: Body | None, act: Callable[[Tx], A]) -> A:
        """What `act` answers in a transaction of its own, or answered when this request came before.

        Raises Rejected E-KEY-REUSED, and what `act` raises.
        """
        asked = self._asked + ("" if body is None else body.model_dump_json())
        with self._db.write() as tx:
            kept = repeats.once(
                tx, self.clock, self.actor.name, self._key, asked.encode(),
                lambda tx: act(tx).model_dump_json(),
            )  # fmt: skip
        return answer.model_validate_json(kept)


Sending = Annotated[Write, Depends(Write)]
