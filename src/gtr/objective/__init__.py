"""The mathematics: pure functions on arrays of NumPy, JAX or PyTorch.

It imports neither JAX nor PyTorch, and nothing else of this package but the error. To use a
`Method` as a JAX pytree, whose numbers are leaves, import `gtr.methods`.
"""

from gtr.objective.anchors import Anchor, Average, Behaviour, Initial, Recent, Stale
from gtr.objective.diagnostics import diagnostics
from gtr.objective.gaussian_trust_region import gaussian_trust_region
from gtr.objective.method import (
    Evaluation,
    Method,
    adapt,
    batch_stiffness,
    evaluate,
    validate,
)
from gtr.objective.movement import (
    categorical_hellinger,
    categorical_step_cosine,
    directional_efficiency,
    gaussian_hellinger,
    gaussian_step_cosine,
    multi_categorical_hellinger,
    multi_categorical_step_cosine,
)
from gtr.objective.penalties import (
    Bump,
    Gate,
    Gaussian,
    Penalty,
    Quadratic,
    half_square,
    half_square_of_probabilities,
    kernel,
)
from gtr.objective.surrogates import SPO, Clip, DecoupledClip, Surrogate, Unclipped

__all__ = [
    "SPO",
    "Anchor",
    "Average",
    "Behaviour",
    "Bump",
    "Clip",
    "DecoupledClip",
    "Evaluation",
    "Gate",
    "Gaussian",
    "Initial",
    "Method",
    "Penalty",
    "Quadratic",
    "Recent",
    "Stale",
    "Surrogate",
    "Unclipped",
    "adapt",
    "batch_stiffness",
    "categorical_hellinger",
    "categorical_step_cosine",
    "diagnostics",
    "directional_efficiency",
    "evaluate",
    "gaussian_hellinger",
    "gaussian_step_cosine",
    "gaussian_trust_region",
    "half_square",
    "half_square_of_probabilities",
    "kernel",
    "multi_categorical_hellinger",
    "multi_categorical_step_cosine",
    "validate",
]
