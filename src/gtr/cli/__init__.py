"""The command line: `gtr`."""

import os
import sys

import tyro

from gtr.cli import commands
from gtr.cli.language import language
from gtr.errors import GTRError

_DESCRIPTION = """Gaussian trust regions: policies that are trained in worlds that keep changing.

`gtr suites` lists the worlds, `gtr methods` the methods. Every command that trains writes into the
directory given by --out, may be stopped at any time with Ctrl-C, and goes on when given again."""


def main() -> None:
    """Runs a command; mistakes that the user can mend are one line on standard error."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            {
                "methods": commands.methods,
                "suites": commands.suites,
                "train": commands.train,
                "compare": commands.compare,
                "tune": commands.tune,
                "study": commands.study,
                "report": commands.report,
                "watch": commands.watch,
                "export": commands.export,
                "language": language,
            },
            prog="gtr",
            description=_DESCRIPTION,
        )
    except GTRError as error:
        print("gtr:", " ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as error:
        print("gtr:", str(error) or "stopped; the same command continues", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # `gtr ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
