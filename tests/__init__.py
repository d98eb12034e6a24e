"""Tests, by what they prove; `kit` holds what they share."""
