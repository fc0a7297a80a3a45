"""Registries: Azure's own and any other that speaks the OCI distribution API."""
