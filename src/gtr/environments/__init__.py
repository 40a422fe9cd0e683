"""Environments as pure functions, adapters to those of others, and what changes in them."""

from gtr import runtime

# Every module of this project that computes with JAX imports this package or `gtr.methods`.
runtime.prepare()
