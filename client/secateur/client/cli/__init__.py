"""The command line `secateur`."""

from secateur.client.cli import catalogue, jobs, models, profiles, submit
from secateur.client.cli.app import app, main

__all__ = ["app", "catalogue", "jobs", "main", "models", "profiles", "submit"]
