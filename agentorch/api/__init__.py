"""The HTTP API: jobs, plans, approvals, decisions, events (SSE), metrics, served from any `runtime.source.Source`.

Owns the wire: authentication, problem documents, documents built from the state, streams. Must never decide anything:
every change is a command that the source decides, and every document is built from one state without an await between.
"""
