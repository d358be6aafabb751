"""Sphinx extension of the book: takes out what Jupyter Book adds and this book does not use."""

from __future__ import annotations

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Silence thebe: it declares its constants twice on every page, an error in the console, and points to a CDN."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if getattr(listener.handler, "__name__", "") == "init_thebe_core":
                app.disconnect(listener.id)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
