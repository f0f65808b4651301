"""Task graphs at work: descriptions, what may run next, dispatch, ownership, the API."""
