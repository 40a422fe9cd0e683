"""Store learning curves of our PPO and peers' at the settings of `settings.json`.

Each trainer and environment gets `curves/<environment>/<trainer>.csv`: step, seed, how many
episodes ended in the iteration that ends there, and their mean return (empty if none ended).
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

SPEED = Path(__file__).parent.parent / "speed"
sys.path.append(str(SPEED))

import peers  # noqa: E402
from cases import FILE, HERE  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for option, known in (
        ("trainers", list(FILE["trainers"])),
        ("environments", list(FILE["environments"])),
    ):
        parser.add_argument(f"--{option}", nargs="+", choices=known, default=known)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--shorten", type=int, default=1, help="divide each run's length by this")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a set of runs")
    parser.add_argument("--output", type=Path, default=HERE / "curves")
    arguments = parser.parse_args()

    failed = 0
    for environment in arguments.environments:
        directory = arguments.output / environment
        directory.mkdir(parents=True, exist_ok=True)
        steps = FILE["environments"][environment]["steps"] // arguments.shorten
        for trainer in arguments.trainers:
            entry = FILE["trainers"][trainer]
            ours = entry["peer"] is None
            python = sys.executable if ours else str(peers.interpreter(entry["peer"]))
            command = [python, str(HERE / entry["script"])]
            command += ["--trainer", trainer, "--environment", environment, "--steps", str(steps)]
            command += ["--seeds", str(arguments.seeds)]
            command += ["--output", str(directory / f"{trainer}.csv")]
            # Peers vectorise an orthogonal initialisation, whose QR decompositions can block all of
            # XLA's workers where they are few; speed is nothing here.
            variables = dict(os.environ) if ours else peers.variables() | {"NPROC": "8"}
            variables["PYTHONPATH"] = str(SPEED)
            print(f"{environment}: {trainer}", file=sys.stderr, flush=True)
            try:
                subprocess.run(command, check=True, timeout=arguments.timeout, env=variables)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                failed += 1
                why = "failed" if isinstance(error, subprocess.CalledProcessError) else "timed out"
                print(f"{environment}: {trainer} {why}", file=sys.stderr, flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
