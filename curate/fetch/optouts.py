"""Reads publishers' opt-outs in `X-Robots-Tag` headers.

The header's value is `directive, directive`, or `agent: directive, directive, other-agent: directive`. A response may
have several such headers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

# Directives that carry a value after a colon, which must not be taken for an agent's name.
_VALUED = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


def opted_out(headers: Iterable[str], agent: str, directives: Collection[str]) -> str | None:
    """Return the first directive by which a publisher opts out; None if there is none.

    Case does not matter. `none` counts where `noindex` or `nofollow` does: the standard's short form of both.

    Args:
        headers: the values of all `X-Robots-Tag` headers of a response.
        agent: our user agent's name; directives for other agents do not count.
        directives: what counts as opting out, such as `noai`.
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
