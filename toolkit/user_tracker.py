"""
`from toolkit.accounts.user_tracker import UserStreamTracker`, for programs outside of this project.

The module is `toolkit.accounts.user_tracker`; see `toolkit.tracker` for why the name stays.
"""

from toolkit.accounts.user_tracker import UserStreamTracker

__all__ = ["UserStreamTracker"]
