"""The trainer: rollout, advantages, anchors, update, and the host's loop around them."""
