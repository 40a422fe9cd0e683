"""What a run's directory holds for TensorBoard, Weights & Biases and MLflow."""

import json
import struct
from pathlib import Path

from gtr.loggers.wandb_files import records

Shown = list[tuple[int, str, float]]
"""Of one seed: step, tag and value of each point, in the order in which they were written."""


def shown(name: str, directory: Path, seed: int) -> Shown:
    """What a logger shows of a seed."""
    readers = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}
    return readers[name](directory, seed)


def tensorboard(directory: Path, seed: int) -> Shown:
    """From event files, TensorBoard's rule of purging applied."""
    from tensorboardX.proto.event_pb2 import Event

    found: Shown = []
    for path in sorted((directory / "tensorboard" / f"seed-{seed}").glob("events*")):
        content, place = path.read_bytes(), 0
        # TFRecord: length, its checksum, the event, its checksum
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += 16 + length
            if event.HasField("session_log"):
                found = [one for one in found if one[0] < event.step]
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
    return found


def wandb(directory: Path, seed: int) -> Shown:
    """From the files of offline runs of the seed's identity, the oldest first."""
    identity = json.loads((directory / "loggers/wandb.json").read_text())[str(seed)]
    found: Shown = []
    for path in sorted(directory.glob(f"wandb/offline-run-*/run-{identity}.wandb")):
        for record in records(path):
            if record.WhichOneof("record_type") == "history":
                items = {
                    "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                    for item in record.history.item
                }
                step = items.pop("_step")
                found += [(step, k, x) for k, x in items.items() if not k.startswith("_")]
    return found


def mlflow(directory: Path, seed: int) -> Shown:
    """From a store of files, by MLflow itself."""
    import mlflow

    known = json.loads((directory / "loggers/mlflow.json").read_text())
    client, run = mlflow.MlflowClient(tracking_uri=known["uri"]), known["runs"][str(seed)]
    return [
        (metric.step, tag, metric.value)
        for tag in client.get_run(run).data.metrics
        for metric in client.get_metric_history(run, tag)
    ]
