"""The named methods, and every method as a JAX pytree.

Importing this module registers the dataclasses of `gtr.objective` with JAX: their numbers become
leaves, so that one jitted call can sweep over them; names, `count`, `every`, the kind of divergence
and the unit of the stiffness become structure, so that a change of them compiles anew.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from jax.tree_util import register_dataclass

from gtr import runtime
from gtr.errors import GTRError
from gtr.objective import (
    SPO,
    Average,
    Behaviour,
    Bump,
    Clip,
    DecoupledClip,
    Gate,
    Gaussian,
    Initial,
    Method,
    Quadratic,
    Recent,
    Stale,
    Unclipped,
    gaussian_trust_region,
    validate,
)

runtime.prepare()

_STATIC = frozenset({"name", "divergence", "relative", "count", "every"})


def _register(kind: type) -> None:
    names = [field.name for field in fields(kind)]
    register_dataclass(
        kind,
        data_fields=[name for name in names if name not in _STATIC],
        meta_fields=[name for name in names if name in _STATIC],
    )


for _kind in (
    Method,
    Clip,
    Unclipped,
    SPO,
    DecoupledClip,
    Gaussian,
    Bump,
    Quadratic,
    Gate,
    Behaviour,
    Average,
    Initial,
    Stale,
    Recent,
):
    _register(_kind)


@dataclass(frozen=True)
class _Entry:
    method: Method
    description: str
    source: str


_GTR = "our reading of arXiv:2606.03382"


def _gtr(name: str, **parts: Any) -> Method:
    return replace(gaussian_trust_region(), name=name, **parts)


_ENTRIES = {
    entry.method.name: entry
    for entry in (
        _Entry(
            Method("ppo", Clip()),
            "clipped surrogate, nothing else",
            "arXiv:1707.06347",
        ),
        _Entry(
            Method(
                "ppo-kl",
                Unclipped(),
                penalty=Quadratic(stiffness=1.0),
                anchor=Behaviour(),
                divergence="exact",
                target_kl=0.01,
            ),
            "exact KL penalty to the behaviour policy, its coefficient adapted to a target",
            "arXiv:1707.06347, section 4",
        ),
        _Entry(
            Method(
                "ppo-ewma",
                DecoupledClip(),
                penalty=Quadratic(stiffness=0.0),
                anchor=Average(),
            ),
            "clip (and, with stiffness above 0, KL penalty) around an average of the weights",
            "arXiv:2110.00641, openai/ppo-ewma",
        ),
        _Entry(
            Method("spo", SPO()),
            "quadratic penalty on the ratio in place of the clip",
            "arXiv:2401.16025",
        ),
        _Entry(
            Method(
                "cim",
                Unclipped(),
                # alpha 5 and sigma 1 of the authors' code: 5 / sqrt(2 pi) is 2.0
                penalty=Gaussian(stiffness=2.0, radius=1.0),
                anchor=Behaviour(),
                divergence="probability",
            ),
            "bounded Gaussian penalty on probabilities to the behaviour policy, no clip",
            "CIM-PPO, arXiv:2110.10522, sign corrected",
        ),
        _Entry(
            Method("gipo", Unclipped(), gate=Gate(), anchor=Behaviour()),
            "Gaussian weight on the log-ratio to the behaviour policy in place of the clip",
            "our reading of the abstract of arXiv:2603.03955",
        ),
        _Entry(
            _gtr("gtr"),
            "clip and bounded Gaussian penalty to a mixture of recent policies",
            _GTR,
        ),
        _Entry(
            _gtr("gtr-bump", penalty=Bump()),
            "as gtr, with a penalty whose value itself returns to 0",
            _GTR,
        ),
        _Entry(
            _gtr("gtr-gate", penalty=None, gate=Gate(), relative=False),
            "as gtr, with the kernel as a weight on the surrogate in place of the penalty",
            f"{_GTR}; GIPO, arXiv:2603.03955",
        ),
        _Entry(
            _gtr("gtr-one-anchor", anchor=Stale()),
            "as gtr, with one old snapshot in place of the mixture",
            f"ablation of {_GTR}",
        ),
        _Entry(
            _gtr("gtr-behaviour", anchor=Behaviour()),
            "as gtr, with the behaviour policy alone in place of the mixture",
            f"ablation of {_GTR}",
        ),
        _Entry(
            _gtr("gtr-exact", divergence="exact"),
            "as gtr, with the exact KL of each state in place of the sampled log-ratio",
            f"ablation of {_GTR}",
        ),
        _Entry(
            _gtr("gtr-monotone", penalty=Quadratic()),
            "as gtr, with a monotone quadratic penalty of the same curvature",
            f"ablation of {_GTR}",
        ),
        _Entry(
            _gtr("gtr-absolute", relative=False),
            "as gtr, with a stiffness that does not follow the size of the batch's advantages",
            f"ablation of {_GTR}",
        ),
    )
}


def names() -> tuple[str, ...]:
    """The names that `method` knows."""
    return tuple(_ENTRIES)


def describe(name: str) -> str:
    """One line about a named method: what it is, and where it comes from.

    Raises:
        GTRError: no method has this name.
    """
    entry = _entry(name)
    return f"{entry.description} ({entry.source})"


def method(name: str, **numbers: Any) -> Method:
    """A named method, with some of its numbers replaced.

    Args:
        name: one of `names()`.
        **numbers: by the names that `numbers(method(name))` gives: `clip`, `stiffness`, `radius`,
            `anchors`, `every`, `decay`, `target_kl`. Arrays are taken too (`anchors` and `every`
            excepted), to sweep over with `jax.vmap`.

    Returns:
        The method, validated.

    Raises:
        GTRError: the name or a number's name is unknown, or a number is out of its range.
    """
    found = _entry(name).method
    places = {flat: (role, field) for flat, role, field, _ in _numbers(found)}
    for flat, value in numbers.items():
        if flat not in places:
            raise GTRError(
                f"method {name!r} has no number {flat!r}{_suggestion(flat, places)}; "
                f"it has {', '.join(places)}"
            )
        role, field = places[flat]
        # An int leaf would be an integer array to JAX, and compile apart from a float.
        if isinstance(value, int) and not isinstance(value, bool) and field not in _STATIC:
            value = float(value)
        if role is None:
            found = replace(found, **{field: value})
        else:
            found = replace(found, **{role: replace(getattr(found, role), **{field: value})})
    validate(found)
    return found


def numbers(method: Method) -> dict[str, Any]:
    """A method's numbers by flat names, as `method` takes them.

    A gate's radius is `gate_radius` where the penalty has a radius too. The anchors' count is
    `anchors`.
    """
    return {flat: value for flat, _, _, value in _numbers(method)}


def _numbers(method: Method) -> Iterator[tuple[str, str | None, str, Any]]:
    """Flat name, the part that holds it (None: the method itself), its field there, its value."""
    taken: set[str] = set()
    for role in ("surrogate", "penalty", "gate", "anchor"):
        part = getattr(method, role)
        for field in () if part is None else fields(part):
            flat = "anchors" if field.name == "count" else field.name
            flat = f"{role}_{flat}" if flat in taken else flat
            taken.add(flat)
            yield flat, role, field.name, getattr(part, field.name)
    if method.target_kl is not None:
        yield "target_kl", None, "target_kl", method.target_kl


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        raise GTRError(
            f"there is no method {name!r}{_suggestion(name, _ENTRIES)}; "
            f"there are {', '.join(_ENTRIES)}"
        )
    return _ENTRIES[name]


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
