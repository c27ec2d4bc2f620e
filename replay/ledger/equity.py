"""The course of an account's equity: its deepest fall, and how much of it rests on data that may be doubted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EquityCourse"]


@dataclass(slots=True)
class EquityCourse:
    """
    Takes every value that equity had, in order, and keeps no more than these. Money in any unit, times in ns.

    Equity is meant without what was deposited and withdrawn: that is neither gained nor lost.

    Attributes:
        first: The first value.
        last: The newest.
        peak: The highest so far.
        peak_ns: When it was reached.
        drawdown_max: Deepest fall below the highest value before it.
        drawdown_from_ns: When that value was reached.
        drawdown_bottom_ns: When it was deepest.
        drawdown_to_ns: When the value was reached again; None while it is not.
        doubtful: Change of equity in doubtful times.
        sound: Change in the others; the two add up to `last` - `first`.
        doubtful_ns: Length of the doubtful times.
    """

    first: int = 0
    last: int = 0
    peak: int = 0
    peak_ns: int = 0
    drawdown_max: int = 0
    drawdown_from_ns: int = 0
    drawdown_bottom_ns: int = 0
    drawdown_to_ns: int | None = None
    doubtful: int = 0
    sound: int = 0
    doubtful_ns: int = 0
    _now_ns: int = -1
    _is_doubtful: bool = False

    def take(self, now_ns: int, equity: int, *, is_doubtful: bool, has_doubtful_fill: bool = False) -> None:
        """
        Equity from this time on, and whether what follows is doubtful.

        What changes between two calls counts for what the first of them said: a price that jumps when a book is whole
        again has moved while nothing was known of it. What a doubtful fill gains at once is doubtful, whatever that said.
        """
        if self._now_ns < 0:
            self.first = self.peak = equity
            self.peak_ns = now_ns
        else:
            change = equity - self.last
            if self._is_doubtful:
                self.doubtful_ns += now_ns - self._now_ns
            if self._is_doubtful or has_doubtful_fill:
                self.doubtful += change
            else:
                self.sound += change
        self._now_ns, self._is_doubtful, self.last = now_ns, is_doubtful, equity
        if equity >= self.peak:
            if self.drawdown_max and self.drawdown_to_ns is None:
                self.drawdown_to_ns = now_ns
            self.peak, self.peak_ns = equity, now_ns
        elif self.peak - equity > self.drawdown_max:
            self.drawdown_max = self.peak - equity
            self.drawdown_from_ns, self.drawdown_bottom_ns, self.drawdown_to_ns = self.peak_ns, now_ns, None

    def is_moved_by(self, equity: int) -> bool:
        """Whether such a value would be a new highest one, or a deeper fall."""
        return equity >= self.peak or self.peak - equity > self.drawdown_max

    @property
    def drawdown_ns(self) -> int:
        """Length of the deepest fall: from the value before it until that was reached again, or until now."""
        if not self.drawdown_max:
            return 0
        end = self._now_ns if self.drawdown_to_ns is None else self.drawdown_to_ns
        return end - self.drawdown_from_ns

    @property
    def doubtful_profit_share(self) -> float:
        """
        Share of the gains and losses: those of doubtful times over those of both, each as a positive number.

        Between 0 and 1 whatever the signs; 0 where nothing was gained or lost.
        """
        whole = abs(self.doubtful) + abs(self.sound)
        return abs(self.doubtful) / whole if whole else 0.0
