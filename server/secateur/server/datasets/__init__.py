"""DatasetService: `service` is transport, `handlers` logic, `mapping` proto <-> domain, `archive` reads what is uploaded."""
