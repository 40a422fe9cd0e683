"""Post-training of small language models: verifiable tasks that change, and a lean loop for CPUs."""
