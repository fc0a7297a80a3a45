"""How Resource Graph is asked for findings: many digests in one query, page by page, within its quota.

Owns batches, paging and the quota. The quota is one for all that the identity asks, so one query goes at a time and an empty
quota holds them all. Knows no gate. Used by `gate`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from basetracker.adapters.builders.arm import Arm
from basetracker.adapters.gates.defender.columns import Row, ShapeError, query, read_row
from basetracker.adapters.http import retry_after
from basetracker.errors import InvalidError, UnavailableError
from basetracker.oci.refs import Digest
from basetracker.ports import Clock

if TYPE_CHECKING:
    from azure.mgmt.resourcegraph.models import QueryResponse

_ACTION: Final = "Microsoft.Security/assessments/read"
_RESOURCE: Final = "the findings of Defender for Cloud"
_PAGE: Final = 1_000
_MOST_PAGES: Final = 20
_LONGEST_PAUSE: Final = 30.0
"""Seconds for which an empty quota is waited out; who asks when it takes longer is told so."""
_PAUSE: Final = 5.0
_WINDOW: Final = 2.0
_MOST_DIGESTS: Final = 50
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What Defender says of one digest; without `whole` it may have said more that couldn't be read."""

    rows: tuple[Row, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    digests: dict[Digest, None]
    task: asyncio.Task[Mapping[Digest, Known]]


@dataclass(slots=True)
class _Rows:
    """What a query has answered; there are `more` when it has more pages than are read, `cut` when Azure keeps some back."""

    documents: list[object] = field(default_factory=list)
    more: bool = False
    cut: bool = False


class Findings:
    """Defender's findings as the operator's identity can see them; needs a running loop when it is first asked."""

    def __init__(
        self,
        arm: Arm,
        clock: Clock,
        *,
        subscriptions: Sequence[str] = (),
        window: float = _WINDOW,
        most: int = _MOST_DIGESTS,
    ) -> None:
        """Only `subscriptions` (ids) are looked at; with none given, all that the identity can see.

        Who asks waits `window` seconds for others; at most `most` digests go into one query.
        """
        self._arm = arm
        self._clock = clock
        self._subscriptions = list(subscriptions) or None
        self._window = window
        self._most = most
        self._open: _Batch | None = None
        self._tasks: set[asyncio.Task[Mapping[Digest, Known]]] = set()
        self._one_query = asyncio.Lock()
        self._held_until = 0.0

    async def about(self, digest: Digest) -> Known:
        """What Defender says of the digest.

        Raises:
            DeniedError: the identity may not ask.
            UnavailableError: no answer now, or no query is left in the quota.
            InvalidError: the answer is nothing like one.
        """
        if self._open is None or len(self._open.digests) >= self._most:
            self._open = self._begin()
        batch = self._open
        batch.digests[digest] = None
        return (await asyncio.shield(batch.task))[digest]

    async def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self) -> _Batch:
        digests: dict[Digest, None] = {}
        batch = _Batch(digests=digests, task=asyncio.create_task(self._answer(digests)))
        self._tasks.add(batch.task)
        batch.task.add_done_callback(self._ended)
        return batch

    def _ended(self, task: asyncio.Task[Mapping[Digest, Known]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even when everybody who asked was cancelled

    async def _answer(self, digests: dict[Digest, None]) -> Mapping[Digest, Known]:
        await self._clock.sleep(self._window)
        if self._open is not None and self._open.digests is digests:
            self._open = None
        return await self._about_all(tuple(digests))

    async def _about_all(self, digests: tuple[Digest, ...]) -> Mapping[Digest, Known]:
        rows = await self._rows(query(digests))
        if rows.more and len(digests) > 1:
            # One image with very many findings must not hide those of the others.
            half = len(digests) // 2
            return {**await self._about_all(digests[:half]), **await self._about_all(digests[half:])}
        return _sorted(digests, rows.documents, whole=not (rows.more or rows.cut))

    async def _rows(self, text: str) -> _Rows:
        rows = _Rows()
        token: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._page(text, token)
            if not isinstance(page.data, list):
                raise InvalidError(f"{self._arm.host} answers for {_RESOURCE} with something that can't be read")
            rows.documents += page.data
            token = page.skip_token
            if not token:
                truncated = str(page.result_truncated).lower() != "false"
                rows.cut = truncated or len(rows.documents) != page.total_records
                return rows
        rows.more = True
        return rows

    async def _page(self, text: str, token: str | None) -> QueryResponse:
        client = self._arm.graph()
        from azure.mgmt.resourcegraph.models import QueryRequest, QueryRequestOptions

        options = QueryRequestOptions(result_format="objectArray", top=_PAGE, skip_token=token)
        request = QueryRequest(query=text, subscriptions=self._subscriptions, options=options)
        async with self._one_query:
            await self._await_quota()
            with self._arm.told(_ACTION, _RESOURCE):
                return await client.resources(request, raw_response_hook=self._note)

    async def _await_quota(self) -> None:
        left = self._held_until - self._clock.monotonic()
        if left > _LONGEST_PAUSE:
            raise UnavailableError("Azure Resource Graph asks for fewer queries", retry_after=left)
        if left > 0:
            await self._clock.sleep(left)

    def _note(self, response: Any) -> None:
        """Hold all queries when the quota is empty; told of every answer by the client."""
        answer = response.http_response
        empty = answer.status_code == 429 or _is_empty(answer.headers.get("x-ms-user-quota-remaining"))
        if not empty:
            return
        asked = retry_after(answer.headers.get("Retry-After"), self._clock.now()) or 0.0
        pause = max(asked, _span(answer.headers.get("x-ms-user-quota-resets-after")))
        self._held_until = max(self._held_until, self._clock.monotonic() + (pause or _PAUSE))


def _sorted(digests: Sequence[Digest], documents: Sequence[object], *, whole: bool) -> Mapping[Digest, Known]:
    """The rows by digest. One that can't be read spoils its own digest, or all of them when it doesn't name one."""
    rows: dict[Digest, list[Row]] = {digest: [] for digest in digests}
    spoilt: set[Digest] = set() if whole else set(digests)
    for document in documents:
        try:
            row = read_row(document)
        except ShapeError as error:
            _log.warning("a finding of Defender for Cloud can't be read: %s", error)
            named = document.get("digest") if isinstance(document, Mapping) else None
            known = {digest for digest in digests if str(digest) == named}
            spoilt |= known or set(digests)
            continue
        if row.digest in rows:
            rows[row.digest].append(row)
    return {digest: Known(rows=tuple(rows[digest]), whole=digest not in spoilt) for digest in digests}


def _is_empty(remaining: str | None) -> bool:
    return remaining is not None and re.fullmatch(r"\s*-?[0-9]{1,9}\s*", remaining) is not None and int(remaining) <= 0


def _span(text: str | None) -> float:
    """Seconds of a span like `00:00:05`; 0 when it can't be read."""
    found = re.fullmatch(r"(\d{1,3}):(\d{2}):(\d{2})(?:\.\d+)?", (text or "").strip())
    return 0.0 if found is None else min(int(found[1]) * 3600.0 + int(found[2]) * 60.0 + int(found[3]), 3600.0)
