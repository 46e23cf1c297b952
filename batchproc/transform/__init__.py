"""The transform stage: an original becomes a rendition. Runs in worker processes and threads; imports no pydantic."""
