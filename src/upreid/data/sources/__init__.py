"""Where unlabelled images come from: `recognise.open_source` says what a path holds, `source.Source` is what all have."""
