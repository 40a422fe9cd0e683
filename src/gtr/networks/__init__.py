"""Policies, critics, and the distributions that policies put out."""
