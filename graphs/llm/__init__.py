"""The LLM brain: any tool-calling chat model behind the brain's one interface.

Owns the talk with the model (what it is told, which tools it gets, how often it may read), the limits of time, tokens
and money, the record of every exchange, and answering from such a record. Must never act, keep a key in a record, or
believe a server: whatever is wrong with an answer is recorded, and nothing is proposed.

Importing this package is free. `brain.llm_brain` needs the extra `llm`; so does `cassette.replayed`.
"""
