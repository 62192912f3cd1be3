"""Training: pure updates (step), the loop around them (trainer) and what survives (checkpoint)."""
