"""The store: jobs, architectures and models in a database, artifacts in a blob store, wake-ups over Redis."""
