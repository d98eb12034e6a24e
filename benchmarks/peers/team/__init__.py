"""AttachPhoneNumber as a good team writes it today: FastAPI, SQLAlchemy's ORM on asyncpg, PyJWT, a row per number.

The same wire form and the same steps as the product: token, key and account, price, tax, one free number under
`FOR UPDATE SKIP LOCKED`, wallet, rental, charge, postings, one commit.
"""
