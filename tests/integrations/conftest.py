"""What all integrations share."""

import torch

# Tests run side by side, a process for each core.
torch.set_num_threads(1)
