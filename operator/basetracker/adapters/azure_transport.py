"""How Azure's own clients send: through the session, limits and holds of `http`.

Owns one transport class and how an SDK's failure is told. Knows neither ARM nor Entra. Used by `azure_identity` and
by the builders; imported by them only when Azure is really used, since Azure's packages take half a second to load.
"""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport
from yarl import URL

from basetracker.adapters.http import Http, failure, host_of
from basetracker.errors import BasetrackerError


class SharedTransport(AioHttpTransport):  # type: ignore[misc]  # the SDK loads it lazily, as Any
    """A transport that never closes the session it is given, and sends nothing to a host that is held."""

    def __init__(self, http: Http) -> None:
        super().__init__(session=http.session, session_owner=False, connection_timeout=10, read_timeout=60)
        self._http = http

    async def send(self, request: Any, *, stream: bool = False, proxies: Any = None, **config: Any) -> Any:
        """Send one request; the answer is Azure's own type.

        Raises:
            UnavailableError: nothing was sent: the host has asked for a pause, or `http` is closed.
            AzureError: as the SDK's own transport.
        """
        host = host_of(URL(request.url))
        async with self._http.limits.turn(host):
            self.session = self._http.session
            answer = await super().send(request, stream=stream, proxy=self._http.proxy_for(host), **config)
            self._http.note(host, answer.status_code, answer.headers)
            return answer


def transport_failure(host: str, error: AzureError) -> BasetrackerError:
    """The error for a request of an Azure client that got no usable answer."""
    return failure(host, error.inner_exception or error)
