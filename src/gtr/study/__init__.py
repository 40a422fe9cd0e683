"""Comparing methods honestly: scores of runs, statistics over runs, figures and a report."""
