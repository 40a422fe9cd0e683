"""Gaussian trust regions for policies in worlds that keep changing."""
