"""Where the Kubernetes API server is and who we are there.

Owns the choice between kubeconfig and service account, and re-reading either; the formats, exec plug-ins and
certificates are the `kubernetes` package's matter. Must not know what is asked of the server.
Used by `kube.py`; `Connection` also tells kopf's login handler the same truth.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import kube_config
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from basetracker.adapters.kube_answers import one_line
from basetracker.errors import InvalidError, UnavailableError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PLUGIN_SECONDS: Final = 60.0

# The package's loaders carry no annotations.
_kube_config: Any = kube_config
_in_cluster: Any = InClusterConfigLoader


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A server with credentials; the fields are those of `kopf.ConnectionInfo`."""

    server: str
    ca_path: str | None = None
    insecure: bool = False
    scheme: str | None = None
    token: str | None = field(default=None, repr=False)
    certificate_path: str | None = None
    private_key_path: str | None = None
    default_namespace: str | None = None
    proxy_url: str | None = None
    trust_env: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to log in: by a kubeconfig (with `context`, else its current one) or the Pod's service account.

    An explicit file or context comes first, then `$KUBECONFIG`, the service account, `~/.kube/config`.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    service_account: Path = SERVICE_ACCOUNT

    async def load(self) -> tuple[Configuration, str]:
        """The package's configuration, read anew, and the namespace that is meant when none is named.

        Raises:
            InvalidError: there is no usable kubeconfig and no service account.
            UnavailableError: an exec plug-in doesn't end.
        """
        configuration = Configuration()
        configuration.connection_pool_maxsize = 0  # each watch holds a connection; writers are few by design
        try:
            namespace = await self._load_into(configuration)
        except TimeoutError as error:
            raise UnavailableError("the kubeconfig's credential plug-in doesn't end") from error
        except (ConfigException, OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
            raise InvalidError(f"the cluster's credentials can't be read: {one_line(error)}") from error
        configuration.client_session_kwargs = {"trust_env": not is_direct(configuration.host, self.environ)}
        return configuration, namespace

    async def _load_into(self, configuration: Configuration) -> str:
        explicit = self.kubeconfig or self.environ.get("KUBECONFIG") or self.context
        if not explicit and self.is_in_cluster:
            account = self.service_account
            _in_cluster(str(account / "token"), str(account / "ca.crt"), environ=self.environ).load_and_set(
                configuration
            )
            namespace = account / "namespace"
            return namespace.read_text().strip() if namespace.is_file() else "default"
        path = str(self.kubeconfig or self.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        if not _exists(path):
            raise ConfigException(f"there is no kubeconfig at {path} and no service account")
        async with asyncio.timeout(PLUGIN_SECONDS):
            loader = await _kube_config.load_kube_config(
                config_file=path, context=self.context, client_configuration=configuration, persist_config=False
            )
        return str(loader.current_context["context"].get("namespace") or "default")

    @property
    def is_in_cluster(self) -> bool:
        """Whether this process runs in a Pod with a service account."""
        return "KUBERNETES_SERVICE_HOST" in self.environ and (self.service_account / "token").is_file()


def _exists(path: str) -> bool:
    return any(Path(part).expanduser().is_file() for part in path.split(os.pathsep) if part)


async def authorization(configuration: Configuration) -> str | None:
    """The Authorization header; a rotated service account token is re-read at most once a minute.

    Raises:
        UnavailableError: the token's file can't be read now.
    """
    try:
        header = await configuration.get_api_key_with_prefix("BearerToken")
    except (ConfigException, OSError) as error:
        raise UnavailableError(f"the service account's token can't be read: {one_line(error)}") from error
    return header.strip() if header else None


async def connection(configuration: Configuration, namespace: str) -> Connection:
    """The configuration in the words of kopf."""
    scheme, _, token = (await authorization(configuration) or "").partition(" ")
    return Connection(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        default_namespace=namespace,
        proxy_url=configuration.proxy,
        trust_env=bool((configuration.client_session_kwargs or {}).get("trust_env", True)),
    )


def is_direct(server: str, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY exempts the server by an address range.

    Clusters write ranges such as 10.0.0.0/16 there, as Go reads them; Python's own reading knows only names.
    """
    host = urlsplit(server).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    exempt = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_contains(entry.strip(), address) for entry in exempt.split(","))


def _contains(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
