"""Commands of ``gfrnn``, one module per command or group of commands."""
