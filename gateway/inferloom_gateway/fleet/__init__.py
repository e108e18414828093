"""Who is there: the workers, their health, and which of them takes a request."""
