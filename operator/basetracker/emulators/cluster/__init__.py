"""An emulated Kubernetes cluster: an HTTPS API server with controllers, in this process.

Good enough for kubectl, kopf and the Kubernetes client libraries, which can't tell it from a real one in what they
ask. It is the cluster of `basetracker demo` and of the fast tests.

    cluster = Cluster(Authority(), resolve_image=resolve, pod_start_seconds=0.2)
    await cluster.start()
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    cluster.kubeconfig()                                  # for clients; cluster.url and cluster.token(...) as well
    cluster.get("Deployment", "shop", "checkout")
    cluster.faults.append(Fault(match="PATCH .*/status", status=500, after=True))
    await cluster.stop()

What is real: discovery, CRUD, the patch formats with field ownership, watches, Tables, CRDs with their schema and CEL
rules, OpenAPI v3, RBAC, ServiceAccount tokens, garbage collection, Deployments, ReplicaSets and Jobs. What is faked: Pods
start without containers, and their logs are annotations. What is missing: protobuf bodies, webhooks, exec, the
controllers of other workloads, the cost limits of CEL.
"""

from basetracker.emulators.cluster.cluster import Cluster
from basetracker.emulators.cluster.instruments import Fault
from basetracker.emulators.cluster.refusals import Refusal

__all__ = ["Cluster", "Fault", "Refusal"]
