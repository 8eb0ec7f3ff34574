"""Programs that adapters run. What is run, and what its failure means, is theirs. Start at child.py."""
