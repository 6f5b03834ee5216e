"""Names of AWS's client that functions import, mostly for annotations."""
