"""How one HAProxy's files are named by confsync and by HAProxy, which differs for containers. Pure.

Two ways lead into a container: a folder that both share, under two names; or files that are put into
it over Docker's API, of which confsync keeps a copy, the mirror, under the same path in a folder of
its own. In both, one folder here is one folder there.
"""

import posixpath
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One folder with two names; both "": confsync and HAProxy see the same paths.

    `outside`: as confsync sees it; `inside`: as HAProxy sees it. `mirrored`: settings and messages
    name paths as HAProxy sees them, and `outside` is a copy.
    """

    outside: str = ""
    inside: str = ""
    mirrored: bool = False

    def local(self, written: str) -> str:
        """Return confsync's path of a file, from the one in the settings."""
        if not self.mirrored:
            return written
        return _moved(posixpath.normpath(written), self.inside, self.outside) or written

    def seen(self, local: str) -> str:
        """Return HAProxy's path of a local one; one outside of the folder stays as it is."""
        return _moved(local, self.outside, self.inside) or local

    def reached(self, seen: str) -> str:
        """Return confsync's path of a file that HAProxy names; "" when the folder has it not."""
        if not self.inside:
            return seen
        return _moved(posixpath.normpath(seen), self.inside, self.outside)

    def told(self, text: str) -> str:
        """Name paths in a text for the operator as the operator does."""
        return text.replace(self.outside + "/", self.inside) if self.mirrored else text


def shared(main: str, directory: str) -> Placement:
    """Place the folder of HAProxy's main file, which the container sees as `directory`."""
    return Placement(outside=posixpath.dirname(main), inside=posixpath.normpath(directory))


def mirrored(state: str) -> Placement:
    """Place files that are put into a container; the copies are kept in the state directory."""
    return Placement(outside=posixpath.join(state, "container"), inside="/", mirrored=True)


def _moved(path: str, source: str, target: str) -> str:
    """Return a path with another folder in front; "" when it is not in that folder."""
    if path == source:
        return target
    rest = path.removeprefix(source.rstrip("/") + "/") if source else path
    return posixpath.join(target, rest) if rest != path else ""
