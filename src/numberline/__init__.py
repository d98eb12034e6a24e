"""Numberline: a phone-number provisioning server behind the wire API of Voximplant's Management API."""

__version__ = "0.1.0"
