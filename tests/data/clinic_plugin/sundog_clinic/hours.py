"""`sundog hours`."""

import click


@click.command()
@click.option("--weekend", is_flag=True, help="On Saturdays and Sundays.")
def command(weekend):
    """Show when the clinic is open."""
    click.echo("closed" if weekend else "8 to 17 o'clock")
