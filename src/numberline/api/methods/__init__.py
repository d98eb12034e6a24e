"""Every method of the API, declared; the register refuses a bad declaration when this package is imported."""

from typing import Final

from numberline.api.methods import accounts, catalog, numbers
from numberline.api.registry import Registry

REGISTRY: Final = Registry((*numbers.METHODS, *catalog.METHODS, *accounts.METHODS))
