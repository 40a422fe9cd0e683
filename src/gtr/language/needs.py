"""What the language models' extra brings, and what to say where it is not installed."""

from importlib.util import find_spec

from gtr.errors import GTRError

_PACKAGES = ("torch", "transformers", "reasoning_gym")


def require() -> None:
    """Looks for the packages of the extra, without importing them.

    Raises:
        GTRError: one is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise GTRError(f"gtr.language needs {missing[0]}: pip install 'gtr-rl[language]'")
