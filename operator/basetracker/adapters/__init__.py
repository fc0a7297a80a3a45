"""Translation between ports and the world: Kubernetes, registries, ACR Tasks."""
