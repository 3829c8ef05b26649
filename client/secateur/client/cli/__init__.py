"""The command line `secateur`."""

import os

# gRPC reads it once, and would log every handshake that fails beside the one line of the error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from secateur.client.cli import catalogue, datasets, jobs, models, profiles, submit
from secateur.client.cli.app import app, main

__all__ = ["app", "catalogue", "datasets", "jobs", "main", "models", "profiles", "submit"]
