"""What the CRD refuses of gates that are asked, as data. `refusals.py` puts these rows beside its own."""

from __future__ import annotations

from typing import Any

WAIT = "the wait is a duration of at least 0s and at most ten years; write it like 6h, 30m or 90s"

Row = tuple[str, dict[str, Any], str, str]
"""A name, one gate, the field below it that is refused, and the words."""

KEYLESS: tuple[dict[str, Any], ...] = (
    {
        "signature": {
            "cosign": {
                "keyless": {
                    "identities": [
                        {
                            "issuer": "https://token.actions.githubusercontent.com",
                            "subject": "https://github.com/contoso/ci/.github/workflows/sign.yml@refs/heads/main",
                            "sourceRepository": "https://github.com/contoso/shop",
                            "sourceRef": "refs/heads/main",
                        },
                        {"issuer": "https://login.contoso.com", "subjectPattern": "build-*@contoso.com"},
                    ],
                    "trustedRoot": {"configMapRef": {"name": "sigstore", "key": "trusted_root.json"}},
                }
            }
        }
    },
    {
        "signature": {
            "cosign": {
                "keyless": {
                    "identities": [{"issuer": "https://login.contoso.com", "subject": "build@contoso.com"}],
                    "trustedRoot": {"secretRef": {"name": "sigstore", "key": "trusted_root.json"}},
                }
            }
        }
    },
)
"""Keyless gates that use every field; a tracker with them is taken."""

DEFENDER: tuple[Row, ...] = (
    ("no severity at all", {"defender": {"severity": []}}, "defender.severity", ""),
    ("a severity of its own", {"defender": {"severity": ["SEVERE"]}}, "defender.severity[0]", ""),
    ("a severity in Defender's spelling", {"defender": {"severity": ["Critical"]}}, "defender.severity[0]", ""),
    ("a severity that is no list", {"defender": {"severity": "CRITICAL"}}, "defender.severity", ""),
    *(
        (f"a wait of {bad or 'nothing'}", {"defender": {"waitAtLeast": bad}}, "defender.waitAtLeast", WAIT)
        for bad in ("", "6", "-1h", "soon", "6 h", "1d")
    ),
    ("an unknown word for what is unknown", {"defender": {"onUnknown": "Fail"}}, "defender.onUnknown", ""),
    ("two kinds in one entry", {"defender": {}, "lineage": {}}, "", "a gate names exactly one kind"),
)

_KEYS = {"configMapRef": {"name": "keys", "key": "cosign.pub"}}
_STORE = {"secretRef": {"name": "ca"}}
_IDENTITY = "not an identity; write what the certificate's subject must hold"


def _cosign(**changes: Any) -> dict[str, Any]:
    return {"signature": {"cosign": {"publicKey": _KEYS}} | changes}


def _notation(**changes: Any) -> dict[str, Any]:
    return {"signature": {"notation": {"trustStore": _STORE, "identities": ["CN=build"]} | changes}}


_WORKFLOW = {
    "issuer": "https://token.actions.githubusercontent.com",
    "subject": "https://github.com/contoso/shop/.github/workflows/release.yml@refs/heads/main",
}
_ONE_SUBJECT = "name exactly one of subject and subjectPattern"


def _keyless(**changes: Any) -> dict[str, Any]:
    root = {"configMapRef": {"name": "sigstore", "key": "trusted_root.json"}}
    return {"signature": {"cosign": {"keyless": {"identities": [_WORKFLOW], "trustedRoot": root} | changes}}}


def _pattern(text: str) -> dict[str, Any]:
    return {"issuer": _WORKFLOW["issuer"], "subjectPattern": text}


