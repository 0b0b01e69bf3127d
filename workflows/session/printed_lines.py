"""Lines that commands print: products, warnings, the dashboard and the state of the cluster.

Consoles of commands do not interpret markup, so that names and paths are printed as they are.
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from gfrnn.pipeline.errors import without_passwords


def print_product(console: Console, name: str, text: object) -> None:
    """Print a line that begins with a bold name, such as that of a stage and its file."""
    console.print(Text.assemble((name, "bold"), f": {without_passwords(str(text))}"))


def print_warning(console: Console, message: str) -> None:
    """Print a warning."""
    console.print(Text.assemble(("warning", "yellow"), f": {without_passwords(message)}"))


def print_dashboard(console: Console, address: str | None) -> None:
    """Print the address of a dashboard, if there is one, and how it is reached from elsewhere."""
    if not address:
        return
    # Only commands that have a cluster need it, which have imported what it imports.
    from gfrnn.cluster.ssh_tunnel import ssh_tunnel_command

    console.print(f"dashboard: {address}", highlight=False, markup=False)
    if command := ssh_tunnel_command(address):
        console.print(f"from elsewhere: {command}", highlight=False, markup=False)


def print_cluster_line(console: Console, line: str) -> None:
    """Print a line about the cluster."""
    console.print(f"cluster: {line}", highlight=False, markup=False)
