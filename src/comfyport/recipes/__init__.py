"""Recipes: a workflow with named parameters becomes an endpoint of its own, the same behind every door."""
