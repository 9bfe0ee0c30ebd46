"""Tables of the API page show names as users write them: ``sf.Fit``, not ``results.fit.Fit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sphinx.ext.autosummary import Autosummary

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    Items = list[tuple[str, str | None, str, str]]


class PublicSummary(Autosummary):
    """A table of names, by those that the pages of the API are titled by."""

    def get_items(self, names: list[str]) -> Items:
        """Return name to show, signature, summary and full name of each."""
        public = self.config.autosummary_context["public_names"]
        return [
            (public.get(full, full), signature, summary, full)
            for _, signature, summary, full in super().get_items(names)
        ]


def setup(app: Sphinx) -> None:
    """Take the place of Sphinx's own tables."""
    app.add_directive("autosummary", PublicSummary, override=True)
