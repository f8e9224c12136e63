-- hotline_take --
-- A ticket of the hotline, which case it is of, and how it came to that.
SELECT incident, number, how, repeats FROM hotline_taken(
    :external, :kind, CAST(:due AS timestamptz), :said, CAST(:known AS bytea[]), :id, CAST(:matter AS text), CAST(:words AS text), CAST(:address AS text),
    CAST(CAST(:place AS text) AS geometry), CAST(:precision AS text), CAST(:came AS timestamptz), CAST(:masked AS text), CAST(:cipher AS bytea),
    CAST(:hash AS bytea));

-- hotline_told --
-- How tickets of the hotline go.
SELECT * FROM hotline_told(CAST(:numbers AS text[]), CAST(:since AS timestamptz), CAST(:closed AS boolean), :most);
