"""Kinds that are questions rather than objects: access reviews and token requests.

Owns their answers; nothing of them is stored.
"""

from __future__ import annotations

from datetime import timedelta

from basetracker.emulators.cluster.access import Attributes, Authorizer
from basetracker.emulators.cluster.document import Json, dig, rfc3339
from basetracker.emulators.cluster.identity import ISSUER, Tokens, User
from basetracker.emulators.cluster.objects import Objects
from basetracker.emulators.cluster.refusals import Cause, Refusal, invalid
from basetracker.emulators.cluster.resources import Resource


class Reviews:
    """Answers reviews from the authorizer and the tokens."""

    def __init__(self, objects: Objects, authorizer: Authorizer, tokens: Tokens) -> None:
        self._objects = objects
        self._authorizer = authorizer
        self._tokens = tokens

    def answer(self, kind: str, user: User, body: Json) -> Json | None:
        """The review with its status filled in, or None where the kind is no review."""
        spec = body.get("spec") or {}
        match kind:
            case "SelfSubjectAccessReview":
                status = self._access(user, spec)
            case "SubjectAccessReview":
                status = self._access(User(spec.get("user", ""), tuple(spec.get("groups") or ())), spec)
            case "SelfSubjectRulesReview":
                status = self._rules(user, spec.get("namespace", ""))
            case "SelfSubjectReview":
                status = {"userInfo": {"username": user.name, "groups": list(user.groups)}}
            case "TokenReview":
                status = self._token(spec)
            case _:
                return None
        metadata: Json = {"creationTimestamp": None} | (body.get("metadata") or {})
        return body | {"metadata": metadata, "status": status}

    def _access(self, user: User, spec: Json) -> Json:
        asked = spec.get("resourceAttributes") or {}
        path = dig(spec, "nonResourceAttributes", "path", default="")
        attributes = Attributes(
            verb=asked.get("verb") or dig(spec, "nonResourceAttributes", "verb", default=""),
            group=asked.get("group", ""),
            resource=asked.get("resource", ""),
            subresource=asked.get("subresource", ""),
            namespace=asked.get("namespace", ""),
            name=asked.get("name", ""),
            path=path,
        )
        return {"allowed": self._authorizer.allows(user, attributes)}

    def _rules(self, user: User, namespace: str) -> Json:
        rules = [
            {key: list(rule.get(key) or []) for key in ("verbs", "apiGroups", "resources", "resourceNames")}
            for rule in self._authorizer.rules(user, namespace)
        ]
        if user.is_admin:
            rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": []}]
        paths = [{"verbs": ["get"], "nonResourceURLs": ["/api", "/apis", "/openapi", "/version", "/healthz"]}]
        return {"resourceRules": rules, "nonResourceRules": paths, "incomplete": False}

    def _token(self, spec: Json) -> Json:
        audiences = spec.get("audiences") or [ISSUER]
        try:
            user = self._tokens.user_of(f"Bearer {spec.get('token', '')}", audience=audiences[0])
        except Refusal:
            return {"authenticated": False, "user": {}, "error": "[invalid bearer token]"}
        found = {"username": user.name, "groups": list(user.groups)}
        return {"authenticated": True, "user": found, "audiences": audiences[:1]}

    def request_token(self, resource: Resource, namespace: str, name: str, body: Json) -> Json:
        """A `TokenRequest` with its token; valid at least ten minutes, an hour where nothing is said.

        Raises:
            Refusal: 404 for no such ServiceAccount, 422 for less than ten minutes.
        """
        account = self._objects.get(resource, namespace, name)
        spec = body.get("spec") or {}
        seconds = int(spec.get("expirationSeconds") or 3600)
        if seconds < 600:
            message = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
            cause = Cause(reason="FieldValueInvalid", message=message, field="spec.expirationSeconds")
            raise invalid(resource, name, [cause])
        audiences = list(spec.get("audiences") or [ISSUER])
        token = self._tokens.issue(account, seconds=seconds, audiences=audiences)
        until = rfc3339(self._objects.clock() + timedelta(seconds=seconds))
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": rfc3339(self._objects.clock())},
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {"token": token, "expirationTimestamp": until},
        }
