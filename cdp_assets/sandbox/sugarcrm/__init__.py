"""A stand-in for SugarCRM (REST v11), as its Developer Guide describes it."""
