"""Policies before and after a change, as a film: kept policies are read, act, and are drawn."""
