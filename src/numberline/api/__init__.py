"""The wire: one declaration per API method and the machine that everything is derived from."""
