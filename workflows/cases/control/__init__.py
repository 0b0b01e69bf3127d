"""Control problem and regulators of the case of the forced Van der Pol oscillator."""
