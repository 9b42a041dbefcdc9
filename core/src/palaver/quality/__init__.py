"""Quality signals: how good replies are, measured against themselves.

Each signal (repetition, skip, refusal, error, judge) of each tier and backend has a baseline of
its own, a slow average, which faster averages are compared with. One that becomes worse by more
than a tenth, and by more than chance, raises an alert.
"""

from palaver.quality.quality import Alert, Quality, SignalState

__all__ = ["Alert", "Quality", "SignalState"]
