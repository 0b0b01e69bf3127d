"""The tree reduction: plan, memory check, schedule, checkpoints and resume."""
