"""One transformer block learns, to say beforehand what learning in all of them takes and brings."""
