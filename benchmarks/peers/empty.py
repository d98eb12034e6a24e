"""FastAPI's empty endpoint: what HTTP alone costs in the usual Python stack."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.post("/platform_api/{method}")
async def answer(method: str) -> dict[str, int]:
    """Answer success."""
    del method
    return {"result": 1}


@app.get("/healthz")
async def healthz() -> dict[str, int]:
    """Say that the server is up."""
    return {"result": 1}
