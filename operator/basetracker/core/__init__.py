"""Decisions: from what is seen to what to do next. Pure: no waiting, no clock, no logging."""
