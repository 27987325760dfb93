"""Long runs of bad input, by seed: what breaks once can be run again."""
