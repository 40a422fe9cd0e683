"""What the language models' extra brings, and what to say where it is not installed."""

from gtr.errors import GTRError


def missing(error: ImportError) -> GTRError:
    """The one line for a package of the extra that is not there."""
    return GTRError(
        f"gtr.language needs {error.name or 'more packages'}: pip install 'gtr-rl[language]'"
    )
