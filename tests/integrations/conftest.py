"""What all integrations share."""

import torch

# Tests run side by side, a process for each core: PyTorch's threads would wait for one another.
torch.set_num_threads(1)
