"""Emulated ACR Tasks: definitions, runs that really build, base-image triggers, logs and the ARM API."""
