"""All questions and changes a unit of work may put to the store, gathered from the files that hold them."""

from __future__ import annotations

from numberline.store.access import AccessQuestions
from numberline.store.rentals import RentalQuestions
from numberline.store.sale import SaleQuestions


class Transaction(SaleQuestions, AccessQuestions, RentalQuestions):
    """A transaction of either engine."""
