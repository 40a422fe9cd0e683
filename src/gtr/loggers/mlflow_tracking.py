"""MLflow: a run there for each seed, in one experiment."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gtr.loggers.follower import Point
from gtr.loggers.identities import keep, recalled


class MLflow:
    """A `Service`; MLflow's own variables say where (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME).

    Without them it is a store of files in the run's directory. Either way the store knows which
    step it has last of each measure.
    """

    def __init__(
        self, directory: Path, seeds: list[int], description: dict[str, Any], kept: Path
    ) -> None:
        """Begins the runs, or goes on with them.

        Args:
            directory: the training's.
            seeds: of the training.
            description: what config.json holds.
            kept: where identities are noted.
        """
        import mlflow

        if mlflow.is_tracking_uri_set():
            uri = mlflow.get_tracking_uri()
        else:
            uri = (directory.resolve() / "mlflow").as_uri()
            # MLflow 3 asks for a database, or for this; the small package has no database
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        known = recalled(kept)
        if known.get("uri") != uri:
            known = {"uri": uri, "runs": {}}
        self._runs, self._last = {}, {}
        for seed in seeds:
            run = known["runs"].get(str(seed))
            if run is None:
                run = self._begun(f"{directory.resolve().name} seed {seed}", seed, description)
                known["runs"][str(seed)] = run
            else:
                self._client.update_run(run, status="RUNNING")
            self._runs[seed] = run
            latest = self._client.get_run(run).data.to_proto().metrics
            self._last[seed] = {metric.key: metric.step for metric in latest}
        keep(kept, known)

    def _begun(self, name: str, seed: int, description: dict[str, Any]) -> str:
        from mlflow.entities import Param

        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", "gtr")
        found = self._client.get_experiment_by_name(title)
        experiment = found.experiment_id if found else self._client.create_experiment(title)
        run = self._client.create_run(experiment, run_name=name).info.run_id
        parameters = [Param(key, str(value)) for key, value in _flat(description | {"seed": seed})]
        self._client.log_batch(run, params=parameters)
        return run

    def send(self, seed: int, points: list[Point]) -> None:
        """See `Service.send`."""
        from mlflow.entities import Metric

        now, last = int(1000 * time.time()), self._last[seed]
        metrics = [
            Metric(tag, value, now, step)
            for step, values in points
            for tag, value in values.items()
            if step > last.get(tag, -1)
        ]
        if metrics:
            self._client.log_batch(self._runs[seed], metrics=metrics)

    def close(self, *, finished: bool) -> None:
        """See `Service.close`."""
        for run in self._runs.values():
            self._client.set_terminated(run, "FINISHED" if finished else "KILLED")


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, by names with dots."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value