SIGNATURE: tuple[Row, ...] = (
    ("a signature of nobody", {"signature": {}}, "signature", "name exactly one of cosign and notation"),
    (
        "signers of two kinds",
        {"signature": _cosign()["signature"] | _notation()["signature"]},
        "signature",
        "name exactly one of cosign and notation",
    ),
    (
        "cosign without a key or an identity",
        {"signature": {"cosign": {}}},
        "signature.cosign",
        "name exactly one of publicKey and keyless",
    ),
    (
        "cosign with a key and keyless",
        _cosign(cosign={"publicKey": _KEYS} | _keyless()["signature"]["cosign"]),
        "signature.cosign",
        "name exactly one of publicKey and keyless",
    ),
    ("keyless by nobody", _keyless(identities=[]), "signature.cosign.keyless.identities", ""),
    (
        "keyless by too many",
        _keyless(identities=[_WORKFLOW] * 17),
        "signature.cosign.keyless.identities",
        "",
    ),
    (
        "a trusted root from nowhere",
        _keyless(trustedRoot={}),
        "signature.cosign.keyless.trustedRoot",
        "name exactly one of configMapRef and secretRef",
    ),
    (
        "a trusted root of the whole Secret",
        _keyless(trustedRoot={"secretRef": {"name": "sigstore"}}),
        "signature.cosign.keyless.trustedRoot.secretRef.key",
        "",
    ),
    *(
        (
            f"keyless: {name}",
            _keyless(identities=[_WORKFLOW, one]),
            f"signature.cosign.keyless.identities[1]{below}",
            says,
        )
        for name, one, below, says in (
            ("no issuer", {"subject": "build@contoso.com"}, ".issuer", ""),
            ("no subject", {"issuer": "https://login.contoso.com"}, "", _ONE_SUBJECT),
            ("two subjects", _WORKFLOW | {"subjectPattern": "*@contoso.com"}, "", _ONE_SUBJECT),
            *(
                (f"issuer {bad or 'nothing'}", _WORKFLOW | {"issuer": bad}, ".issuer", "not an issuer; write the URL")
                for bad in (
                    "",
                    "token.actions.githubusercontent.com",
                    "http://a.test",
                    "https://*",
                    "https://a b",
                    "https://",
                )
            ),
            *(
                (f"subject {bad or 'nothing'}", _WORKFLOW | {"subject": bad}, ".subject", "not a subject; write the")
                for bad in ("", "*@contoso.com", "build @contoso.com", "bü@contoso.com", "https://github.com/contoso/*")
            ),
            *(
                (f"pattern {bad or 'nothing'}", _pattern(bad), ".subjectPattern", "not a pattern; it has a '*'")
                for bad in (
                    "",
                    "*",
                    "build@contoso.com",
                    "*@*",
                    "*@*.contoso.com",
                    "build@contoso.*",
                    "https://*/contoso",
                    "https://*.github.com/contoso/*",
                    "https://github.com*/contoso",
                    "https://*",
                    "https://github.com/**",
                    "https://github.com/a b*",
                    "*://github.com/contoso",
                    "github.com/contoso/*",
                )
            ),
            *(
                (
                    f"repository {bad or 'nothing'}",
                    _WORKFLOW | {"sourceRepository": bad},
                    ".sourceRepository",
                    "not a repository; write its URL",
                )
                for bad in ("", "contoso/shop", "https://github.com/contoso/*")
            ),
            *(
                (f"ref {bad or 'nothing'}", _WORKFLOW | {"sourceRef": bad}, ".sourceRef", "not a ref; write all of it")
                for bad in ("", "main", "refs/heads/*", "refs/")
            ),
        )
    ),
    (
        "a key from nowhere",
        _cosign(cosign={"publicKey": {}}),
        "signature.cosign.publicKey",
        "name exactly one of configMapRef and secretRef",
    ),
    (
        "a key from two places",
        _cosign(cosign={"publicKey": _KEYS | {"secretRef": {"name": "keys", "key": "cosign.pub"}}}),
        "signature.cosign.publicKey",
        "name exactly one of configMapRef and secretRef",
    ),
    (
        "a key of the whole ConfigMap",
        _cosign(cosign={"publicKey": {"configMapRef": {"name": "keys"}}}),
        "signature.cosign.publicKey.configMapRef.key",
        "",
    ),
    (
        "a key in a Secret that can't be",
        _cosign(cosign={"publicKey": {"secretRef": {"name": "My_Keys", "key": "cosign.pub"}}}),
        "signature.cosign.publicKey.secretRef.name",
        "not the name of a Secret",
    ),
    (
        "a key in a ConfigMap that can't be",
        _cosign(cosign={"publicKey": {"configMapRef": {"name": "../keys", "key": "cosign.pub"}}}),
        "signature.cosign.publicKey.configMapRef.name",
        "not the name of a ConfigMap",
    ),
    (
        "a key in an entry that can't be",
        _cosign(cosign={"publicKey": {"configMapRef": {"name": "keys", "key": "my keys/cosign.pub"}}}),
        "signature.cosign.publicKey.configMapRef.key",
        "not the name of an entry; it is letters, digits",
    ),
    (
        "a signature that may not come late",
        _cosign(timeout="0s"),
        "signature.timeout",
        "the timeout is a duration of at least 1s",
    ),
    (
        "certificates from nowhere",
        _notation(trustStore={}),
        "signature.notation.trustStore",
        "name exactly one of configMapRef and secretRef",
    ),
    (
        "certificates of time stamps from two places",
        _notation(timestampTrustStore={"configMapRef": {"name": "tsa"}, "secretRef": {"name": "tsa"}}),
        "signature.notation.timestampTrustStore",
        "name exactly one of configMapRef and secretRef",
    ),
    ("signers without a name", _notation(identities=[]), "signature.notation.identities", ""),
    *(
        (
            f"signers named {bad or 'nothing'}",
            _notation(identities=["CN=build", bad]),
            "signature.notation.identities[1]",
            _IDENTITY,
        )
        for bad in (
            "",
            "*",
            "build",
            "CN=",
            "cn=build",
            "EMAIL=a@b.c",
            "CN=build,",
            "CN=build; O=Contoso",
            "CN=a=b",
            "CN=a\\",
            "x509.issuer: CN=a",
            "O=Contoso+CN=build",
        )
    ),
    ("a signer's name too long", _notation(identities=["CN=" + "a" * 510]), "signature.notation.identities[0]", ""),
)

