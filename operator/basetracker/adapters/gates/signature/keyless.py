"""What cosign signs without a key of one's own: a bundle with a certificate that a Sigstore gave out for minutes.

Owns which parts of the trusted root count for a certificate, and the words for what doesn't hold. The sigstore library verifies:
time, chain, certificate log, identity, transparency log, signature. Nothing is asked of any network. Knows neither registries nor
where the root came from. `gate` uses it, in a thread: the library is imported when first needed, which takes half a second.

Sources: sigstore's client specification; protobuf's mapping to JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sigstore.errors import CertValidationError, VerificationError
from sigstore.errors import Error as SigstoreError
from sigstore.models import Bundle, InvalidBundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore_models.common.v1 import TimeRange
from sigstore_models.trustroot import v1 as trustroot

from basetracker.adapters.gates.signature.cosign import BUNDLE, expect_statement
from basetracker.adapters.gates.signature.documents import RefusedError, inner, items, read_object
from basetracker.adapters.gates.signature.identities import NamedIdentities, StrangerError, name_of
from basetracker.api.gate_signature import KeylessIdentity
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest

ROOT_LIMIT: Final = 512 * 1024
"""Bytes of a trusted root; the public one has 7 KiB."""
_MOST_ENTRIES: Final = 8
_T = TypeVar("_T")
_WORDS: Final = (
    ("not enough sources of verified time", "has no time that a trusted authority or log vouches for"),
    ("no Timestamp Authorities", "has a time stamp, and the trusted root names no authority for time"),
    ("failed to verify SCT", "has a certificate that no trusted certificate log has seen"),
    ("invalid signing cert", "was made when its certificate wasn't valid"),
    ("invalid log entry", "isn't in a trusted transparency log"),
    ("trusted root contains no transparency log", "isn't in a trusted transparency log"),
    ("transparency log entry is inconsistent", "has the log entry of something else"),
    ("log entry", "has the log entry of something else"),
    ("DSSE: invalid signature", "isn't made with the key of its certificate"),
)
"""By how the library's own words begin: those of this gate. What is missing here is refused all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeylessTrust:
    """A Sigstore that is trusted, and for whom."""

    root: trustroot.TrustedRoot
    identities: Sequence[KeylessIdentity]


def read_root(content: bytes, where: str) -> trustroot.TrustedRoot:
    """The trusted root in JSON; `where` is for the errors.

    Raises:
        InvalidError: it can't be read, or names no authority, no transparency log or no certificate log.
    """
    if len(content) > ROOT_LIMIT:
        raise InvalidError(f"{where} is larger than a trusted root ever is")
    try:
        root = _guarded(lambda: _usable(trustroot.TrustedRoot.from_json(content)))
    except RefusedError:
        raise InvalidError(
            f"{where} holds no trusted root of a Sigstore that names its certificate authorities, transparency logs and "
            "certificate logs; cosign trusted-root create writes one"
        ) from None
    return root


def verify_keyless(content: bytes, trust: KeylessTrust, digest: Digest) -> str:
    """By whom the bundle is, when it is by one of the identities and about `digest`.

    Raises:
        RefusedError: it isn't.
    """
    return _guarded(lambda: _verified(content, trust, digest))


def _verified(content: bytes, trust: KeylessTrust, digest: Digest) -> str:
    bundle = Bundle.from_json(_complete(content))
    verifier = Verifier(trusted_root=_counting_for(bundle, trust.root))
    kind, payload = verifier.verify_dsse(bundle, NamedIdentities(trust.identities))
    expect_statement(kind, payload, digest)
    return name_of(bundle.signing_certificate)


def _complete(content: bytes) -> str:
    """The bundle with the zeros that protobuf leaves out of JSON: the first entry of a log has the index 0, and no siblings.

    The library refuses a bundle without them.
    """
    document = dict(read_object(content, "a bundle"))
    if document.get("mediaType") != BUNDLE:
        raise RefusedError("has a bundle of another version")
    inner(document, "dsseEnvelope", "a bundle")
    material = inner(document, "verificationMaterial", "a bundle")
    if "certificate" not in material:
        raise RefusedError("is made with a key, and not by a certificate")
    for entry in items(material, "tlogEntries", "a bundle", most=_MOST_ENTRIES):
        if isinstance(entry, dict):
            entry.setdefault("logIndex", "0")
            proof: Any = inner(entry, "inclusionProof", "a log entry")
            proof.setdefault("logIndex", "0")
            proof.setdefault("hashes", [])
    return json.dumps(document)


def _counting_for(bundle: Bundle, root: trustroot.TrustedRoot) -> TrustedRoot:
    """The root without the authorities and logs whose time wasn't that of the bundle's certificate.

    The library takes each of them for good whenever it was trusted, so that the lost key of one long retired could still sign.
    """
    certificate = bundle.signing_certificate
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc

    def alive(logs: Sequence[trustroot.TransparencyLogInstance]) -> Iterator[trustroot.TransparencyLogInstance]:
        for log in logs:
            span: TimeRange | None = log.public_key.valid_for
            if span is None or (span.start <= ends and (span.end is None or begins <= span.end)):
                yield log

    authorities = [
        one
        for one in root.certificate_authorities
        if one.valid_for.start <= begins and (one.valid_for.end is None or ends <= one.valid_for.end)
    ]
    return TrustedRoot(
        root.model_copy(
            update={
                "certificate_authorities": authorities,
                "tlogs": list(alive(root.tlogs)),
                "ctlogs": list(alive(root.ctlogs)),
            }
        )
    )


def _usable(root: trustroot.TrustedRoot) -> trustroot.TrustedRoot:
    whole = TrustedRoot(root)
    whole.get_fulcio_certs()
    whole.get_timestamp_authorities()
    if not root.tlogs or not root.ctlogs:
        raise RefusedError("has no logs")
    return root


def _guarded(read: Callable[[], _T]) -> _T:
    """What `read` returns; whatever else it raises is a refusal."""
    try:
        return read()
    except RefusedError:
        raise
    except StrangerError as error:
        raise RefusedError(str(error)) from None
    except InvalidBundle:
        raise RefusedError("has a bundle without a log entry, a proof or a certificate that can be read") from None
    except CertValidationError:
        raise RefusedError(
            "has a certificate that isn't of a trusted authority, or wasn't valid when it was made"
        ) from None
    except (SigstoreError, VerificationError) as error:
        raise RefusedError(_words(str(error))) from None
    except BaseException as error:
        # The libraries below are written in Rust, and what they don't foresee comes as a panic, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise RefusedError("has a bundle that can't be verified") from None


def _words(text: str) -> str:
    for beginning, words in _WORDS:
        if text.startswith(beginning):
            return words
    return "has a bundle that can't be verified"
