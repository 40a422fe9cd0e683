"""Environments as pure functions, adapters to those of others, and what changes in them."""
