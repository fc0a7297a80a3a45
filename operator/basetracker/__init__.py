"""basetracker: every image rebuilt, proved and redeployed when its base image moves."""

from importlib.metadata import version

__version__ = version("basetracker")
