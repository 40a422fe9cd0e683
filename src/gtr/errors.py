"""The one exception a user meets: it says what is wrong and how to mend it, in one line."""


class GTRError(Exception):
    """A mistake that the user can mend; its message is one line that says how."""
