"""PlanService over gRPC."""

from __future__ import annotations

from secateur.server.plans import handlers, mapping
from secateur.server.rpc import Context
from secateur.server.threads import Threads
from secateur.store import Store
from secateur.v1 import plan_service_pb2, plan_service_pb2_grpc


class PlanService(plan_service_pb2_grpc.PlanServiceServicer):
    """Quotes plans without training.

    Args:
        store: Where architectures are.
        threads: Where handlers run.
        seconds: How long the plans of one call may take.
    """

    def __init__(self, store: Store, threads: Threads, *, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._threads = threads

    async def Quote(self, request: plan_service_pb2.QuoteRequest, context: Context) -> plan_service_pb2.QuoteResponse:
        """Plans every target."""
        query = mapping.quote_from_proto(request)
        quotes = await self._threads.run(handlers.quote_targets, query, store=self._store, seconds=self._seconds)
        return mapping.quotes_to_proto(quotes)
