"""Tables, figures and page of the modes of a run."""
