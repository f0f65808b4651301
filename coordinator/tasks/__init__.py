"""Task graphs at work: order, dispatch, ownership, the API."""
