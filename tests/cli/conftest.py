"""`server`: a real one for each test; `shared`: one for a file's tests that change nothing others rely on."""

from tests.api.conftest import server, shared

__all__ = ["server", "shared"]
