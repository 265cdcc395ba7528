"""The pages: each arranges widgets, draws them by pure functions of the view, and owns its keys.

Must never speak HTTP but through the feed's `api`, and must never act without the app having checked that it may.
"""
