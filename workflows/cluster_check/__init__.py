"""``gfrnn cluster check``: probes of the workers and the problems they show."""
