"""Tasks, settings and runs of the case of learning by random perturbations."""
