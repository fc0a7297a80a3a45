"""The operator's Pod as a cluster makes it of the shipped Deployment: admitted by the API server, completed by AKS.

Owns that way from the Deployment to the object from which containers are started, and the volumes in it. The API server
adds the token of the ServiceAccount, and refuses what its namespace's Pod security forbids. AKS's webhook is imitated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .azure import EmulatedAzure
from .cluster import RealCluster
from .container import Container, service_environment
from .installation import NAME, SYSTEM
from .volumes import Volume, Volumes

Object = dict[str, Any]
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
AZURE_TOKENS, AZURE_TOKEN = "/var/run/secrets/azure/tokens", "azure-identity-token"
AUDIENCE = "api://AzureADTokenExchange"
LABEL, CLIENT_ID = "azure.workload.identity/use", "azure.workload.identity/client-id"
AUTHORITY = "/etc/basetracker/authority"


def connect(
    cluster: RealCluster,
    azure: EmulatedAzure,
    namespace: str = SYSTEM,
    *,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Change the installation as one's own overlay would, for an identity, a proxy and a private authority.

    `settings` are further variables of the container.
    """
    admin = cluster.admin
    issuer = json.loads(admin.run("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    azure.federate(issuer, f"system:serviceaccount:{namespace}:{NAME}")
    client = f"{CLIENT_ID}={azure.identity.client_id}"
    admin.run("annotate", "serviceaccount", NAME, "-n", namespace, "--overwrite", client)
    authority = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authority", "namespace": namespace}}
    admin.apply({**authority, "data": {"ca.crt": azure.authority}})
    variables = {
        "BASETRACKER_CA_FILE": f"{AUTHORITY}/ca.crt",
        "HTTPS_PROXY": azure.proxy,
        "NO_PROXY": "127.0.0.1,localhost",
        **(settings or {}),
    }
    container = {
        "name": "operator",
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "volumeMounts": [{"name": "authority", "mountPath": AUTHORITY, "readOnly": True}],
    }
    template = {
        "metadata": {"labels": {LABEL: "true"}},
        "spec": {"containers": [container], "volumes": [{"name": "authority", "configMap": {"name": "authority"}}]},
    }
    admin.run("patch", "deployment", NAME, "-n", namespace, "-p", json.dumps({"spec": {"template": template}}))


def admitted(cluster: RealCluster, namespace: str = SYSTEM) -> Object:
    """A Pod of the Deployment as the API server would store it; nothing is stored.

    Raises:
        KubectlError: it refuses the Pod.
    """
    template = cluster.admin.get("deployment", NAME, "-n", namespace)["spec"]["template"]
    return admit(cluster, {**template, "metadata": {**template["metadata"], "name": NAME, "namespace": namespace}})


def admit(cluster: RealCluster, pod: Object) -> Object:
    """A Pod as the API server would store it. Raises KubectlError when it refuses it."""
    text = json.dumps({"apiVersion": "v1", "kind": "Pod", **pod})
    found: Object = json.loads(cluster.admin.run("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=text))
    return found


def with_identity(pod: Object, annotations: Mapping[str, str], azure: EmulatedAzure) -> Object:
    """What AKS's webhook makes of a Pod whose ServiceAccount has these annotations."""
    if pod["metadata"]["labels"].get(LABEL) != "true":
        return pod
    variables = {
        "AZURE_CLIENT_ID": annotations[CLIENT_ID],
        "AZURE_TENANT_ID": azure.tenant,
        "AZURE_FEDERATED_TOKEN_FILE": f"{AZURE_TOKENS}/{AZURE_TOKEN}",
        "AZURE_AUTHORITY_HOST": azure.login,
    }
    (container,) = pod["spec"]["containers"]
    token = {"path": AZURE_TOKEN, "expirationSeconds": 3600, "audience": AUDIENCE}
    mount = {"name": AZURE_TOKEN, "mountPath": AZURE_TOKENS, "readOnly": True}
    changed = {
        **container,
        "env": [*container["env"], *({"name": name, "value": value} for name, value in variables.items())],
        "volumeMounts": [*container["volumeMounts"], mount],
    }
    volume = {"name": AZURE_TOKEN, "projected": {"sources": [{"serviceAccountToken": token}]}}
    spec = {**pod["spec"], "containers": [changed], "volumes": [*pod["spec"]["volumes"], volume]}
    return {**pod, "spec": spec}


class OperatorPod:
    """What all replicas are started from; they share their volumes, but for what lives in memory."""

    def __init__(
        self,
        cluster: RealCluster,
        azure: EmulatedAzure,
        programs: Path,
        directory: Path,
        namespace: str = SYSTEM,
        *,
        url: str | None = None,
        bound_to: str | None = None,
    ) -> None:
        """`programs` is the environment with the wheel; `url` the API server's where another one leads to it.

        The tokens end with the Secret `bound_to`.
        """
        self.namespace = namespace
        account = cluster.admin.get("serviceaccount", NAME, "-n", namespace)
        self.object = with_identity(admitted(cluster, namespace), account["metadata"].get("annotations", {}), azure)
        self.volumes = Volumes(cluster, self.object, directory / "volumes", noted=azure.note, bound_to=bound_to)
        self._programs = programs
        self._added = service_environment(url or cluster.url)

    @property
    def grace_seconds(self) -> float:
        """How long a container has to end when it is asked to."""
        return float(self.object["spec"]["terminationGracePeriodSeconds"])

    @property
    def ready_path(self) -> str:
        """Where a kubelet asks whether it is ready."""
        (container,) = self.object["spec"]["containers"]
        return str(container["readinessProbe"]["httpGet"]["path"])

    def container(self, name: str, **added: str) -> Container:
        """The container of one replica, with further variables."""
        return Container(
            name=name,
            pod=self.object,
            volumes=self.volumes,
            programs=self._programs,
            added={**self._added, **added},
        )

    def volume_at(self, place: str) -> Volume:
        """The volume that is mounted there."""
        return self.volumes[self._name_of(place)]

    def renew(self, place: str, *, bound_to: str | None = None) -> None:
        """Fetch anew what is in the volume that is mounted there; its tokens end with the Secret `bound_to`."""
        self.volumes.fill(self._name_of(place), bound_to=bound_to)

    def _name_of(self, place: str) -> str:
        (container,) = self.object["spec"]["containers"]
        (name,) = (mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == place)
        return str(name)
