"""What every route asks for: the services, the caller's language, who signed in."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.problems import language
from registry.points.sign_in import NotSignedIn, SignedIn, sign_in
from registry.roles import Role, require
from runtime.services import Services


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


City = Annotated[Services, Depends(_services)]
Language = Annotated[str, Depends(language)]
OUTSIDERS = frozenset({Role.EMPLOYER_OP, Role.LANDLORD, Role.TERMINAL, Role.HOLDER})
_bearer = HTTPBearer(auto_error=False, description="The token of a grant, see «citycard access».")


def _who(
    city: City, held: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> SignedIn:
    if held is None:
        raise NotSignedIn("E-SIGN-IN", "no token was sent")
    with city.db.read() as tx:
        return sign_in(tx, city.clock, held.credentials)


Who = Annotated[SignedIn, Depends(_who)]


def _insider(
    city: City, held: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """A run shows drawn people to everybody; where an HSM opens real ones, who looks has a grant and works here.

    Raises NotSignedIn E-SIGN-IN; NotAllowed E-ROLE, and as `sign_in`.
    """
    if city.hsm is not None:
        require(_who(city, held).actor, *(role for role in Role if role not in OUTSIDERS))


Insider = Depends(_insider)
