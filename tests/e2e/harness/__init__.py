"""Real servers for tests: a Kubernetes control plane, nodes for it, and a container registry.

Each module starts one of them on loopback, with ports and data of its own, and stops it with the test run.
Nothing here knows the operator; `conftest.py` makes fixtures of these parts.
"""
