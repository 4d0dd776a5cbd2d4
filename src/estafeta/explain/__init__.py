"""From a reply to a cause, and from a cause to words in the reader's language."""
