"""The SDK for asyncio: the same calls as `secateur.client`, awaited."""

from secateur.client.aio.client import Client
from secateur.client.aio.jobs import Job
from secateur.client.aio.models import Model

__all__ = ["Client", "Job", "Model"]
