"""What outside systems said, word for word: records with their envelope, the windows that were
pulled, the files that were read, and what could not be accepted."""
