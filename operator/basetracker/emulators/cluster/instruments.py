"""What a test can see of a cluster and do to it: the request log, counters, and faults.

Owns the record of a bounded number of requests and the list of planned faults. The server asks here before and after
each request; nothing here knows what a request means.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_KEPT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One answered request; `status` 0 means that the connection was cut instead."""

    method: str
    path: str
    query: Mapping[str, str]
    user: str
    user_agent: str
    content_type: str
    status: int


@dataclass(slots=True, kw_only=True)
class Fault:
    """A planned fault for requests whose `METHOD /path?query` matches the regular expression `match`.

    It strikes `times` times (None: always), before the request takes effect, or after it with `after`. It cuts the
    connection with `drop`, else answers with `status`, `headers` and `body`; with neither it only delays, in seconds.
    """

    match: str
    times: int | None = 1
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str = b""
    after: bool = False
    drop: bool = False
    delay: float = 0.0


class Instruments:
    """The log and the faults of one cluster."""

    def __init__(self) -> None:
        self.requests: deque[RequestRecord] = deque(maxlen=_KEPT)
        self.writes: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.listeners: list[Callable[[RequestRecord], None]] = []

    def record(self, request: RequestRecord) -> None:
        """Keep a request that has had its effect and is about to be answered; a watch when it has ended."""
        self.requests.append(request)
        for listener in self.listeners:
            listener(request)

    def strike(self, line: str, *, after: bool) -> Fault | None:
        """The fault that strikes this request now, if any; used up ones are gone."""
        for fault in self.faults:
            if fault.after is after and re.search(fault.match, line):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                return fault
        return None

    def count_write(self, verb: str, resource: str) -> None:
        """Count a write that was carried out, as `patch baseimagetrackers/status`."""
        self.writes[f"{verb} {resource}"] += 1
