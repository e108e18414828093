"""The commands about API keys: ``inferloom keys …``."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from inferloom_cli.helpful import Command, Commands
from inferloom_cli.options import AsJson

if TYPE_CHECKING:
    from inferloom_mesh.audit import Audit

app = typer.Typer(
    help="Make, list, limit and revoke API keys, and see what they use.\n\n"
    "Gateways that are started with `--keys` and the same place ask for them, and know of changes within "
    "five seconds.",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Where = Annotated[
    str | None,
    typer.Option(
        "--keys",
        metavar="FILE|redis://…",
        envvar="INFERLOOM_KEYS",
        help="Where the keys are kept: a file, or a Redis.",
    ),
]
Tenant = Annotated[str, typer.Option(metavar="NAME", help="Whose key it is.")]
Requests = Annotated[
    int | None,
    typer.Option("--requests-per-minute", "--rpm", min=0, metavar="N", help="Most requests in a minute."),
]
Tokens = Annotated[
    int | None,
    typer.Option(
        "--tokens-per-minute",
        "--tpm",
        min=0,
        metavar="N",
        help="Most tokens in a minute, of prompts and answers.",
    ),
]
Concurrent = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Most requests at once, streams among them.")
]


def _where(given: str | None) -> str | None:
    from inferloom_cli.key_settings import KeySettings
    from inferloom_cli.settings import load

    return load(KeySettings, keys=given).keys


def _audit() -> "Audit | None":
    from inferloom_cli.key_settings import KeySettings
    from inferloom_cli.refusal import RefusedError
    from inferloom_cli.settings import load
    from inferloom_mesh.audit import audit_at

    try:
        return audit_at(load(KeySettings).audit_log)
    except OSError as failure:
        raise RefusedError(str(failure)) from failure


@app.command(cls=Command)
def create(
    tenant: Tenant = "default",
    name: Annotated[str, typer.Option(metavar="TEXT", help="What you call it.")] = "",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model that it opens, `*` and `?` allowed; repeat it. [default: all]",
        ),
    ] = None,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--endpoint",
            "-e",
            metavar="NAME",
            help="An endpoint that it opens, such as chat, embeddings, models, files; repeat it. "
            "[default: all but metrics, console, keys and operating]",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it ends: `90d`, `12h`, or `2026-12-31`. [default: never]"),
    ] = None,
    requests: Requests = None,
    tokens: Tokens = None,
    concurrent: Concurrent = None,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it; it is shown only this once. A file that is not there is made.

    Examples:

    ```
    inferloom keys create --keys keys.db --tenant acme --expires 90d
    inferloom keys create --keys keys.db --model 'smollm*' --endpoint chat --rpm 60 --tpm 20000
    ```
    """
    from inferloom_cli import keys
    from inferloom_gateway.access.api_key import Limits

    with keys.opened(_where(where), create=True) as store:
        limits = Limits(requests, tokens, concurrent)
        keys.create(
            store, tenant, name, model or (), endpoint or (), expires, limits, as_json=as_json, audit=_audit()
        )


@app.command("list", cls=Command)
def list_(
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one's.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that open nothing any more.")
    ] = False,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Show the keys: ids, what they open, and their limits. The keys themselves are nowhere."""
    from inferloom_cli import key_views, keys

    with keys.opened(_where(where)) as store:
        key_views.listed(store, tenant, everything=everything, as_json=as_json)


@app.command(cls=Command)
def revoke(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID…", help="Keys by their ids, or whole.", show_default=False)
    ],
    where: Where = None,
) -> None:
    """Take keys back. Every gateway refuses them within five seconds; requests that run may end, and batches
    that they made fail with what has been answered."""
    from inferloom_cli import keys

    with keys.opened(_where(where)) as store:
        keys.revoke(store, ids, _audit())


@app.command(cls=Command)
def usage(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID…]", help="Only these keys.", show_default=False)
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="How many days, today included, in UTC.")] = 7,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Show what keys used by day: requests, tokens of prompts and of answers. Gateways write it every 5 s."""
    from inferloom_cli import key_views, keys

    with keys.opened(_where(where)) as store:
        key_views.usage(store, ids or (), days, as_json=as_json)


@app.command(cls=Command)
def limit(
    kind: Annotated[
        Literal["key", "tenant", "model"],
        typer.Argument(metavar="key|tenant|model", help="What it is for.", show_default=False),
    ],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Its name, `*` and `?` allowed; of a key its id, or all of it.",
            show_default=False,
        ),
    ],
    requests: Requests = None,
    tokens: Tokens = None,
    concurrent: Concurrent = None,
    share: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="A tenant's part of busy workers, in relation to others. [default: 1]"
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Let nothing hold any more.")] = False,
    where: Where = None,
) -> None:
    """Lay down limits for a key, for a tenant, all of its keys together, or for a model, all of its callers
    together.

    What was laid down before for the same name is replaced: what is not said is not limited.

    Examples:

    ```
    inferloom keys limit tenant acme --tpm 100000 --share 2
    inferloom keys limit model 'smollm*' --concurrent 32
    inferloom keys limit key 1f2e3d4c5b6a --rpm 600
    ```
    """
    from inferloom_cli import keys
    from inferloom_gateway.access.api_key import Limits

    with keys.opened(_where(where)) as store:
        limits = Limits(requests, tokens, concurrent)
        keys.limit(store, kind, name, limits, share, remove=remove, audit=_audit())


@app.command(cls=Command)
def limits(where: Where = None, as_json: AsJson = False) -> None:
    """Show what holds for tenants and models."""
    from inferloom_cli import key_views, keys

    with keys.opened(_where(where)) as store:
        key_views.policies(store, as_json=as_json)