TIMEOUT = "the timeout is a duration of at least 1s and at most ten years; write it like 1h, 1h30m or 90s"
SCANS_TIME = "the timeout of a scan is a duration of at least 1s and at most 1h; write it like 10m, 1h or 90s"
_WAIVER = {"id": "CVE-2026-1", "until": "2026-12-31", "reason": "not reachable"}
NOT_AN_ID = "not the id of a finding; write it as Trivy shows it, like CVE-2026-12345"
NO_REASON = "say why the finding is waived, in at most 500 characters"


def _waiving(**changes: str | None) -> dict[str, Any]:
    waiver = {key: value for key, value in {**_WAIVER, **changes}.items() if value is not None}
    return {"trivy": {"waivers": [waiver]}}


TRIVY: tuple[Row, ...] = (
    ("Trivy: no severity at all", {"trivy": {"severity": []}}, "trivy.severity", ""),
    ("Trivy: an unknown severity", {"trivy": {"severity": ["NEGLIGIBLE"]}}, "trivy.severity[0]", ""),
    ("Trivy: a word for ignoreUnfixed", {"trivy": {"ignoreUnfixed": "yes"}}, "trivy.ignoreUnfixed", ""),
    ("Trivy: an unknown comparison", {"trivy": {"compare": "Counts"}}, "trivy.compare", ""),
    ("Trivy: an unknown scanner", {"trivy": {"scanners": ["virus"]}}, "trivy.scanners[0]", ""),
    ("Trivy: no scanner", {"trivy": {"scanners": []}}, "trivy.scanners", ""),
    (
        "Trivy: a scanner twice",
        {"trivy": {"scanners": ["vuln", "vuln"]}},
        "trivy.scanners",
        "a scanner is listed twice",
    ),
    (
        "Trivy: one waived twice",
        {"trivy": {"waivers": [_WAIVER, _WAIVER]}},
        "trivy.waivers",
        "a finding is waived twice",
    ),
    *(
        (f"Trivy: until {bad or 'never'}", _waiving(until=bad), "trivy.waivers[0].until", "")
        for bad in ("2026-02-30", "2026-13-01", "31.12.2026", "2026-12-31T00:00:00Z", "20261231", "")
    ),
    *(
        (f"Trivy: waives {bad[:9] or 'nothing'}", _waiving(id=bad), "trivy.waivers[0].id", NOT_AN_ID)
        for bad in ("", "CVE 1", "*", "-1")
    ),
    *(
        (f"Trivy: for no reason {number}", _waiving(reason=bad), "trivy.waivers[0].reason", NO_REASON)
        for number, bad in enumerate(("", "  ", "\n\t"))
    ),
    *((f"Trivy: a waiver without {key}", _waiving(**{key: None}), f"trivy.waivers[0].{key}", "") for key in _WAIVER),
    *(
        (f"Trivy: a timeout of {bad}", {"trivy": {"timeout": bad}}, "trivy.timeout", SCANS_TIME)
        for bad in ("0s", "3601s", "1h1ms", "876h", "soon")
    ),
)


def _job(**changes: Any) -> dict[str, Any]:
    """A Job's gate; None takes a field away."""
    template = {"spec": {"template": {"spec": {"containers": [{"name": "scan", "image": "grype:1"}]}}}}
    fields = {"template": template} | changes
    return {"job": {key: value for key, value in fields.items() if value is not None}}


JOB: tuple[Row, ...] = (
    ("a Job without a template", _job(template=None), "job.template", ""),
    ("a Job without a spec", _job(template={"metadata": {}}), "job.template.spec", ""),
    ("a Job whose spec is a list", _job(template={"spec": []}), "job.template.spec", ""),
    (
        "a Job with a label that is no label",
        _job(template={"metadata": {"labels": "a=b"}, "spec": {}}),
        "job.template.metadata.labels",
        "",
    ),
    ("a Job with a timeout of nothing", _job(timeout="0s"), "job.timeout", TIMEOUT),
    ("a Job and another kind", _job() | {"defender": {}}, "", "a gate names exactly one kind"),
)

REPORTS: tuple[Row, ...] = (
    ("reports of nobody", {"reports": {}}, "reports.sources", ""),
    ("reports of no source", {"reports": {"sources": []}}, "reports.sources", ""),
    ("reports of an unknown source", {"reports": {"sources": ["clair"]}}, "reports.sources[0]", ""),
    (
        "reports of a source twice",
        {"reports": {"sources": ["kube-bench", "kube-bench"]}},
        "reports.sources",
        "a source is listed twice; keep each once",
    ),
    (
        "reports of no severity",
        {"reports": {"sources": ["kube-bench"], "severity": []}},
        "reports.severity",
        "",
    ),
    (
        "reports with an unknown word for what is missing",
        {"reports": {"sources": ["kube-bench"], "onMissing": "Block"}},
        "reports.onMissing",
        "",
    ),
)

ROWS = (*SIGNATURE, *REPORTS, *DEFENDER, *TRIVY, *JOB)
