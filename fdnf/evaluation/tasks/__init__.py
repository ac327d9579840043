"""What each kind of data is scored by and shown as."""
