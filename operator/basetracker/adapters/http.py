"""The one way out to registries and their token services.

Owns the aiohttp session (TLS, proxy, keep-alive, time-outs), the limits per host, the bound on what is read, and the
translation of everything that can go wrong on the wire. Knows no registry protocol and no credential. Azure's own
clients share its session and limits through `azure_transport`.

The environment's proxy settings are read here and not by aiohttp's `trust_env`, which would also add passwords of a
`.netrc` file to requests and costs two thread switches a request.
"""

from __future__ import annotations

import re
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Self

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from basetracker import __version__
from basetracker.adapters.fence import fence
from basetracker.adapters.host_limits import HeldError, HostLimits
from basetracker.errors import BasetrackerError, InvalidError, UnavailableError
from basetracker.ports import Clock

TOKEN_LIMIT: Final = 64 * 1024
"""Bytes: the largest answer of a token service, and of an error, that is read."""
_LONGEST_HOLD: Final = 3600.0
_HOLD_WITHOUT_HEADER: Final = 30.0
_CHUNK: Final = 64 * 1024

Count = Callable[[str, str], None]
"""Told of every request: host, and its status, `error` or `held`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; `url` is what was asked, without its query, which may be a secret."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    body: bytes = field(repr=False)
    url: URL


class Http:
    """Requests with limits per host; use `async with`, or `close` it."""

    def __init__(
        self,
        clock: Clock,
        *,
        limits: HostLimits | None = None,
        ca_bundle: str | None = None,
        timeout: float = 30.0,
        proxies: Mapping[str, str] | None = None,
        count: Count | None = None,
    ) -> None:
        """`ca_bundle` is a PEM file trusted besides the system's; `timeout` (seconds) bounds one request.

        `proxies` are those of the environment (HTTPS_PROXY, NO_PROXY) unless given: `{"https": url, "no": hosts}`.
        """
        self._clock = clock
        self._limits = limits or HostLimits(clock)
        self._ca_bundle = ca_bundle
        self._timeout = timeout
        self._proxies = dict(urllib.request.getproxies_environment() if proxies is None else proxies)
        self._count = count or (lambda _host, _outcome: None)
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, for good. Azure's clients that share them are closed before."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def limits(self) -> HostLimits:
        """The limits per host, shared with whoever else sends through this session."""
        return self._limits

    @property
    def clock(self) -> Clock:
        """The clock that all waits go by."""
        return self._clock

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, opened on first use; needs a running loop.

        Raises:
            UnavailableError: it is closed; what still asks was begun before the end.
        """
        if self._is_closed:
            raise UnavailableError("nothing is asked any more, since this process ends")
        if self._session is None:
            context = ssl.create_default_context()
            if self._ca_bundle:
                context.load_verify_locations(cafile=self._ca_bundle)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, keepalive_timeout=60, limit=0, limit_per_host=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(10.0, self._timeout)),
                headers={"User-Agent": f"basetracker/{__version__}", "Accept-Encoding": "identity"},
                auto_decompress=False,
                trust_env=False,
                trace_configs=[fence()],
            )
        return self._session

    def proxy_for(self, host: str) -> str | None:
        """The proxy through which `host` (with its port, if any) is reached by https; None for none."""
        bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed leaves it out
        if bypass(host, self._proxies):
            return None
        return self._proxies.get("https") or self._proxies.get("all")

    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        limit: int = TOKEN_LIMIT,
    ) -> Answer:
        """Send one request over https and read at most `limit` bytes; redirects are answers, not followed.

        Raises:
            UnavailableError: no answer, a broken one, 429 or 5xx; or the host is held and nothing was sent.
            InvalidError: a longer answer, or not an https address.
        """
        host = host_of(url)
        if url.scheme != "https" or not url.host:
            raise InvalidError(f"{host or 'an address'} is not reached by https; only https is used for registries")
        try:
            async with self._limits.turn(host):
                return await self._send(method, url, host, headers, form, limit)
        except HeldError:
            self._count(host, "held")
            raise

    def note(self, host: str, status: int, headers: Mapping[str, str]) -> float | None:
        """Count an answer and hold the host when it asks for a pause; answers that pause in seconds."""
        self._count(host, str(status))
        pause = retry_after(headers.get("Retry-After"), self._clock.now()) if status in {429, 503} else None
        if status == 429 and pause is None:
            pause = _HOLD_WITHOUT_HEADER
        if pause is not None:
            self._limits.hold(host, pause)
        return pause

    async def _send(
        self,
        method: str,
        url: URL,
        host: str,
        headers: Mapping[str, str] | None,
        form: Mapping[str, str] | None,
        limit: int,
    ) -> Answer:
        try:
            async with self.session.request(
                method, url, headers=headers, data=form, allow_redirects=False, proxy=self.proxy_for(host)
            ) as response:
                pause = self.note(host, response.status, response.headers)
                if response.status == 429 or response.status >= 500:
                    raise refusal(host, response.status, pause)
                body = await _read(response, host, limit)
                return Answer(status=response.status, headers=response.headers, body=body, url=url.with_query(None))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._count(host, "error")
            raise failure(host, error) from error


def host_of(url: URL) -> str:
    """The host with its port where that isn't the scheme's own."""
    host = (url.host_subcomponent or "").lower()
    return host if url.is_default_port() or url.port is None else f"{host}:{url.port}"


def refusal(host: str, status: int, pause: float | None) -> UnavailableError:
    """The error for a 429 or 5xx answer."""
    if status == 429:
        return UnavailableError(f"{host} asks for fewer requests (status 429)", retry_after=pause)
    return UnavailableError(f"{host} can't answer now (status {status})", retry_after=pause)


def failure(host: str, error: BaseException) -> BasetrackerError:
    """The error for a request that got no answer, in words that don't change from one try to the next."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return UnavailableError(
                f"the TLS certificate of {host} is not trusted{_certificate_problem(error)}; "
                "name a file with its CA in BASETRACKER_CA_FILE"
            )
        case aiohttp.ClientHttpProxyError():
            return UnavailableError(f"the proxy refuses to connect to {host} (status {error.status})")
        case aiohttp.ClientProxyConnectionError():
            return UnavailableError(f"the proxy for {host} can't be reached; see HTTPS_PROXY and NO_PROXY")
        case aiohttp.ClientConnectorDNSError():
            return UnavailableError(f"the host name {host} can't be resolved; see its spelling and the cluster's DNS")
        case aiohttp.ClientConnectorError():
            return UnavailableError(f"{host} can't be connected to; see its address and the network's rules")
        case TimeoutError():
            return UnavailableError(f"{host} didn't answer in time")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | UnicodeError():
            return InvalidError(f"{host} is not an address that can be asked")
        case _:
            return UnavailableError(f"the connection to {host} broke before the answer was complete")


def retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for, 1 to 3600; None when there is none or it can't be read."""
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        seconds = float(text)
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 1.0), _LONGEST_HOLD)


def _certificate_problem(error: BaseException) -> str:
    cause = getattr(error, "certificate_error", None) or error.__cause__
    message = getattr(cause, "verify_message", "")
    return f" ({message})" if message else ""


async def _read(response: aiohttp.ClientResponse, host: str, limit: int) -> bytes:
    """The body; that of an error is cut off rather than refused, since its status says enough."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > limit:
            response.close()
            if response.status >= 400:
                return bytes(body[:limit])
            raise InvalidError(f"{host} answers with more than {limit // 1024} KiB where that much is never needed")
    return bytes(body)
