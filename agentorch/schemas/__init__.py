"""The wire types of the HTTP API, as pydantic models. Must hold no behaviour beyond reading and checking themselves.

On the wire times are seconds since the epoch (float, `_at`), durations seconds (`_s`), money dollars (`_usd`); micro
syntax such as `90m`, `24GB` and `H100:2` is accepted on the way in and never written on the way out.
"""
