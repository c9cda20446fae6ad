"""`tinylm serve`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from tinylm.cli.console import say
from tinylm.cli.options import FOLDER, NumberRange
from tinylm.signatures import takes_fields_of


@dataclass(frozen=True, kw_only=True)
class ServeCommand:
    """The options of `tinylm serve`."""

    bundles: tuple[Path, ...]
    host: str
    port: int
    ollama: bool
    strict: bool
    api_key: str | None
    no_auth: bool
    name: str | None
    allowed_host: tuple[str, ...]
    cors_origin: tuple[str, ...]
    parallel: int
    queue: int
    cache_memory: int | None
    max_new_tokens: int
    time_limit: float
    grace: float
    log_requests: bool
    log_conversations: bool
    threads: int


@click.command("serve")
@click.argument("bundles", metavar="[BUNDLE]...", type=FOLDER, nargs=-1)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at. 0.0.0.0 is the whole network, :: also by IPv6.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--ollama", is_flag=True, help="Listen at Ollama's port 11434, too.")
@click.option("--strict", is_flag=True, help="Refuse parameters that could be passed over.")
@click.option("--api-key", envvar="TINYLM_API_KEY", show_envvar=True, help="The key that clients must send.")
@click.option("--no-auth", is_flag=True, help="Let anyone on the network ask, without a key.")
@click.option("--name", help="Id of the model, where there is one.  [default: the name of the bundle's folder]")
@click.option(
    "--allowed-host", multiple=True, metavar="NAME", help="A host name by which clients may call it. Repeatable."
)
@click.option(
    "--cors-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Web pages from there may use it, as https://my.page. Repeatable.",
)
@click.option(
    "--parallel", type=click.IntRange(min=1), default=16, show_default=True, help="Replies at a time, at most."
)
@click.option("--queue", type=click.IntRange(min=0), default=64, show_default=True, help="Requests that may wait.")
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
    type=NumberRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="For a reply, waiting included; it ends there.",
)
@click.option(
    "--grace",
    type=NumberRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="For replies under way when the server is stopped.",
)
@click.option("--log-requests", is_flag=True, help="Log each request: its path and status.")
@click.option("--log-conversations", is_flag=True, help="Log prompts and replies, too.")
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    show_default="one for small models, else the fastest",
    help="CPU threads of one reply.",
)
@takes_fields_of(ServeCommand)
def command(asked: ServeCommand) -> None:
    """Serve each BUNDLE, or the demo model in the box, to browsers and to clients of OpenAI and Ollama.

    Clients choose among several bundles by their names. SIGHUP loads all of them again.
    """
    names = model_names(asked.bundles, asked.name)
    check_key(asked.api_key, asked.host, asked.no_auth)

    import logging

    from tinylm.runtime.server.dispatch import Limits
    from tinylm.runtime.server.security import Access
    from tinylm.runtime.server.service import Settings, load_model, serve

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    if asked.log_requests or asked.log_conversations:
        logging.getLogger("tinylm.serve").setLevel(logging.INFO)
    settings = Settings(
        access=Access(asked.host, asked.api_key, asked.allowed_host, asked.cors_origin),
        limits=Limits(asked.max_new_tokens, asked.time_limit, strict=asked.strict),
        port=asked.port,
        ollama=asked.ollama,
        parallel=asked.parallel,
        queue=asked.queue,
        cache_bytes=None if asked.cache_memory is None else asked.cache_memory * 1_000_000,
        grace=asked.grace,
        log_conversations=asked.log_conversations,
        threads=asked.threads,
    )
    folders: Sequence[Path | None] = asked.bundles or (None,)
    models = [load_model(name, folder, asked.threads) for name, folder in zip(names, folders, strict=True)]
    serve(models, settings, partial(announce, asked.host, asked.ollama, names))


def model_names(bundles: Sequence[Path], name: str | None) -> list[str]:
    """The ids of the models: the names of the bundles' folders, or the given one.

    Raises:
        click.UsageError: two are the same, or one name is given for several.
    """
    if name is not None and len(bundles) > 1:
        raise click.UsageError("--name is for one bundle; several have the names of their folders")
    names = [name] if name else [bundle.absolute().name for bundle in bundles] or ["demo"]
    double = next((name for name, count in Counter(names).items() if count > 1), None)
    if double is not None:
        raise click.UsageError(f"two bundles have the name {double}: rename one of the folders")
    return names


def check_key(key: str | None, host: str, no_auth: bool) -> None:
    """Make sure that the network is served with a key, or without one on purpose.

    Raises:
        click.UsageError: it is not, or the key cannot be sent in a header.
    """
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        raise click.UsageError("the API key must be of visible ASCII characters")
    if key and no_auth:
        raise click.UsageError("--no-auth and an API key: give one of them")

    from tinylm.runtime.server.security import is_loopback

    if not is_loopback(host) and not key and not no_auth:
        raise click.UsageError(
            f"--host {host}: anyone on the network could use it; set a key in TINYLM_API_KEY, or say --no-auth"
        )


def announce(host: str, ollama: bool, names: Sequence[str], port: int, caches: int) -> None:
    """Say where the server can be reached; for other devices with a QR code, where a person may see it.

    Args:
        host: that it listens at.
        ollama: whether at Ollama's port, too.
        names: of the models.
        port: that it listens at.
        caches: how many KV caches there is memory for.
    """
    from tinylm.runtime.server.addresses import is_wildcard, qr_code, urls
    from tinylm.runtime.server.service import OLLAMA_PORT

    first, *others = urls(host, port)
    also = f" (also {', '.join(others)})" if others else ""
    say(f"Chat in a browser at {first}{also}, or by an OpenAI client at {first}/v1; Ctrl-C ends it.")
    if len(names) > 1:
        say(f"The models are {', '.join(names)}; a request that names none gets {names[0]}.")
    if ollama:
        say(f"Ollama's clients find it at {urls(host, OLLAMA_PORT)[0]}.")
    if caches == 1:
        say("There is memory for one KV cache: replies are given one after the other.")
    if is_wildcard(host) and sys.stderr.isatty():
        click.echo(qr_code(first), err=True)
