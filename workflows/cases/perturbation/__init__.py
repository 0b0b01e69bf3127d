"""Tasks, settings, runs and figure of the case of learning by random perturbations."""
