"""Secateur's domain: graphs, costs, budgets, plans and jobs as plain Python. No I/O and no framework."""
