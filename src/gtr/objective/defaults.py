"""GTR's own numbers: what they are without tuning, and why. All defaults are read from here.

They are the study's choice (`gtr study transitions`; docs/designs.md is the log of what was tried),
the same for every suite, and no number of the paper's, which we have not seen.

CLIP is PPO's customary .2. Over a grid of entropy coefficients .5 did as well on cartpole-offset
and acrobot-offset, and far worse on corner-switch (.57 in place of .87, in the normalised score)
and, in a look by hand, on minatar-permute: where single advantages are ten times the usual it loses
its entropy. PPO loses more by it (questions `advantage` and `clip`).

STIFFNESS and RADIUS make the strongest pull stiffness * radius * e^(-1/2) = .06, in units of the
batch's root mean square advantage: noise is held, a sample with a tenth of that is not. On the
three suites of question `surface` any stiffness from .03 to .2 does as well, at any radius from .1
to 3; from 1.2 on the score falls, the more so the larger the radius. The radius is a change of an
action's probability by half.

RELATIVE says that the stiffness counts in units of the root mean square of the batch's advantages.
Without, a batch that met no reward was held against its entropy bonus, and on corner-switch GTR
fell far behind PPO. Where advantages are standardised in each batch it makes no difference.

COUNT anchors, EVERY so many iterations apart, with weights that fall by DECAY: the mixture looks
back 14 iterations, with a third of its weight on the policy that collected the batch. One pass over
a batch asks all of them, so their number is free.
"""

CLIP = 0.2
STIFFNESS = 0.25
RADIUS = 0.4
RELATIVE = True
COUNT = 8
EVERY = 2
DECAY = 0.7
