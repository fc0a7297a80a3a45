"""The gate that asks Trivy: its program, its database, its report, and the verdict.

`gate` is what the wiring makes; `basetracker findings` uses `scanning` without it.
"""
