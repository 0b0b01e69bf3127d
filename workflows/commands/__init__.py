"""The subcommands of ``gfrnn``."""
