"""Builders: ACR Tasks."""
