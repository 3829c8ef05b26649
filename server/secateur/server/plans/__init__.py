"""PlanService: `service` is transport, `handlers` logic, `mapping` proto <-> domain."""
