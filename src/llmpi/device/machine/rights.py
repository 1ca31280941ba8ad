"""What we may not do on a machine."""


class NotPermittedError(Exception):
    """It needs rights that we have not got here; the message is for a person."""
