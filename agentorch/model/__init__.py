"""The nouns: jobs, pools, tenants, commands, events, observations, proposals; limits and units.

Owns every type that is written to the ledger and every word of the vocabulary. Types are `msgspec.Struct`s, which cost
far less than pydantic models to make, to encode and to decode. Must never import anything above itself, hold a rule,
read a clock or do I/O.

Units: times are integer milliseconds since the epoch (`_ms`), durations integer milliseconds (`_ms`), money integer
micro-dollars (`_usd_micros`), memory bytes, processors thousandths of a core (`cpu_milli`).
"""
