"""What every route asks for: the services, the caller's language, who signed in."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.problems import language
from registry.points.sign_in import NotSignedIn, SignedIn, sign_in
from runtime.services import Services


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


City = Annotated[Services, Depends(_services)]
Language = Annotated[str, Depends(language)]
_bearer = HTTPBearer(auto_error=False, description="The token of a grant, see «citycard access».")


def _who(
    city: City, held: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> SignedIn:
    if held is None:
        raise NotSignedIn("E-SIGN-IN", "no token was sent")
    with city.db.read() as tx:
        return sign_in(tx, city.clock, held.credentials)


Who = Annotated[SignedIn, Depends(_who)]
