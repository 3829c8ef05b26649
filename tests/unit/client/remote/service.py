"""The remote service of the client's tests: a real gRPC server on a port, scripted by the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from secateur.v1 import (
    architecture_service_pb2_grpc,
    dataset_service_pb2_grpc,
    device_profile_service_pb2_grpc,
    job_service_pb2_grpc,
    model_service_pb2_grpc,
    plan_service_pb2_grpc,
)
from tests.unit.client.remote.catalogue import Architectures, DeviceProfiles
from tests.unit.client.remote.datasets import Datasets
from tests.unit.client.remote.faults import Faults
from tests.unit.client.remote.jobs import Jobs, Plans
from tests.unit.client.remote.models import Models


class Service:
    """The servicers behind one address. A test changes them before it calls."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.architectures = Architectures(self.faults)
        self.datasets = Datasets(self.faults)
        self.device_profiles = DeviceProfiles(self.faults)
        self.jobs = Jobs(self.faults)
        self.models = Models(self.faults)
        self.plans = Plans(self.faults)
        self.address = ""

    async def start(self) -> grpc.aio.Server:
        """Starts the server on a free port."""
        server = grpc.aio.server()
        architecture_service_pb2_grpc.add_ArchitectureServiceServicer_to_server(self.architectures, server)
        dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(self.datasets, server)
        device_profile_service_pb2_grpc.add_DeviceProfileServiceServicer_to_server(self.device_profiles, server)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(self.jobs, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self.models, server)
        plan_service_pb2_grpc.add_PlanServiceServicer_to_server(self.plans, server)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        return server


@contextmanager
def serving(service: Service) -> Iterator[None]:
    """Serves on a thread of its own, so that blocking clients can be tested too."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="remote-service")
    thread.start()
    server = asyncio.run_coroutine_threadsafe(service.start(), loop).result()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
