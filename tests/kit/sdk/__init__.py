"""The official SDKs of the vendor, unmodified, driven line by line from tests."""
