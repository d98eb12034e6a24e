"""Every limit of the product, in one table.

Names carry their unit. Code reads these figures, documentation prints them, and a caller who meets one is
told it.
"""

# A request on its way in.
REQUEST_HEAD_SECONDS = 5.0  # the worst honest link needs one; a trickling head only holds a connection
REQUEST_HEAD_BYTES = 16_384  # a long token and a long URL fit together; nothing honest needs more
URL_BYTES = 8_192  # some 350 escaped phone numbers in a query; a longer list belongs in the body
HEADER_COUNT = 64  # proxies and SDKs together send about 20
REQUEST_BODY_SECONDS = 10.0  # the whole request, from its first byte: 1 MiB then needs 0.9 Mbit/s
REQUEST_BODY_BYTES = 1_048_576  # the largest documented call, a list of 1,000 numbers, is about 30 KB
CHUNK_FRAMING_BYTES = 65_536  # chunk sizes and extensions carry nothing yet cost a parse each
PIPELINED_REQUESTS = 32  # waiting behind the one being answered; no SDK sends any

# An answer on its way out, and the end of a connection.
RESPONSE_DRAIN_SECONDS = 30.0  # a reader that takes less than the next figure in this time is cut off
RESPONSE_DRAIN_BYTES = 16_384  # so the slowest reader served takes about 550 bytes a second
KEEP_ALIVE_SECONDS = 5  # an idle connection is cheap to open again and dear to keep by the thousand
LINGER_SECONDS = 1.0  # after a refusal: closing on unread input would destroy the answer on its way
LINGER_BYTES = 16_777_216  # swallowed meanwhile; more is a flood, not a client finishing
TLS_HANDSHAKE_SECONDS = 5.0  # the handshake comes before any request, so it has its own deadline
STOP_GRACE_SECONDS = 0.5  # on a stop, an idle connection may still bring the request it is just sending
STOP_SECONDS = 8.0  # process managers kill after ten, and a supervisor needs a moment more
DESK_STOP_SECONDS = 1.0  # the desk, which stops last: by then nobody waits for an answer any more

# What a request says.
PARAMETER_COUNT = 200  # the richest method declares fewer than 50
PARAMETER_BYTES = 65_536  # one value: 1,000 numbers with separators, and room to spare
TOKEN_BYTES = 8_192  # a vendor token with an RSA signature is about 600 bytes
LIST_ITEMS = 1_000  # one block of numbers
ATTACH_COUNT = 100  # one purchase must finish inside one transaction's time
PAGE_SIZE = 1_000  # a page is built in memory; longer lists are read page by page
IDEMPOTENCY_KEY_CHARACTERS = 255  # the customary size of such a key
