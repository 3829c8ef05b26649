"""The regular expressions of the .proto files in words: what a name or an id that was refused should have looked like."""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = {
    "[a-z][a-z0-9-]{0,62}": "small letters, digits and hyphens, a letter first, at most 63",
    "[a-z0-9][a-z0-9-]{0,62}": "small letters, digits and hyphens, no hyphen first, at most 63",
    "[a-z0-9][a-z0-9_-]{0,62}": "small letters, digits, hyphens and underscores, a letter or digit first, at most 63",
    "[a-z0-9-]{1,63}": "small letters, digits and hyphens, at most 63",
    "[0-9a-f-]{1,63}": "digits, letters a to f and hyphens, at most 63",
    "[0-9a-f]{16}": "16 digits or letters a to f",
    "[0-9a-f]{64}": "64 digits or letters a to f",
}
"""What an id, the part of a name between slashes, consists of; and a SHA-256."""
_OPTIONAL: Final = re.compile(r"\((.*)\)\?")


def in_words(pattern: str) -> str:
    """Returns what a text that matches a pattern looks like: "must look like projects/{project}/jobs/{job} (...)".

    Args:
        pattern: Ids and names of collections between slashes; what may be left out in parentheses.
    """
    form = pattern.removeprefix("^").removesuffix("$")
    if form in _WORDS:
        return f"must consist of {_WORDS[form]}"
    segments = _OPTIONAL.sub(r"\1", form).split("/")
    collections = segments[::2]
    ids = {collection.removesuffix("s"): _WORDS[part] for collection, part in zip(collections, segments[1::2], strict=True)}
    parts = [f"{collection}/{{{name}}}" for collection, name in zip(collections, ids, strict=True)]
    forms = [parts[-1:], parts] if _OPTIONAL.match(form) else [parts]
    legend = "; ".join(f"{{{name}}}: {words}" for name, words in ids.items())
    return f"must look like {' or '.join(map('/'.join, forms))} ({legend})"
