"""Policies that a training kept, as files for other places."""

from pathlib import Path

from gtr.errors import GTRError
from gtr.export.files import save
from gtr.learner.policies import kept_seeds
from gtr.suites import Suite
from gtr.watch.policies import find


def export(
    directory: Path | str,
    out: Path | str,
    *,
    method: str | None = None,
    phase: int | None = None,
    seed: int | None = None,
    suite: Suite | None = None,
) -> tuple[int, int]:
    """Writes a policy as a phase left it; what kind of file is said by the name (`save`).

    Args:
        directory: of a training, or of a comparison.
        out: the file.
        method: of a comparison's; not needed where there is one.
        phase: its number, from 0; the last that is over where None.
        seed: of the run; the first where None.
        suite: that was trained on, where it is none of `gtr suites`.

    Returns:
        The phase and the seed.

    Raises:
        GTRError: there is no such policy, or the file cannot be written.
    """
    directory = Path(directory)
    _, kept = find(directory, suite)
    names = ", ".join(kept)
    if method is None and len(kept) > 1:
        raise GTRError(f"{directory} has several methods: give one of {names}")
    if method is not None and method not in kept:
        raise GTRError(f"{directory} has no method {method!r}; it has {names}")
    one = kept[method or next(iter(kept))]
    phases = range(one.problem.iterations // one.problem.phase_iterations)
    seeds = {n: found for n in phases if (found := kept_seeds(one.directory, n))}
    if not seeds:
        raise GTRError(f"{directory} keeps no policy yet: no phase of its training is over")
    phase = max(seeds) if phase is None else phase
    if phase not in seeds:
        raise GTRError(f"no policy of phase {phase} is kept; give one of {sorted(seeds)}")
    seed = seeds[phase][0] if seed is None else seed
    if seed not in seeds[phase]:
        raise GTRError(f"no policy of seed {seed} is kept; give one of {seeds[phase]}")
    save(one.policy(phase, seed), one.problem, out)
    return phase, seed
