"""Servers that speak like the real ones: Azure (ACR, ARM, Entra), OCI registries and a Kubernetes cluster.

They ship with the product: `basetracker demo` runs on them, and so do the fast tests. Product code talks to
them over HTTPS and can't tell them from the real thing; nothing here may import the engine or the adapters.
"""
