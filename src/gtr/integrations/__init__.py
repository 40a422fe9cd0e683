"""GTR where people already train: one module for each framework, and what they share."""
