"""Operations on one route."""
