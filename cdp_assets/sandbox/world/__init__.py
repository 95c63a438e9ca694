"""A made-up company that sells software, its customers, and the truth about who is who."""
