"""The study that settles our reading of GTR: does it help in changing worlds, and why?

Data flows one way: `plan` says what is to be trained, `run` trains it, `reading` reads what was
kept, `bar`, `answers` and `grid_answers` turn it into tables and sentences, `figures`,
`grid_figures` and `tables` show them, and `page` puts all of it before a reader.
"""

from gtr.study.transitions.plan import Extent, extent, extents
from gtr.study.transitions.run import steps, study

__all__ = ["Extent", "extent", "extents", "steps", "study"]
