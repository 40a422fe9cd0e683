"""What the learner needs of a logger."""

from typing import Protocol

import pandas as pd


class Logger(Protocol):
    """Told of a run's measures while it trains."""

    def append(self, rows: pd.DataFrame) -> None:
        """Takes rows of metrics.csv (columns in docs/architecture.md), in order."""
        ...

    def close(self) -> None:
        """Passes on what is left, and lets go."""
        ...
