"""Turn lines into strips. Own the cheap repaint; must never know what a line is about, nor ask the feed."""
