"""What goes wrong for people: the message says what, why, and what to type next, and is printed without a traceback."""


class ClusterError(Exception):
    """The cluster cannot be had, changed or used as asked; the text is for the person who asked."""
