"""A private Sigstore on loopback: the real Fulcio, Rekor (version 2) and time stamp authority.

Owns their keys, certificates and processes, all in one directory that can be thrown away, and the two parts that are imitated: a
log of certificates that only signs promises, and issuers of identity tokens. Knows neither registries nor the product. Used by the
tests of keyless signatures. Must be started from the main thread (see `processes.py`). There is one at a time: the time stamp
authority always takes port 2112 for its metrics.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ...adapters.gates.signature.certificate_log import CertificateLog
from . import signers
from .processes import ServerProcess, free_port

READY_SECONDS = 30.0
PASSWORD = "of-the-authority"
ORIGIN = "127.0.0.1"
"""What Rekor signs as: the host of its URL, which is what cosign expects."""
DAY = timedelta(days=1)
Json = dict[str, Any]


class PrivateSigstore:
    """One instance; `start` returns when all parts serve."""

    def __init__(self, programs: Path, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._programs, self._directory = programs, directory
        self._processes: list[ServerProcess] = []
        self.certificate_log = CertificateLog()
        self._token_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._front = _Front(self, directory)
        self.actions, self.people = f"{self._front.url}/actions", f"{self._front.url}/people"
        self.fulcio, self.rekor, self.tsa = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
        self.trusted_root = directory / "trusted_root.json"
        self.signing_config = directory / "signing_config.json"

    def start(self) -> None:
        """Start all parts.

        Raises:
            ProcessError: one of them didn't come up.
        """
        self._front.start()
        try:
            self._start_fulcio()
            self._start_rekor()
            self._start_tsa()
            self._describe()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all parts."""
        while self._processes:
            self._processes.pop().stop()
        self._front.stop()

    def empty_log(self) -> None:
        """Let Rekor begin anew, with its key and without an entry."""
        self._rekor.stop()
        self._processes.remove(self._rekor)
        shutil.rmtree(self._rekor_flags["storage-dir"])
        self._rekor = self._launch("rekor", self._rekor_flags, self.rekor)

    def workflow_token(self, workflow: str, *, repository: str = "contoso/shop") -> str:
        """An identity token as GitHub Actions gets one, for `<owner>/<repo>/<file>@<ref>`."""
        ref = workflow.partition("@")[2]
        return self._token(
            self.actions,
            sub=f"repo:{repository}:ref:{ref}",
            job_workflow_ref=workflow,
            workflow_ref=workflow,
            ref=ref,
            repository=repository,
            repository_owner=repository.partition("/")[0],
            **dict.fromkeys(("sha", "job_workflow_sha", "workflow_sha"), "0123456789abcdef" * 2),
            **dict.fromkeys(("repository_id", "repository_owner_id", "run_id", "run_attempt"), "1"),
            event_name="push",
            workflow="release",
            runner_environment="github-hosted",
            repository_visibility="private",
        )

    def person_token(self, email: str) -> str:
        """An identity token of somebody with an address."""
        return self._token(self.people, sub=email, email=email, email_verified=True)

    @property
    def root(self) -> bytes:
        """The trusted root in JSON."""
        return self.trusted_root.read_bytes()

    def jwks(self) -> Json:
        """The public key of all tokens."""
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._token_key.public_key()))
        return {"keys": [key | {"kid": "one", "use": "sig", "alg": "RS256"}]}

    def _token(self, issuer: str, **claims: Any) -> str:
        now = int(time.time())
        whole = {"iss": issuer, "aud": "sigstore", "iat": now - 10, "nbf": now - 10, "exp": now + 600} | claims
        return jwt.encode(whole, self._token_key, algorithm="RS256", headers={"kid": "one"})

    def _start_fulcio(self) -> None:
        root, root_key = _authority("Fulcio root", None)
        issuing, key = _authority("Fulcio", (root, root_key), purpose=ExtendedKeyUsageOID.CODE_SIGNING)
        self._chain("fulcio", issuing, root)
        self._write("fulcio.key", _pem(key, PASSWORD))
        issuers = {
            self.actions: {"IssuerURL": self.actions, "ClientID": "sigstore", "Type": "github-workflow"},
            self.people: {"IssuerURL": self.people, "ClientID": "sigstore", "Type": "email"},
        }
        config = self._write("fulcio.json", json.dumps({"OIDCIssuers": issuers}).encode())
        flags = {
            "ca": "fileca",
            "fileca-cert": self._directory / "fulcio.pem",
            "fileca-key": self._directory / "fulcio.key",
            "fileca-key-passwd": PASSWORD,
            "fileca-watch": "false",
            "config-path": config,
            "ct-log-url": f"{self._front.url}/log",
            "ct-log-public-key-path": self._write("log.pem", self.certificate_log.public_pem),
            "ct-log.tls-ca-cert": self._front.authority,
            "host": "127.0.0.1",
            "port": self.fulcio.rpartition(":")[2],
            "grpc-host": "127.0.0.1",
            "grpc-port": free_port(),
            "metrics-port": free_port(),
            "legacy-unix-domain-socket": self._directory / "fulcio.sock",
        }
        self._launch("fulcio", flags, self.fulcio, SSL_CERT_FILE=str(self._front.authority))

    def _start_rekor(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._write("rekor.pem", _public_pem(key))
        flags = {
            "hostname": ORIGIN,
            "storage-dir": self._directory / "rekor",
            "signer-filepath": self._write("rekor.key", _pem(key)),
            "checkpoint-interval": "500ms",
            "http-port": self.rekor.rpartition(":")[2],
            "grpc-port": free_port(),
            "http-metrics-port": free_port(),
        }
        self._rekor_flags = flags
        self._rekor = self._launch("rekor", flags, self.rekor)

    def _start_tsa(self) -> None:
        root, root_key = _authority("Time root", None)
        leaf, key = _time_stamper((root, root_key))
        self._chain("tsa", leaf, root)
        flags = {
            "timestamp-signer": "file",
            "file-signer-key-path": self._write("tsa.key", _pem(key)),
            "certificate-chain-path": self._directory / "tsa.pem",
            "disable-ntp-monitoring": "true",
            "host": "127.0.0.1",
            "port": self.tsa.rpartition(":")[2],
        }
        self._launch("timestamp-server", flags, self.tsa)

    def _launch(self, program: str, flags: Json, url: str, **environment: str) -> ServerProcess:
        arguments = [f"--{flag}={value}" for flag, value in flags.items()]
        process = ServerProcess(
            program, [self._programs / program, "serve", *arguments], self._directory / f"{program}.log"
        )
        self._processes.append(process)
        process.start({"HOME": str(self._directory), **environment})
        process.wait_until(lambda: _listens(url), seconds=READY_SECONDS)
        return process

    def _describe(self) -> None:
        """Write what a client trusts, by cosign's own hand, and where a signer has to go."""
        began = (datetime.now(UTC) - DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
        place = self._directory
        program = signers.find("cosign")
        assert program is not None
        made = subprocess.run(
            [
                *(program, "trusted-root", "create", "--out", self.trusted_root),
                *("--fulcio", f"url={self.fulcio},certificate-chain={place / 'fulcio.pem'},start-time={began}"),
                *("--ctfe", f"url={self._front.url}/log,public-key={place / 'log.pem'},start-time={began}"),
                *("--rekor", f"url={self.rekor},public-key={place / 'rekor.pem'},start-time={began},origin={ORIGIN}"),
                *("--tsa", f"url={self.tsa},certificate-chain={place / 'tsa.pem'},start-time={began}"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"HOME": str(place)},
        )
        assert made.returncode == 0, made.stderr

        def service(url: str, version: int) -> list[Json]:
            return [{"url": url, "majorApiVersion": version, "validFor": {"start": began}, "operator": "private"}]

        config = {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": service(self.fulcio, 1),
            "oidcUrls": service(self.actions, 1),
            "rekorTlogUrls": service(self.rekor, 2),
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": service(f"{self.tsa}/api/v1/timestamp", 1),
            "tsaConfig": {"selector": "ANY"},
        }
        self.signing_config.write_text(json.dumps(config))

    def _chain(self, name: str, *certificates: x509.Certificate) -> None:
        self._write(f"{name}.pem", b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates))

    def _write(self, name: str, content: bytes) -> Path:
        path = self._directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path


class _Front:
    """The HTTPS server of the imitated parts, in a thread."""

    def __init__(self, owner: PrivateSigstore, directory: Path) -> None:
        authority = trustme.CA(organization_name="private Sigstore")
        self.authority = directory / "front.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer = f"{front.url}/{self.path.split('/')[1]}"
                if self.path.endswith("/.well-known/openid-configuration"):
                    algorithms = {"id_token_signing_alg_values_supported": ["RS256"]}
                    self._answer({"issuer": issuer, "jwks_uri": f"{issuer}/keys", **algorithms})
                elif self.path.endswith("/keys"):
                    self._answer(owner.jwks())
                else:
                    self.send_error(404)

            def do_POST(self) -> None:
                if self.path != "/log/ct/v1/add-pre-chain":
                    return self.send_error(404)
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(owner.certificate_log.answer(request, int(time.time() * 1000)))
                return None

            def _answer(self, document: Json) -> None:
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="sigstore-front", daemon=True)
        front = self

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(10)
        self._server.server_close()


Issued = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _authority(common_name: str, above: Issued | None, purpose: x509.ObjectIdentifier | None = None) -> Issued:
    """A root, or an authority below one that is for one purpose."""
    key = ec.generate_private_key(ec.SECP256R1())
    constraints = x509.BasicConstraints(ca=True, path_length=1 if above is None else 0)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = _builder(common_name, key, above).add_extension(constraints, True).add_extension(usage, True)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
    return builder.sign(above[1] if above else key, hashes.SHA256()), key


def _time_stamper(above: Issued) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("Time", key, above).add_extension(_usage(digital_signature=True), True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True)
    return builder.sign(above[1], hashes.SHA256()), key


def _builder(common_name: str, key: ec.EllipticCurvePrivateKey, above: Issued | None) -> x509.CertificateBuilder:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "private"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    issuer = above[0].subject if above else subject
    issuing = (above[1] if above else key).public_key()
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - DAY, now + 30 * DAY
    )
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing), False)


def _usage(**granted: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: granted.get(name, False) for name in names})


def _pem(key: ec.EllipticCurvePrivateKey, password: str = "") -> bytes:
    protection = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def _public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _listens(url: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1):
            return True
    except OSError:
        return False
