"""Verdicts about who a message comes from, sans-IO."""
