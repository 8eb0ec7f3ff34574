"""Whether HAProxy is fit to have the address: after how many answers, and how many misses."""


class Health:
    """Counts answers. It begins unfit: nobody has answered yet."""

    def __init__(self, *, misses: int, answers: int) -> None:
        self.ok = False
        self.why = "has not answered yet"
        self.answered = False
        """Whether it has answered at least once since it was started."""
        self._misses = misses
        self._answers = answers
        self._missed = 0
        self._good = 0

    def told(self, why: str) -> bool:
        """Count one question; `why` "": it was answered. Returns whether this changed the verdict."""
        before = self.ok
        if why:
            self._missed, self._good = self._missed + 1, 0
            if self.ok and self._missed >= self._misses:
                self.ok = False
            if not self.ok:
                self.why = why
        else:
            # The first time there is nobody whom a doubt would protect.
            wanted = self._answers if self.answered else 1
            self._missed, self._good, self.answered = 0, self._good + 1, True
            if self._good >= wanted:
                self.ok, self.why = True, ""
        return self.ok is not before

    def dead(self, why: str) -> None:
        """Take it for unfit at once: it has ended."""
        self.ok, self.why = False, why
        self._missed = self._good = 0
