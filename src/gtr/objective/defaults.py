"""GTR's own numbers: what they are without tuning, and why. All defaults are read from here.

They are the study's choice (`gtr study transitions`; docs/designs.md is the log of what was tried),
the same for every suite, and no number of the paper's, which we have not seen.

CLIP is PPO's customary .2. A wider one did as well on cartpole-offset, where the pull does some of
the clip's work, but on minatar-permute, where single advantages are ten times the usual, GTR loses
its entropy with it as PPO does.

STIFFNESS and RADIUS make the strongest pull stiffness * radius * e^(-1/2) = .06, in units of a
standardised advantage: noise is held, and a sample with an advantage of a tenth of a standard
deviation is not. Half the stiffness or twice the radius did as well within the doubt; four times
the stiffness did worse. The radius is a change of an action's probability by half.

RELATIVE: the stiffness counts in units of the root mean square of the batch's advantages. Without,
a batch that met no reward was held against its entropy bonus, and on corner-switch GTR fell far
behind PPO. Where advantages are standardised in each batch it makes no difference.

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
