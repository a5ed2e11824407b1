-- What a probe says of a film; null of pictures.
ALTER TABLE blobs
    ADD COLUMN seconds    double precision,
    ADD COLUMN frame_rate double precision;
