"""Tools that measure and attack the whole. Nothing imports them, and no wheel contains them."""
