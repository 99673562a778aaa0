"""Where images are read from: `recognise.open_source` says what a path holds, `source.Source` is what all forms share."""
