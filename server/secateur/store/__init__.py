"""The store: jobs, architectures and models in a database, artifacts in a blob store, wake-ups over Redis."""

from secateur.store.unit_of_work import Snapshot, Store, UnitOfWork

__all__ = ["Snapshot", "Store", "UnitOfWork"]
