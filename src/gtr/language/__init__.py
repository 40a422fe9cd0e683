"""Post-training of small language models: verifiable tasks that change, and a loop for CPUs."""
