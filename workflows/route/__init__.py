"""Operations on one route: provision, hot swap, prove, replace."""
