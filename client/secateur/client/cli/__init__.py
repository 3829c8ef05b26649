"""The command line `secateur`."""

from secateur.client.cli import catalogue, datasets, jobs, models, profiles, submit
from secateur.client.cli.app import app, main

__all__ = ["app", "catalogue", "datasets", "jobs", "main", "models", "profiles", "submit"]
