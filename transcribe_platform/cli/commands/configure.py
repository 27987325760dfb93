"""`transcribe configure`: saves the URL of the platform and the API key."""

import os
import sys

import click

from transcribe_platform.cli import config, exit_codes
from transcribe_platform.cli.session import end, fail
from transcribe_platform.client import Client
from transcribe_platform.client.errors import ClientError


@click.command("configure")
@click.option("--profile", default="default", show_default=True, metavar="NAME")
@click.option("--url", prompt="URL of the platform", default=config.DEFAULT_URL)
@click.option(
    "--key-from-stdin",
    is_flag=True,
    help="Read the key from stdin, which hides it from the process list.",
)
def command(*, profile: str, url: str, key_from_stdin: bool) -> None:
    """Check the URL and your API key and save them."""
    if key_from_stdin:
        key = sys.stdin.readline().strip()
    else:
        key = click.prompt("API key", hide_input=True).strip()
    path = config.config_path(os.environ)
    try:
        with Client(url, key) as client:
            me = client.me()
        config.write_profile(path, name=profile, url=url, api_key=key)
    except ClientError as error:
        end(error, as_json=False)
    except (ValueError, OSError, config.ConfigError) as error:
        fail(str(error), code=exit_codes.Exit.USAGE, as_json=False, error_code="config")
    click.echo(f"Saved to {path} for tenant {me['tenant']['name']}.")
