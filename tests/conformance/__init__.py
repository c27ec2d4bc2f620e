"""What every venue's protocol has to keep, tried on all of them alike."""
