"""The embedded back-end of the port: the same bytes as over TCP, without the network (architecture.md 4).

A `LocalHsm` has the roles it was given, one client for each, as a program over TCP has one certificate for each.
"""

from collections.abc import Sequence

from hsm_sim.client import NotSupportedByDevice, R, Request, Role
from hsm_sim.engine import Engine
from hsm_sim.errors import HsmForbidden
from hsm_sim.frame import open_answer
from hsm_sim.work import Client

HEADER = b"0000"


class LocalHsm:
    """An HSM in this process. Implements `client.Hsm`."""

    def __init__(self, engine: Engine, roles: Sequence[Role] = tuple(Role)) -> None:
        self._engine = engine
        self._clients = {role: Client(f"local-{role.lower()}", role) for role in roles}

    def call(self, request: Request[R]) -> R:
        """The answer; raises the errors of `hsm_sim.errors`, HSM-ROLE when no role of ours may ask."""
        client = next(
            (self._clients[role] for role in request.roles if role in self._clients), None
        )
        if client is None:
            raise HsmForbidden("HSM-ROLE", f"{request.code} needs one of {list(request.roles)}")
        body = HEADER + request.code.encode("ascii") + request.encode()
        answer = self._engine.execute(client, body, bulk=request.bulk)
        if answer is None:
            raise NotSupportedByDevice("HSM-DEVICE", "the frame held no command")
        return request.parse(open_answer(answer, HEADER, request.code))
