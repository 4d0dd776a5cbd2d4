"""A whole e-mail system that can tell, at any moment, where a message is and why."""

__version__ = "0.1.0"
