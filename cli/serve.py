"""`tinylm serve`."""

from __future__ import annotations

from pathlib import Path

import click

from tinylm.cli.console import say
from tinylm.cli.options import FOLDER


@click.command("serve")
@click.argument("bundle", type=FOLDER, required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0: the network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--api-key", envvar="TINYLM_API_KEY", show_envvar=True, help="The key that clients must give.")
@click.option("--no-auth", is_flag=True, help="Let anyone on the network ask, without a key.")
@click.option("--name", help="The model's id.  [default: the bundle's name]")
@click.option(
    "--allowed-host", multiple=True, metavar="NAME", help="A name by which clients may call this server. Repeatable."
)
@click.option(
    "--cors-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Pages from there may use it, as https://my.page. Repeatable.",
)
@click.option(
    "--parallel", type=click.IntRange(min=1), default=16, show_default=True, help="Replies at a time, at most."
)
@click.option(
    "--queue", type=click.IntRange(min=0), default=64, show_default=True, help="Requests that may wait for their turn."
)
@click.option(
    "--cache-memory",
    type=click.IntRange(min=1),
    metavar="MB",
    help="Memory of all KV caches.  [default: a quarter of what is free, 256 at most]",
)
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), default=1024, show_default=True, help="Length of a reply, at most."
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="For a reply, waiting included; it ends there.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="For replies under way when the server is stopped.",
)
@click.option("--log-requests", is_flag=True, help="Log each request: its path and status.")
@click.option("--log-conversations", is_flag=True, help="Log what is said, too.")
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    show_default="one for small models, else the fastest",
    help="CPU threads of one reply.",
)
def command(
    bundle: Path | None,
    host: str,
    port: int,
    api_key: str | None,
    no_auth: bool,
    name: str | None,
    allowed_host: tuple[str, ...],
    cors_origin: tuple[str, ...],
    parallel: int,
    queue: int,
    cache_memory: int | None,
    max_new_tokens: int,
    time_limit: float,
    grace: float,
    log_requests: bool,
    log_conversations: bool,
    threads: int,
) -> None:
    """Serve BUNDLE, or the demo model in the box, to browsers and OpenAI clients."""
    if api_key is not None and not (api_key and api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise click.UsageError("the API key must be of visible ASCII characters")
    if api_key and no_auth:
        raise click.UsageError("--no-auth and an API key: give one of them")

    import logging

    from tinylm.runtime.server.security import Access, is_loopback

    if not is_loopback(host) and not api_key and not no_auth:
        raise click.UsageError(
            f"--host {host}: anyone on the network could use it; set a key in TINYLM_API_KEY, or say --no-auth"
        )
    from tinylm.runtime.server.app import Limits
    from tinylm.runtime.server.service import Settings, load_model, serve

    if log_requests or log_conversations:
        logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
        logging.getLogger("tinylm.serve").setLevel(logging.INFO)
    model = load_model(bundle, threads)
    settings = Settings(
        access=Access(host, api_key, allowed_host, cors_origin),
        limits=Limits(max_new_tokens, time_limit),
        name=name or (bundle.absolute().name if bundle else "demo"),
        port=port,
        parallel=parallel,
        queue=queue,
        cache_bytes=None if cache_memory is None else cache_memory * 1_000_000,
        grace=grace,
        log_conversations=log_conversations,
    )
    serve(model, settings, _tell)


def _tell(address: str, caches: int) -> None:
    say(f"Chat in a browser at {address}, or by an OpenAI client at {address}/v1; Ctrl-C ends it.")
    if caches == 1:
        say("There is memory for one KV cache: replies are given one after the other.")
