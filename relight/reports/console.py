"""How text is laid out for a terminal, the same for everything that relight prints there."""

import io

from rich.console import Console, RenderableType


def console(width: int, *, colour: bool) -> Console:
    """Return a console that lays out what it is given and writes nowhere: capture what it prints.

    Nothing is taken for markup or an emoji, and nothing is highlighted: what comes from a log stays as it is.
    """
    return Console(
        file=io.StringIO(),
        width=width,
        color_system="standard" if colour else None,
        force_terminal=colour,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    )


def laid_out(renderable: RenderableType, width: int) -> str:
    """Return something laid out at most `width` columns wide, without colour."""
    out = console(width, colour=False)
    with out.capture() as capture:
        out.print(renderable)
    return capture.get()
