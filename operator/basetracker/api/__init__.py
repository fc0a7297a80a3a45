"""The custom resource as types, and the names of the public contract. Pure."""
