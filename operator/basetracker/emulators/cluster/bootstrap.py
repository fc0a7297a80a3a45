"""What a fresh cluster has before anybody uses it.

Owns the first namespaces, ServiceAccounts and roles.
"""

from __future__ import annotations

from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.document import Json

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def bootstrap(client: Client) -> None:
    """Write the first objects, in the order in which they need each other."""
    for name in _NAMESPACES:
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        client.create(account)
    for document in _roles():
        client.create(document)
    client.create(_api_service())


def _roles() -> list[Json]:
    group = "rbac.authorization.k8s.io"
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "cluster-admin"},
            "rules": [everything, {"nonResourceURLs": ["*"], "verbs": ["*"]}],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "cluster-admin"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:masters"}],
        },
    ]


def _api_service() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
    }
