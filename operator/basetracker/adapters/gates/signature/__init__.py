"""Signatures of cosign and Notation: found in the registry, and verified in this process."""
