"""What every route asks for: the services and the caller's language."""

from typing import Annotated

from fastapi import Depends, Request

from api.problems import language
from runtime.services import Services


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


City = Annotated[Services, Depends(_services)]
Language = Annotated[str, Depends(language)]
