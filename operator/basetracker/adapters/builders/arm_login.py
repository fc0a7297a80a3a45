"""How ARM is told who asks: an Entra token, and another one when it was refused before its end.

Owns nothing but that second try, for which Azure's package has a place in its policy. A 401 says for certain that nothing
was done, so that even a request that may be sent only once is sent again. Used by `arm`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy

from basetracker.adapters.azure_identity import AzureIdentity

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineRequest, PipelineResponse


class ArmLogin(AsyncARMChallengeAuthenticationPolicy):
    """The policy of Azure's package, which alone forgets a refused token and then gets the same one again."""

    def __init__(self, identity: AzureIdentity, scope: str) -> None:
        super().__init__(identity, scope)
        self._identity = identity
        self._scope = scope

    async def on_challenge(self, request: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether the request has got other credentials and is to be sent again.

        Raises:
            DeniedError, UnavailableError: as `AzureIdentity.token`.
        """
        if await super().on_challenge(request, response):
            return True
        refused = request.http_request.headers["Authorization"].removeprefix("Bearer ")
        other = await self._identity.another_token(self._scope, refused)
        if other is None:
            return False
        request.http_request.headers["Authorization"] = f"Bearer {other}"
        return True
