"""What publishers ask of us in `X-Robots-Tag` headers.

A header is `directive, directive`, or `agent: directive, directive, other-agent: directive`; it may be
repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

# Directives that carry a value after a colon, which must not be taken for an agent's name.
_VALUED = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


def opted_out(headers: Iterable[str], agent: str, directives: Collection[str]) -> str | None:
    """The first of `directives` that addresses everyone or the agent of that name; null if none does.

    `none` is the standard's short form of `noindex, nofollow`. Case does not matter.
    """
    refused = {directive.lower() for directive in directives}
    if "noindex" in refused or "nofollow" in refused:
        refused.add("none")
    for header in headers:
        ours = True
        for part in header.lower().split(","):
            name, colon, directive = part.partition(":")
            if colon and name.strip() not in _VALUED:
                ours = name.strip() in ("*", agent.lower())
                part = directive
            if ours and part.strip() in refused:
                return part.strip()
    return None
