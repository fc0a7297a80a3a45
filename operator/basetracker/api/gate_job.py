"""The gate that asks a Job, as a user declares it. `gates.py` puts it beside the others."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field

from basetracker.api.document import Document
from basetracker.api.duration import parse_duration
from basetracker.api.fields import Timeout, Value

JsonObject = dict[str, Any]
"""A part of a Kubernetes object whose fields are the API server's matter."""
Marks = Annotated[dict[str, Value], Field(max_length=32)]


class JobMetadata(Document):
    """What the Job carries besides the operator's own labels and annotations."""

    labels: Marks = Field(default_factory=dict)
    annotations: Marks = Field(default_factory=dict)


class JobTemplate(Document):
    """A Job as a CronJob's jobTemplate has it; what the spec may hold is for the API server to say."""

    metadata: JobMetadata | None = None
    spec: JsonObject

    def __hash__(self) -> int:
        # A gate is part of a question, and answers are kept by their questions.
        return hash(self.canonical)

    @property
    def canonical(self) -> str:
        """The template as compact JSON, the same for the same template."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))


class JobGate(Document):
    """A Job that is given the digest; exit code 0 passes."""

    template: JobTemplate
    timeout: Timeout = parse_duration("30m")
