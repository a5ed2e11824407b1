"""What a limit is: rates of requests, and how they are counted."""
